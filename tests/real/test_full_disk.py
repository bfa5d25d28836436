"""A disk that is really full: nothing half-written, nothing acknowledged, and service again with room."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Journal, tail, verify
from sekisho.errors import SekishoError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 256 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root; tests/unit/audit does it with RLIMIT_FSIZE")
    mount = tmp_path / "disk"
    mount.mkdir()
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)],
        check=False,
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let us mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["/bin/umount", str(mount)], check=True)


async def append(journal: Journal, text: str) -> SekishoError | None:
    heard: asyncio.Future[SekishoError | None] = asyncio.get_running_loop().create_future()
    journal.append(b'{"a":"%b"}' % text.encode(), effect=True, done=heard.set_result)
    async with asyncio.timeout(20):
        return await heard


@pytest.mark.real
@pytest.mark.threat("T-FULLDISK")
@pytest.mark.requirement("A2.3")
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_full_disk_refuses_and_room_mends_it(tiny_disk: Path, workers: int) -> None:
    path = tiny_disk / "audit.log"
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(b"x" * (96 << 10))
    leader = Journal.open(path, KEY, ORIGIN, shared=workers > 1)
    journal = leader if workers == 1 else Journal.join(path)
    kept = 0
    problem = None
    while problem is None:
        problem = await append(journal, f"{kept} " + "x" * 3000)
        kept += problem is None
    assert problem.code == "log_unavailable"
    assert not journal.healthy
    assert path.read_bytes().count(b"\n") == kept
    assert path.read_bytes().endswith(b"\n")
    ballast.unlink()
    assert await append(journal, "again") is None
    for one in {journal, leader}:
        assert await append(one, "again") is None
    await asyncio.gather(*(one.close() for one in {journal, leader}))
    assert (journal.problem, leader.problem) == (None, None)
    assert tail(path, 1)[0]["a"] == "again"
    report = verify(path, KEY.public_key(), origin=ORIGIN)
    assert report.ok, report.problems
    assert report.records == kept + 1 + workers

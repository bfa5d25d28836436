"""A disk as a power cut leaves it: what was acknowledged is there, although the log itself had not reached it.

The log stands on a file system in a file. A copy of that file holds what the file system had sent to its disk, and
nothing of what was still in memory.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Journal, signer, tail, verify
from sekisho.errors import SekishoError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"
DISK_BYTES = 48 << 20
RECORDS = 40


@contextmanager
def mounted(disk: Path, at: Path) -> Iterator[Path]:
    """The file system in a file; it writes nothing back by itself."""
    at.mkdir(exist_ok=True)
    done = subprocess.run(
        ["/bin/mount", "-o", "loop,commit=3000", disk, at], check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"this machine does not let us mount a file: {done.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["/bin/umount", at], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A small ext4."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file needs root; tests/unit/audit cuts the log by hand")
    if not Path("/sbin/mkfs.ext4").exists():
        pytest.skip("no mkfs.ext4 on this machine")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(DISK_BYTES)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", path], check=True, capture_output=True)
    return path


async def append(journal: Journal, number: int, *, effect: bool) -> None:
    heard: asyncio.Future[SekishoError | None] = asyncio.get_running_loop().create_future()
    journal.append(b'{"a":%d,"fill":"%b"}' % (number, b"x" * 300), effect=effect, done=heard.set_result)
    async with asyncio.timeout(20):
        assert await heard is None


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
async def test_a_power_cut_takes_no_acknowledged_record(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signer, "PUBLISH_INTERVAL_S", 3600)  # the log itself is not synced meanwhile
    copies = []
    with mounted(disk, tmp_path / "before") as folder:
        journal = Journal.open(folder / "audit.log", KEY, ORIGIN)
        for number in range(RECORDS):
            await append(journal, number, effect=number % 4 == 3)
            if number % 8 == 7:
                copies.append((number + 1, shutil.copyfile(disk, tmp_path / f"disk-{number}")))
        await journal.close()
    for count, copy in copies:
        with mounted(copy, tmp_path / "after") as folder:
            assert (folder / "audit.log").read_bytes().count(b"\n") < count, (
                "the log had not reached the disk"
            )
            journal = Journal.open(folder / "audit.log", KEY, ORIGIN)
            assert journal.size == count
            await append(journal, count, effect=True)
            await journal.close()
            report = verify(folder / "audit.log", KEY.public_key(), origin=ORIGIN)
            assert report.ok, report.problems
            assert [record["a"] for record in tail(folder / "audit.log", 100)] == list(range(count + 1))

"""SIGKILL before every single step on a log whose end only its redo file has: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Journal, tail, verify
from sekisho.audit.opening import open_sole
from sekisho.audit.publisher import Publisher

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"
RECORDS = 5

# Opens the log, appends one record that has to be durable, and closes it; before its n-th step it kills itself. One
# process for each n, until one gets to its end. In each folder `told` says that the record was acknowledged.
STEPPER = """
import asyncio, os, shutil, signal, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sekisho.audit import Journal
from sekisho.audit.clerk import Clerk

signal.alarm(120)
state, folder = Path(sys.argv[1]), Path(sys.argv[2])
left = 0

def counted(kind, name):
    real = getattr(kind, name)
    def replaced(*args, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)
    setattr(kind, name, replaced)

async def go(path):
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    journal = Journal.open(path / "audit.log", key, "gateway.example/audit")
    heard = asyncio.get_running_loop().create_future()
    journal.append(b'{"a":5}', effect=True, done=heard.set_result)
    assert await heard is None
    (path / "told").touch()
    await journal.close()

for name in ("open", "write", "pwritev", "eventfd_write", "fsync", "fdatasync", "ftruncate"):
    counted(os, name)
for kind, name in ((Path, "unlink"), (Path, "replace"), (Clerk, "begin")):
    counted(kind, name)
for n in range(1, 400):
    path = folder / str(n)
    shutil.copytree(state, path)
    left = 0
    pid = os.fork()
    if pid == 0:
        left = n
        asyncio.run(go(path))
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFEXITED(status):
        sys.exit(os.WEXITSTATUS(status))
sys.exit("it never got to its end")
"""


async def leave_to_the_redo_file(path: Path) -> None:
    """Make a log that a crash cut in the midst of its second record."""
    opened = open_sole(path, Publisher(path, KEY, ORIGIN), ORIGIN, waits_for_disk=True)
    if opened.redo is None:
        pytest.skip("the file system of the temporary folder cannot be written directly (O_DIRECT)")
    for number in range(RECORDS):
        opened.pen.write([b'{"a":%d}' % number])
        told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        assert opened.redo.begin(told.set_result)
        async with asyncio.timeout(20):
            assert await told is None
    opened.redo.close()
    opened.pen.close()
    os.truncate(path, 20)


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
async def test_whatever_step_is_the_last_one_every_record_is_there_once(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    await leave_to_the_redo_file(tmp_path / "state" / "audit.log")
    done = subprocess.run(  # noqa: ASYNC221  # nothing else happens in this loop
        [sys.executable, "-c", STEPPER, str(tmp_path / "state"), str(tmp_path / "runs")],
        check=False, capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "runs").iterdir())
    assert len(runs) > 30, "it was killed before each of so many steps"
    for run in runs:
        path, told = run / "audit.log", (run / "told").exists()
        journal = Journal.open(path, KEY, ORIGIN)
        assert journal.size >= RECORDS + told, run.name
        await journal.close()
        assert [record["a"] for record in tail(path, 20)] == list(range(journal.size))
        report = verify(path, KEY.public_key(), origin=ORIGIN)
        assert report.ok, (run.name, report.problems)
    assert any((run / "told").exists() for run in runs)

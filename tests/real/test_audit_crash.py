"""SIGKILL at random moments: what was acknowledged is there, and the log verifies after recovery."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Journal, tail, verify

KEY_BYTES = bytes(range(32))
ORIGIN = "gateway.example/audit"
KILLS = 20

# Appends without end; each acknowledged number goes to the pipe before the next append may rely on it.
CHILD = """
import asyncio, os, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sekisho.audit import Journal

async def main():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    journal = Journal.open(Path(sys.argv[1]), key, "gateway.example/audit", durability=sys.argv[2])
    loop = asyncio.get_running_loop()
    at = journal.size

    def append():
        nonlocal at
        mine, at = at, at + 1
        def done(problem):
            if problem is not None:
                os._exit(9)
            os.write(1, b"%d\\n" % mine)
            loop.call_soon(append)
        journal.append(b'{"kind":"intent","call":"%b"}' % (b"x" * 200), effect=True, done=done)

    for _ in range(16):
        append()
    await loop.create_future()

asyncio.run(main())
"""


def kill_after(path: Path, durability: str, acknowledged: int) -> int:
    """Kill the child once it has acknowledged so many records; return the highest number it told."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), durability], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        told = [int(child.stdout.readline()) for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        told += [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
    return max(told)


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
@pytest.mark.parametrize("durability", ["written", "effects"])
def test_a_killed_writer_loses_no_acknowledged_record(tmp_path: Path, durability: str) -> None:
    chance = random.Random(20260728)
    path = tmp_path / "audit.log"
    key = Ed25519PrivateKey.from_private_bytes(KEY_BYTES)
    for _ in range(KILLS // 2):
        highest = kill_after(path, durability, chance.randint(1, 700))
        journal = Journal.open(path, key, ORIGIN)
        assert journal.size > highest
        asyncio.run(journal.close())
        report = verify(path, key.public_key(), origin=ORIGIN)
        assert report.ok, report.problems
        assert report.unsigned == 0
        assert report.records == journal.size
    numbers = [record["n"] for record in tail(path, 1 << 20)]
    assert numbers == list(range(len(numbers)))

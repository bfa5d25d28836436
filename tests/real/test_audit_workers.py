"""Several processes write one log: one order, no gap, nothing acknowledged is lost, whoever is killed and when."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Report, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"

# Appends without end. What `done` acknowledged goes to the pipe, by the worker's own name for the record. Where
# FATE says so, the process kills itself in the middle of the step that is named, some time after SIGUSR1.
WORKER = """
import asyncio, os, signal, sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sekisho.audit import Journal
from sekisho.audit.counters import Counters
from sekisho.audit.logfile import LogFile
from sekisho.audit.turn import Turn
from sekisho.errors import Unavailable

signal.alarm(240)  # no reader of ours waits longer
role, path, name, durability, fate, at, stop_at = sys.argv[1:8]
steps = is_armed = 0

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def fated(step):
    global steps
    if step != fate or not is_armed:
        return False
    steps += 1
    return steps == int(at)

def before(kind, method, step):
    real = getattr(kind, method)
    def replaced(self, *args):
        if fated(step):
            die()
        return real(self, *args)
    setattr(kind, method, replaced)

before(Counters, "announce", "holding the turn")
before(LogFile, "add", "announced")
before(Counters, "commit", "written")
before(Turn, "give", "committed")
real_add = LogFile.add
def add(self, data):
    if fated("half written"):
        os.write(self.descriptor, data[: len(data) * 2 // 3])
        die()
    if fated("stopped while writing"):
        os.kill(os.getpid(), signal.SIGSTOP)
    real_add(self, data)
LogFile.add = add

def arm():
    global is_armed
    is_armed = 1

async def opened():
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    async with asyncio.timeout(20):
        while True:
            try:
                if role == "leader":
                    return Journal.open(Path(path), key, "gateway.example/audit", durability=durability, shared=True)
                return Journal.join(Path(path), durability=durability)
            except Unavailable:
                await asyncio.sleep(0.01)

async def main():
    journal = await opened()
    loop, end = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    loop.add_signal_handler(signal.SIGUSR1, arm)
    number = live = 0

    def append():
        nonlocal number
        number += 1
        mine = b"%b.%d" % (name.encode(), number)
        def done(problem):
            nonlocal live
            os.write(1, (b"+" if problem is None else b"-") + mine + b"\\n")
            if not end.is_set() and (stop_at == "0" or number < int(stop_at)) and problem is None:
                loop.call_soon(append)
            else:
                live -= 1
                if live == 0:
                    os.write(1, b"rest\\n")
        journal.append(b'{"kind":"test","call":"%b","fill":"%b"}' % (mine, b"x" * (number * 7919 % 400)),
                       effect=number % 3 == 0, done=done)

    os.write(1, b"open\\n")
    live = 8
    for _ in range(live):
        append()
    await end.wait()
    await journal.close()
    os.write(1, b"closed\\n")

asyncio.run(main())
"""


class Worker:
    """One process that writes, and what it said."""

    def __init__(self, path: Path, role: str, name: str, **fate: str | int) -> None:
        self.role = role
        self.said: list[str] = []
        argv = [sys.executable, "-c", WORKER, role, str(path), name]
        argv += [str(fate.get("durability", "effects")), str(fate.get("fate", "")), str(fate.get("at", 1))]
        self.process = subprocess.Popen(
            [*argv, str(fate.get("stop_at", 0))], stdout=subprocess.PIPE, text=True
        )

    def hear(self, word: str) -> None:
        """Read until the worker says `word`; fails when it ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(line.strip())
            if line.strip() == word:
                return
        pytest.fail(f"{self.role} ended without saying {word!r}")

    def hear_some(self, count: int) -> None:
        """Read so many lines."""
        assert self.process.stdout is not None
        for _ in range(count):
            self.said.append(self.process.stdout.readline().strip())

    def end(self, how: signal.Signals) -> None:
        """Send a signal, and read everything that was said before the end."""
        self.process.send_signal(how)
        self.hear_all()

    def hear_all(self) -> None:
        """Read until the process is gone; a line cut by the kill was not said."""
        assert self.process.stdout is not None
        rest = self.process.stdout.read()
        self.said += rest.splitlines() if rest.endswith("\n") else rest.splitlines()[:-1]
        self.process.wait(20)

    @property
    def acknowledged(self) -> list[str]:
        return [line[1:] for line in self.said if line.startswith("+")]


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[list[Worker]]:
    """Workers that do not outlive the test."""
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait(20)
        if worker.process.stdout is not None:
            worker.process.stdout.close()


def checked(path: Path, crew: list[Worker]) -> Report:
    """The log is whole: every number once, in order; every acknowledged record once, no other twice."""
    report = verify(path, KEY.public_key(), origin=ORIGIN)
    assert report.ok, report.problems
    records = [msgspec.json.decode(line, type=dict[str, object]) for line in path.read_bytes().splitlines()]
    assert [record["n"] for record in records] == list(range(len(records)))
    found = Counter(str(record["call"]) for record in records)
    assert set(found.values()) <= {1}
    lost = [name for worker in crew for name in worker.acknowledged if name not in found]
    assert not lost
    refused = [line[1:] for worker in crew for line in worker.said if line.startswith("-")]
    assert not [name for name in refused if name in found], "what was refused is not on record"
    return report


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
@pytest.mark.parametrize("durability", ["written", "effects"])
def test_three_workers_write_one_log(tmp_path: Path, crew: list[Worker], durability: str) -> None:
    path = tmp_path / "audit.log"
    crew.append(Worker(path, "leader", "a", durability=durability, stop_at=900))
    crew[0].hear("open")
    crew += [Worker(path, "follower", name, durability=durability, stop_at=900) for name in "bc"]
    for worker in crew:
        worker.hear("rest")
    for worker in reversed(crew):
        worker.end(signal.SIGTERM)
        assert worker.process.returncode == 0
    report = checked(path, crew)
    assert report.unsigned == 0
    assert report.records == sum(len(worker.acknowledged) for worker in crew) >= 2700


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
@pytest.mark.parametrize("victim", ["leader", "follower"])
@pytest.mark.parametrize("fate", ["holding the turn", "announced", "half written", "written", "committed"])
def test_a_worker_killed_at_any_instant_of_a_write_harms_no_other(
    tmp_path: Path, crew: list[Worker], victim: str, fate: str
) -> None:
    path = tmp_path / "audit.log"
    fates: dict[str, str | int] = {"fate": fate, "at": 20}
    crew.append(Worker(path, "leader", "a", **(fates if victim == "leader" else {})))
    crew[0].hear("open")
    crew.append(Worker(path, "follower", "b", **(fates if victim == "follower" else {})))
    crew[1].hear("open")
    dead, alive = (crew[0], crew[1]) if victim == "leader" else (crew[1], crew[0])
    dead.process.send_signal(signal.SIGUSR1)
    dead.hear_all()
    assert dead.process.returncode == -signal.SIGKILL
    alive.hear_some(200)
    if victim == "leader":
        crew.append(Worker(path, "leader", "c"))
        crew[-1].hear("open")
        crew[-1].hear_some(100)
    for worker in crew:
        if worker is not dead:
            worker.end(signal.SIGTERM)
            assert worker.process.returncode == 0
    checked(path, crew)


@pytest.mark.real
@pytest.mark.threat("T-LOG")
@pytest.mark.requirement("A2.3")
@pytest.mark.parametrize("durability", ["written", "effects"])
def test_workers_killed_at_random_lose_nothing(tmp_path: Path, crew: list[Worker], durability: str) -> None:
    chance = random.Random(20261121)
    path = tmp_path / "audit.log"
    active = [Worker(path, "leader", "w0", durability=durability)]
    crew += active
    active[0].hear("open")
    active += [Worker(path, "follower", f"w{i}", durability=durability) for i in (1, 2)]
    crew += active[1:]
    for worker in active[1:]:
        worker.hear("open")
    for turn in range(14):
        victim = chance.choice(active)
        victim.hear_some(chance.randint(1, 300))
        victim.end(signal.SIGKILL)
        active.remove(victim)
        active.append(Worker(path, victim.role, f"x{turn}", durability=durability))
        crew.append(active[-1])
        active[-1].hear("open")
    for worker in sorted(active, key=lambda worker: worker.role):
        worker.end(signal.SIGTERM)
        assert worker.process.returncode == 0
    assert checked(path, crew).records > 1000


@pytest.mark.real
@pytest.mark.threat("T-LOG")
def test_all_workers_killed_at_once_leave_a_log_that_opens_again(tmp_path: Path, crew: list[Worker]) -> None:
    path = tmp_path / "audit.log"
    for generation in range(4):
        mates = [Worker(path, "leader", f"a{generation}")]
        mates[0].hear("open")
        mates += [Worker(path, "follower", f"{name}{generation}") for name in "bc"]
        crew += mates
        for worker in mates:
            worker.hear_some(150)
        for worker in mates:
            worker.process.kill()
        for worker in mates:
            worker.hear_all()
    crew.append(Worker(path, "leader", "last", stop_at=9))
    crew[-1].hear("rest")
    crew[-1].end(signal.SIGTERM)
    assert checked(path, crew).unsigned == 0


@pytest.mark.real
@pytest.mark.threat("T-LOG")
def test_bytes_of_a_stranger_stop_every_worker(tmp_path: Path, crew: list[Worker]) -> None:
    path = tmp_path / "audit.log"
    crew.append(Worker(path, "leader", "a"))
    crew[0].hear("open")
    crew.append(Worker(path, "follower", "b"))
    crew[1].hear_some(50)
    os.truncate(path, path.stat().st_size // 2)
    for worker in crew:
        worker.hear("rest")  # every append of theirs was refused
        assert worker.said[-2].startswith("-")


@pytest.mark.real
@pytest.mark.threat("T-LOG")
def test_a_worker_that_was_stopped_in_the_middle_of_a_write_does_not_hang_the_others(
    tmp_path: Path, crew: list[Worker]
) -> None:
    path = tmp_path / "audit.log"
    crew.append(Worker(path, "leader", "a"))
    crew[0].hear("open")
    crew.append(Worker(path, "follower", "b", fate="stopped while writing", at=20))
    crew[1].hear("open")
    crew[1].process.send_signal(signal.SIGUSR1)
    crew[0].hear("rest")  # refused after PATIENCE_S
    assert crew[0].said[-2].startswith("-")
    crew[1].process.send_signal(signal.SIGCONT)
    crew[1].hear_some(400)
    for worker in reversed(crew):
        worker.end(signal.SIGTERM)
    checked(path, crew)

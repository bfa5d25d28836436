"""One running plugin, told by reports: how it ended, and that nothing is lost on the way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sekisho.sandbox.running.limits import Group
from sekisho.sandbox.running.sandbox import Exit, GateSockets, Pipes, Sandbox

MakeSandbox = Callable[..., Sandbox]


@pytest.fixture
async def make() -> AsyncIterator[MakeSandbox]:
    made: list[tuple[Sandbox, Pipes]] = []

    def build(group: Group | None = None, asked: list[int] | None = None) -> Sandbox:
        pipes = Pipes()
        kills = [] if asked is None else asked
        sandbox = Sandbox(number=7, ask_to_kill=kills.append, pipes=pipes, group=group)
        made.append((sandbox, pipes))
        return sandbox

    yield build
    for sandbox, pipes in made:
        pipes.close_theirs()
        sandbox.close_fds()


def report(code: int, *, ran: bool = True, exceeded: bool = False) -> dict[str, object]:
    return {"event": "exit", "code": code, "ran": ran, "exceeded": exceeded}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (report(0), Exit(code=0, signal=None, reason="exited")),
        (report(3), Exit(code=3, signal=None, reason="exited")),
        (report(128), Exit(code=128, signal=None, reason="exited")),
        (report(255), Exit(code=255, signal=None, reason="exited")),
        (report(137), Exit(code=None, signal=9, reason="signalled")),
        (report(-15), Exit(code=None, signal=15, reason="signalled")),
        (report(137, exceeded=True), Exit(code=None, signal=9, reason="oom")),
        (report(1, ran=False), Exit(code=1, signal=None, reason="not_run")),
    ],
)
async def test_an_end_is_told_apart(make: MakeSandbox, message: dict[str, object], expected: Exit) -> None:
    sandbox = make()
    sandbox.hear(message, [])
    assert await sandbox.wait() == expected


async def test_a_kill_by_the_kernel_for_memory_is_named(make: MakeSandbox, tmp_path: Path) -> None:
    (tmp_path / "memory.oom_control").write_text("oom_kill 1\n")
    sandbox = make(Group(version="v1", folders=(("memory", tmp_path),)))
    sandbox.hear(report(137), [])
    assert (await sandbox.wait()).reason == "oom"


async def test_what_was_counted_once_stays_told_when_the_engine_has_removed_the_group(
    make: MakeSandbox, tmp_path: Path
) -> None:
    memory, pids = tmp_path / "memory", tmp_path / "pids"
    for folder in (memory, pids):
        folder.mkdir()
    (memory / "memory.oom_control").write_text("oom_kill 2\n")
    (pids / "pids.events").write_text("max 3\n")
    sandbox = make(Group(version="v1", folders=(("memory", memory), ("pids", pids))))
    told = sandbox.violations()
    assert [(one.kind, one.times) for one in told] == [("oom", 2), ("pids", 3)]
    (pids / "pids.events").unlink()
    assert sandbox.violations() == told
    (memory / "memory.oom_control").unlink()
    assert not sandbox.keep_counts()
    sandbox.hear(report(0), [])
    await sandbox.wait()
    assert (sandbox.violations(), sandbox.oom_kills()) == (told, 2)


async def test_our_own_kill_is_named(make: MakeSandbox) -> None:
    asked: list[int] = []
    sandbox = make(None, asked)
    sandbox.hear({"event": "started", "pid": 10, "inner": 11}, [])
    assert await sandbox.wait_started() is None

    class Answering(list[int]):
        def append(self, number: int) -> None:
            sandbox.hear(report(137), [])

    sandbox._ask_to_kill = Answering().append
    assert (await sandbox.kill_tree()).reason == "killed"
    assert await sandbox.kill_tree() == await sandbox.wait()


async def test_the_first_end_counts(make: MakeSandbox) -> None:
    sandbox = make()
    sandbox.hear(report(0), [])
    sandbox.orphaned()
    assert (await sandbox.wait()).code == 0


async def test_a_lost_launcher_is_an_end_and_a_complaint(make: MakeSandbox) -> None:
    sandbox = make()
    sandbox.orphaned()
    assert await sandbox.wait_started() == "the launcher is gone"
    assert (await sandbox.wait()).signal == 9


async def test_a_failed_start_carries_its_message(make: MakeSandbox) -> None:
    sandbox = make()
    sandbox.hear({"event": "failed", "message": "no mount"}, [])
    assert await sandbox.wait_started() == "no mount"
    assert (await sandbox.wait()).reason == "not_run"


async def test_gate_sockets_are_kept_in_order(make: MakeSandbox) -> None:
    sandbox = make()
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]
    sandbox.hear({"event": "sockets"}, fds)
    assert sandbox.gate_sockets == GateSockets(*fds)
    assert sandbox.gate_sockets.fds == tuple(fds)


async def test_an_incomplete_hand_over_is_closed(make: MakeSandbox) -> None:
    sandbox = make()
    fd = os.open("/dev/null", os.O_RDONLY)
    sandbox.hear({"event": "sockets"}, [fd])
    assert sandbox.gate_sockets is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


async def test_usage_is_unknown_without_a_group(make: MakeSandbox) -> None:
    usage = make().stats()
    assert (usage.memory_bytes, usage.pids, usage.cpu_s) == (None, None, None)


async def test_our_ends_do_not_block(make: MakeSandbox) -> None:
    sandbox = make()
    assert not any(os.get_blocking(fd) for fd in (sandbox.stdin_fd, sandbox.stdout_fd, sandbox.stderr_fd))


async def test_what_is_watched_in_place_of_a_control_group_is_a_violation_and_stays_one(
    make: MakeSandbox,
) -> None:
    sandbox = make()
    assert sandbox.violations() == ()
    for _ in range(2):
        sandbox.hear({"event": "crowded", "id": 7}, [])
    told = sandbox.violations()
    assert [(one.kind, one.times) for one in told] == [("pids", 2)]
    sandbox.hear(report(0), [])
    await sandbox.wait()
    assert sandbox.violations() == told

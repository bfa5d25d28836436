"""What the kernel counted becomes a denial, once."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server import watching
from sekisho.plugin_server.watching import Watch
from sekisho.policy import LimitGrant
from sekisho.sandbox import Denied, Exit, Violation
from sekisho.wire import DenialFrame
from sekisho.wire.messages import decode_payload, encode_payload

LIMITS = LimitGrant(max_pids=9, max_memory_mb=64)
ENDED = Exit(code=0, signal=None, reason="exited")


class Walls:
    """Walls that count."""

    def __init__(self, *seen: Violation) -> None:
        self.seen = list(seen)
        self.told: list[DenialFrame] = []
        self.denied: list[Denied] = []
        self.watch = Watch(lambda: self.seen, self._take, LIMITS, self.told.append)

    def _take(self) -> list[Denied]:
        denied, self.denied = self.denied, []
        return denied


def test_each_wall_is_named_with_the_rule_that_said_no() -> None:
    walls = Walls()
    walls.seen = [
        Violation(kind="seccomp", what="ptrace"),
        Violation(kind="pids", what="fork"),
        Violation(kind="oom", what="memory"),
        Violation(kind="disk", what="scratch space"),
    ]
    walls.watch.ended(Exit(code=None, signal=9, reason="oom"))
    assert [(one.kind, one.rule, one.target) for one in walls.told] == [
        ("seccomp", "system call filter", "ptrace"),
        ("pids", "max_pids = 9", ""),
        ("memory", "max_memory_mb = 64", ""),
        ("disk", "max_tmp_mb = 64", ""),
    ]


def test_only_what_is_new_is_told_and_how_much_of_it() -> None:
    walls = Walls()
    walls.seen = [Violation(kind="seccomp", what="bpf", times=3)]
    walls.watch.ended(ENDED)
    walls.watch.ended(ENDED)
    walls.seen = [Violation(kind="seccomp", what="bpf", times=4)]
    walls.watch.ended(ENDED)
    assert [one.left_out for one in walls.told] == [2, 0]


def test_what_was_refused_before_is_another_plugins() -> None:
    walls = Walls(Violation(kind="seccomp", what="bpf", times=3))
    walls.watch.ended(ENDED)
    assert walls.told == []


def test_a_kill_for_memory_that_no_control_group_counted_is_told_too() -> None:
    walls = Walls()
    walls.watch.ended(Exit(code=None, signal=9, reason="oom"))
    assert [one.kind for one in walls.told] == ["memory"]


def test_an_honest_end_is_no_denial() -> None:
    walls = Walls()
    walls.watch.ended(ENDED)
    assert walls.told == []


async def test_it_is_told_while_the_plugin_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_S", 0.01)
    told: asyncio.Queue[DenialFrame] = asyncio.Queue()
    seen: list[Violation] = []
    async with asyncio.TaskGroup() as group:
        running = group.create_task(Watch(lambda: seen, list, LIMITS, told.put_nowait).run())
        seen.append(Violation(kind="pids", what="fork"))
        assert (await asyncio.wait_for(told.get(), 5)).kind == "pids"
        running.cancel()


def test_a_path_is_told_with_what_was_wanted_and_why_it_was_refused() -> None:
    walls = Walls()
    walls.denied = [
        Denied(act="read", path="/srv/key", reason="unlisted"),
        Denied(act="write", path="/data/new", reason="read_only", left_out=4),
        Denied(act="read", path="/data/secret", reason="blocked"),
        Denied(act="", path="", reason="", left_out=9),
    ]
    walls.watch.ended(ENDED)
    assert [(one.kind, one.rule, one.reason, one.target, one.left_out) for one in walls.told] == [
        ("path", "filesystem_policy", "read: the path is not listed", "/srv/key", 0),
        ("path", "filesystem_policy", "write: the path is listed for reading only", "/data/new", 4),
        ("path", "filesystem_policy", "read: the path is blocked", "/data/secret", 0),
        ("path", "filesystem_policy", "more paths were tried than are told", "", 9),
    ]
    walls.watch.ended(ENDED)
    assert len(walls.told) == 4, "each is told once"


@given(st.text(max_size=3000))
def test_a_plugins_own_word_is_told_in_few_plain_characters(path: str) -> None:
    walls = Walls()
    walls.denied = [Denied(act="read", path=path or "/", reason="unlisted")]
    walls.watch.ended(ENDED)
    (told,) = walls.told
    assert decode_payload(encode_payload(told), DenialFrame) == told
    assert told.target.isascii()
    assert told.target.isprintable()

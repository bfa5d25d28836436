from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sekisho.keys import SealPair
from sekisho.wire.frames import Kind, Opened
from sekisho.wire.notes import MAX_NOTE_BYTES
from sekisho.wire.pipe import SealedPipe
from sekisho.wire.remarks import Remarks


class Sink(asyncio.Transport):
    """What a pipe writes, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default


class Scene:
    """One end of a channel, and what the other one reads."""

    def __init__(self) -> None:
        self.remarks = Remarks()
        self.sink = Sink()
        loop = asyncio.get_running_loop()
        self.pipe = SealedPipe(self.sink, SealPair(secret=b"s" * 32, salt=b"n" * 32, role="plugin"), loop)
        self._core = SealedPipe(Sink(), SealPair(secret=b"s" * 32, salt=b"n" * 32, role="core"), loop)

    def heard(self) -> list[Opened]:
        self.pipe.flush()
        written, self.sink.written = self.sink.written, b""
        return list(self._core.feed(written))


async def test_notes_and_events_leave_at_once_while_the_core_reads() -> None:
    scene = Scene()
    scene.remarks.note(scene.pipe, 1, b"{}\n{}")
    scene.remarks.event(scene.pipe, 2, b"[]")
    assert scene.heard() == [(Kind.NOTE, 1, b"{}\n{}"), (Kind.EVENT, 2, b"[]")]


async def test_they_wait_while_it_does_not_and_only_those_of_open_calls_follow() -> None:
    scene = Scene()
    scene.remarks.hold_back()
    scene.remarks.note(scene.pipe, 1, b"{}\n[]")
    scene.remarks.event(scene.pipe, 1, b"[1]")
    scene.remarks.note(scene.pipe, 2, b"{}")
    assert scene.heard() == []
    scene.remarks.go_on()
    scene.remarks.release(scene.pipe, {1})
    assert scene.heard() == [(Kind.NOTE, 1, b"{}"), (Kind.NOTE, 1, b"[]"), (Kind.EVENT, 1, b"[1]")]
    assert scene.remarks.dropped == 1


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("is_slow", [False, True])
async def test_what_is_too_large_is_dropped_and_counted(is_slow: bool) -> None:
    scene = Scene()
    if is_slow:
        scene.remarks.hold_back()
    large = b"x" * (MAX_NOTE_BYTES + 1)
    scene.remarks.event(scene.pipe, 1, large)
    scene.remarks.note(scene.pipe, 1, large + b"\n{}")
    scene.remarks.go_on()
    scene.remarks.release(scene.pipe, {1})
    assert scene.heard() == [(Kind.NOTE, 1, b"{}")]
    assert scene.remarks.dropped == 2

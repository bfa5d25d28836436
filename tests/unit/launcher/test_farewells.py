"""What has ended: the watcher's last words come before the end, and nobody waits for either."""

from __future__ import annotations

import json
import os
import select
import socket
import time
from typing import Any

import pytest
from tests.unit.launcher.forked import sleeper

from sekisho.launcher import farewells
from sekisho.launcher.farewells import Farewells
from sekisho.launcher.watcher import Watcher

WAIT_MS = 20_000
EXIT = {"event": "exit", "id": 7, "code": 0}


class Scene:
    """Farewells with a watcher that is played."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.told: list[dict[str, Any]] = []
        self.left = 0
        self.farewells = Farewells(self.poll, self.told.append, self.leave)
        ours, self.line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.watcher = Watcher(sleeper(), ours)

    def leave(self) -> None:
        self.left += 1

    def says(self, **message: object) -> None:
        self.line.send(json.dumps(message).encode())

    def turn(self, *, wait: bool = True) -> None:
        ready = {fd for fd, _ in self.poll.poll(WAIT_MS if wait else 0)}
        self.farewells.attend(ready, time.monotonic())

    def is_gone(self) -> bool:
        try:
            os.kill(self.watcher.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def run_out(self) -> None:
        self.farewells.tidy()
        while not self.is_gone():
            self.turn()
        self.line.close()


def test_one_without_a_watcher_is_told_at_once() -> None:
    scene = Scene()
    scene.farewells.end(None, EXIT)
    assert (scene.told, scene.left) == ([EXIT], 1)
    scene.farewells.dismiss(scene.watcher)
    scene.run_out()


def test_the_last_words_come_before_the_end_and_the_watcher_is_reaped() -> None:
    scene = Scene()
    scene.farewells.end(scene.watcher, EXIT)
    assert scene.told == []
    assert scene.line.recv(10) == b"", "it was asked for the last"
    scene.says(event="path", found=None, left_out=3)
    scene.says(event="over")
    while not scene.left:
        scene.turn()
    assert not scene.is_gone(), "its end costs time, and the owner is told first"
    scene.run_out()
    assert scene.told == [{"event": "path", "found": None, "left_out": 3, "id": 7}, EXIT]
    assert scene.left == 1
    assert scene.farewells.due_at is None


def test_one_that_has_said_its_last_before_is_not_waited_for() -> None:
    scene = Scene()
    scene.says(event="over")
    assert scene.watcher.hear() == []
    scene.farewells.end(scene.watcher, EXIT)
    assert scene.told == [EXIT]
    scene.run_out()


def test_a_watcher_that_is_gone_keeps_nobody_from_the_end() -> None:
    scene = Scene()
    scene.farewells.end(scene.watcher, EXIT)
    scene.line.close()
    while not scene.left:
        scene.turn()
    scene.run_out()
    assert scene.told == [EXIT]


@pytest.mark.threat("T-HANG")
def test_one_that_says_nothing_is_waited_for_no_longer_than_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    monkeypatch.setattr(farewells, "END_S", 0.0)
    scene.farewells.end(scene.watcher, EXIT)
    assert scene.farewells.due_at is not None
    scene.turn(wait=False)
    assert scene.told == [EXIT]
    scene.run_out()


def test_another_hears_nothing_of_it_and_goes_on() -> None:
    slow, quick = Scene(), Scene()
    both = slow.farewells
    both.end(slow.watcher, EXIT)
    both.end(quick.watcher, EXIT | {"id": 8})
    quick.says(event="over")
    while not slow.told:
        slow.turn()
    assert slow.told == [EXIT | {"id": 8}]
    slow.says(event="over")
    while len(slow.told) < 2:
        slow.turn()
    slow.run_out()
    while not quick.is_gone():
        slow.turn()
    quick.line.close()
    assert [one["id"] for one in slow.told] == [8, 7]

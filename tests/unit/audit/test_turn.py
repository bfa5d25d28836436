"""The turn: one holder, who loses it with its descriptor, and no wait without end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.audit import turn as module
from sekisho.audit.turn import Turn
from sekisho.errors import Unavailable


def opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT)


def test_one_has_the_turn_until_it_gives_it(tmp_path: Path) -> None:
    one, other = Turn(opened(tmp_path / "t")), Turn(opened(tmp_path / "t"))
    one.take()
    with pytest.raises(BlockingIOError):
        other.take()
    one.give()
    other.take()


def test_who_is_gone_has_no_turn(tmp_path: Path) -> None:
    descriptor = opened(tmp_path / "t")
    Turn(descriptor).take()
    os.close(descriptor)
    Turn(opened(tmp_path / "t")).take()


def test_waiting_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)
    one, other = Turn(opened(tmp_path / "t")), Turn(opened(tmp_path / "t"))
    one.take()
    with pytest.raises(Unavailable, match="does not move"):
        other.wait()
    one.give()
    other.wait()

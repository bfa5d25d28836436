"""How plugins come up is shown on a terminal and told to programs that ask; a pipe hears nothing of it."""

from __future__ import annotations

import contextlib
import io
import json

import pytest

from sekisho.assembly.arrivals import Arrival
from sekisho.cli.arriving import shown

WAITS = Arrival(plugin="git", stage="waiting for approval", seconds=1.26, remedy="sekisho review git")
DOWN = Arrival(plugin="git", stage="not running", seconds=2.0, detail="it ended [bold]")
BEGINS = Arrival(plugin="git", stage="starting", seconds=0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_pipe_hears_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown(json=False)(WAITS)
    assert capsys.readouterr() == ("", "")


def test_a_program_hears_a_line_of_json_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    shown(json=True)(WAITS)
    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "event": "plugin",
        "plugin": "git",
        "state": "waiting for approval",
        "seconds": 1.26,
        "detail": "",
        "remedy": "sekisho review git",
    }
    assert said.err == ""


def test_a_terminal_shows_a_line_for_each_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    with contextlib.redirect_stderr(screen):
        tell = shown(json=False)
        for one in (BEGINS, WAITS, DOWN):
            tell(one)
    assert screen.getvalue().splitlines() == [
        "git: starting",
        "git: waiting for approval, 1.3 s → sekisho review git",
        "git: not running, 2.0 s (it ended [bold])",
    ]

from __future__ import annotations

from sekisho.errors import Refused
from sekisho.keys import Outcome, Pending, Principal

ME = Principal(client="me")


def test_who_waits_is_told_once() -> None:
    heard: list[Outcome] = []
    pending = Pending()
    pending.then(heard.append)
    assert heard == []
    pending.settle(ME)
    pending.settle(ME)
    assert heard == [ME]


def test_who_comes_late_is_told_too() -> None:
    heard: list[Outcome] = []
    error = Refused("token_invalid", "no")
    pending = Pending()
    pending.settle(error)
    pending.then(heard.append)
    assert heard == [error]


def test_who_withdrew_is_told_nothing() -> None:
    heard: list[Outcome] = []
    pending = Pending()
    pending.then(heard.append)
    pending.withdraw()
    pending.settle(ME)
    assert heard == []

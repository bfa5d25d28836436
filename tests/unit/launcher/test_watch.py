"""What the watcher takes a call for, by its arguments alone; its life is shown in test_watcher."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.launcher.watch import Call, take_listener
from sekisho.sandbox.calls.watched import CHANGES, OPENS, Watched

words = st.lists(st.integers(0, 2**64 - 1), min_size=6, max_size=6)


def call(stated: Watched) -> Call:
    return Call(list(stated.paths), stated.flags, stated.mode)


@pytest.mark.parametrize(
    ("flags", "wish"),
    [
        (os.O_RDONLY | os.O_CLOEXEC, "read"),
        (os.O_RDONLY | os.O_DIRECTORY, "read"),
        (os.O_WRONLY, "write"),
        (os.O_RDWR, "write"),
        (os.O_RDONLY | os.O_TRUNC, "write"),
        (os.O_WRONLY | os.O_CREAT, "make"),
        (os.O_RDWR | os.O_TMPFILE, "write"),
    ],
    ids=["plain", "folder", "write", "both", "cut", "make", "nameless"],
)
def test_an_open_wants_what_its_flags_say(flags: int, wish: str) -> None:
    assert call(OPENS["openat"]).wish("open", [0, 0, flags, 0, 0, 0]) == wish


@given(words)
def test_other_calls_want_what_the_table_says(arguments: list[int]) -> None:
    for stated in CHANGES.values():
        for kind, _, _ in stated.paths:
            assert call(stated).wish(kind, arguments) == kind


@given(words)
def test_set_id_is_refused_where_a_mode_means_something_and_nowhere_else(arguments: list[int]) -> None:
    assert call(CHANGES["creat"]).is_refused(arguments) == bool(arguments[1] & 0o6000)
    makes = bool(arguments[2] & (os.O_CREAT | 0o20000000))
    assert call(OPENS["openat"]).is_refused(arguments) == (makes and bool(arguments[3] & 0o6000))
    assert not call(CHANGES["unlink"]).is_refused(arguments)


def test_a_sender_that_is_gone_has_no_listener() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        assert take_listener(ours) == (b"", [])

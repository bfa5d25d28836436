"""One running call: progress that only grows, and a withdrawal that is seen."""

from __future__ import annotations

import pytest

from sekisho.plugin.call import MAX_NOTES, Call
from sekisho.plugin.faults import Cancelled


def test_progress_grows_and_is_bounded() -> None:
    notes: list[dict[str, object]] = []
    call = Call(token="t", send=notes.append)
    for done in (1, 1, 0.5, float("nan"), float("inf"), 2):
        call.progress(done, 9, "st\x1bep")
    assert [note["progress"] for note in notes] == [1, 2]
    assert notes[0] == {"progressToken": "t", "progress": 1, "total": 9, "message": "st⟨U+001B⟩ep"}
    for done in range(3, MAX_NOTES * 2):
        call.progress(done)
    assert len(notes) == MAX_NOTES


def test_progress_that_nobody_asked_for_goes_nowhere() -> None:
    notes: list[dict[str, object]] = []
    Call(send=notes.append).progress(1)
    assert not notes


def test_a_withdrawn_call_says_so_at_every_look() -> None:
    call, heard = Call(token=1), list[str]()
    call.on_cancel(lambda: heard.append("cancelled"))
    call.check()
    call.cancel()
    assert call.is_cancelled
    assert heard == ["cancelled"]
    for look in (call.check, lambda: call.wait(60), lambda: call.progress(1)):
        with pytest.raises(Cancelled):
            look()


def test_who_listens_late_is_told_at_once() -> None:
    call, heard = Call(), list[str]()
    call.cancel()
    call.on_cancel(lambda: heard.append("cancelled"))
    assert heard == ["cancelled"]

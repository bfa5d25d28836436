from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.frames import Kind
from sekisho.wire.notes import COST_BYTES, MAX_HELD_BYTES, MAX_NOTE_BYTES, NoteQueue


def test_notes_wait_in_order_and_leave_once() -> None:
    queue = NoteQueue()
    for number in range(5):
        queue.hold(Kind.NOTE, number % 2, b"%d" % number)
    assert queue.release({0, 1}) == [(Kind.NOTE, number % 2, b"%d" % number) for number in range(5)]
    assert queue.release({0, 1}) == []
    assert queue.dropped == 0


def test_a_note_whose_call_was_answered_is_dropped_and_counted() -> None:
    queue = NoteQueue()
    queue.hold(Kind.NOTE, 1, b"a")
    queue.hold(Kind.EVENT, 2, b"b")
    assert queue.release({2}) == [(Kind.EVENT, 2, b"b")]
    assert queue.dropped == 1


@pytest.mark.threat("T-FLOOD")
@given(st.lists(st.integers(0, MAX_NOTE_BYTES + 1), max_size=60))
def test_what_is_held_is_the_newest_within_the_bound_and_the_rest_is_counted(sizes: list[int]) -> None:
    queue = NoteQueue()
    for number, size in enumerate(sizes):
        queue.hold(Kind.NOTE, number, bytes(size))
    fitting = [(number, size) for number, size in enumerate(sizes) if size <= MAX_NOTE_BYTES]
    kept = queue.release(range(len(sizes)))
    assert [(number, len(payload)) for _, number, payload in kept] == fitting[len(fitting) - len(kept) :]
    cost = sum(COST_BYTES + len(payload) for _, _, payload in kept)
    assert cost <= MAX_HELD_BYTES
    assert queue.dropped == len(sizes) - len(kept)
    if len(kept) < len(fitting):
        assert cost + COST_BYTES + fitting[len(fitting) - len(kept) - 1][1] > MAX_HELD_BYTES

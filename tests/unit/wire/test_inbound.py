from __future__ import annotations

import pytest

from sekisho.wire import CallFrame, Inbound
from sekisho.wire.frames import Kind

Sent = list[tuple[int, Kind, bytes | memoryview]]


def inbound(echo: CallFrame, sent: Sent) -> Inbound:
    return Inbound(7, echo, lambda call, kind, payload: sent.append((call, kind, payload)))


def test_only_the_first_answer_leaves(echo: CallFrame) -> None:
    sent: Sent = []
    call = inbound(echo, sent)
    call.reply(b"1")
    call.reply(b"2")
    call.fail("internal", "again")
    assert sent == [(7, Kind.RESULT, b"1")]
    assert not call.is_open


@pytest.mark.parametrize("message", ["it stopped", ""])
def test_a_failure_carries_code_and_message(echo: CallFrame, message: str) -> None:
    sent: Sent = []
    inbound(echo, sent).fail("plugin_exited", message)
    assert sent == [(7, Kind.FAILURE, b'{"code":"plugin_exited","message":"%s"}' % message.encode())]


def test_nothing_leaves_after_the_channel_is_gone(echo: CallFrame) -> None:
    sent: Sent = []
    call = inbound(echo, sent)
    call.close()
    call.reply(b"1")
    assert sent == []


def test_notes_leave_before_the_answer_and_never_after_it(echo: CallFrame) -> None:
    sent: Sent = []
    call = inbound(echo, sent)
    call.note(b"1")
    call.note(b"2")
    call.reply(b"{}")
    call.note(b"3")
    assert sent == [(7, Kind.NOTE, b"1"), (7, Kind.NOTE, b"2"), (7, Kind.RESULT, b"{}")]


def test_notes_that_come_together_leave_together(echo: CallFrame) -> None:
    sent: Sent = []
    call = inbound(echo, sent)
    call.note(b"1\n2")
    call.reply(b"{}")
    call.note(b"3")
    assert sent == [(7, Kind.NOTE, b"1\n2"), (7, Kind.RESULT, b"{}")]

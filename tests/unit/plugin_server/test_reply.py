"""The reply to one request over Streamable HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.reply import MAX_PAUSE_S, RemoteReply
from sekisho.protocol import ResponseHead

ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}'


class Witness:
    """Owner and hearer at once."""

    max_event_bytes = 4096

    def __init__(self) -> None:
        self.said: list[Any] = []
        self.is_open = True

    def ended(self, reply: RemoteReply) -> None:
        self.said.append("ended")

    def has_answered(self, reply: RemoteReply) -> None:
        self.said.append("answered")

    def turned_away(self, reply: RemoteReply, head: ResponseHead, body: bytes) -> None:
        self.said.append((head.status, body))

    def broke_off(self, reply: RemoteReply) -> None:
        self.said.append(("broke off", reply.last_event_id, reply.retry_ms))

    def gave_session(self, session: str) -> None:
        self.said.append(("session", session))

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        for line in lines:
            self.receive(line, of)

    def receive(self, line: bytes, of: int | None = None) -> None:
        self.said.append((line, of))
        self.is_open &= line != ANSWER

    def receive_large(self, place: memoryview, size: int) -> bool:
        return False

    def is_waiting(self, ident: int | str) -> bool:
        return self.is_open

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        self.is_open = False
        self.said.append(error.code)

    def fail_all(self, error: SekishoError) -> None:
        self.said.append(error.code)


def _reply(
    witness: Witness, wanted: int | None = 1, method: Literal["POST", "GET", "DELETE"] = "POST"
) -> RemoteReply:
    reply = RemoteReply(witness, witness, b"{}", wanted)
    reply.method = method
    return reply


def _head(status: int = 200, kind: str = "text/event-stream", **headers: str) -> ResponseHead:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ResponseHead(status=status, headers={"content-type": kind} | named, keep_alive=True)


def test_what_is_held_of_a_body_or_an_event_is_told_until_it_is_complete() -> None:
    reply = _reply(Witness())
    reply.take_head(_head(kind="application/json"))
    assert [reply.take_body(b"12"), reply.take_body(b"345")] == [2, 5]
    stream = _reply(Witness())
    stream.take_head(_head())
    assert [stream.take_body(b"data: 1234"), stream.take_body(b"\ndata: 5"), stream.take_body(b"\n\n")] == [
        10,
        12,
        0,
    ]
    stream.withdraw()
    assert stream.take_body(b"data: 1") == 0


def test_half_an_event_is_not_kept_while_its_stream_waits_to_be_resumed() -> None:
    reply = _reply(Witness())
    reply.take_head(_head())
    reply.take_body(b"id: e\ndata:\n\ndata: " + b"x" * 1000)
    reply.take_loss(Unavailable("plugin_exited", "gone"))
    assert reply._events is None


def test_messages_are_handed_on_with_the_request_whose_stream_it_is() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head(mcp_session_id="s"))
    reply.take_body(b"data: " + NOTE + b"\n\n")
    reply.take_body(b"data: " + ANSWER + b"\n\n")
    reply.take_end()
    assert witness.said == [("session", "s"), (NOTE, 1), (ANSWER, 1), "answered", "ended"]


def test_the_messages_of_a_whole_stream_are_handed_on_alike() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head(mcp_session_id="s"))
    reply.take_messages([NOTE, ANSWER])
    reply.take_end()
    assert witness.said == [("session", "s"), (NOTE, 1), (ANSWER, 1), "ended"]


def test_a_whole_stream_without_an_answer_fails_its_request_and_a_withdrawn_one_says_nothing() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head())
    reply.take_messages([NOTE])
    reply.take_end()
    assert witness.said == [(NOTE, 1), "ended", "plugin_protocol"]
    quiet = Witness()
    reply = _reply(quiet)
    reply.take_head(_head())
    reply.withdraw()
    reply.take_messages([ANSWER])
    reply.take_end()
    assert quiet.said == []


def test_a_resumed_stream_that_is_whole_can_be_resumed_where_it_was() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head())
    reply.take_body(b"id: e\nretry: 250\ndata:\n\n")
    reply.take_end()
    reply.fruitless = 1
    reply.take_head(_head())
    reply.take_messages([NOTE])
    reply.take_end()
    assert witness.said == [("broke off", "e", 250), (NOTE, 1), ("broke off", "e", None)]
    assert reply.fruitless == 0


def test_a_stream_that_can_be_resumed_is_not_over() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head())
    reply.take_body(b"id: e\nretry: 250\ndata:\n\n")
    reply.take_end()
    reply.fruitless = 1
    assert (witness.said, reply.is_over, reply.pause_s) == ([("broke off", "e", 250)], False, 0.5)
    reply.take_head(_head())
    reply.take_loss(Unavailable("plugin_exited", "lost"))
    assert len(witness.said) == 2


@pytest.mark.threat("T-HANG")
def test_one_that_cannot_fails_its_request() -> None:
    for end in (
        RemoteReply.take_end,
        lambda reply: reply.take_loss(Unavailable("plugin_exited", "lost")),
        lambda reply: reply.take_loss(RemoteProtocolError("result_too_large", "an event without end")),
    ):
        witness = Witness()
        reply = _reply(witness)
        reply.take_head(_head())
        end(reply)
        assert witness.said[0] == "ended"
        assert len(witness.said) == 2
        assert reply.is_over


def test_after_a_withdrawal_nothing_is_handed_on() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head())
    reply.withdraw()
    reply.take_body(b"data: " + ANSWER + b"\n\n")
    reply.take_end()
    reply.take_loss(Unavailable("plugin_exited", "lost"))
    reply.answer(ANSWER)
    assert witness.said == []


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "head",
    [
        _head(302),
        _head(307),
        _head(200, "text/html"),
        _head(200, ""),
        _head(201, "text/event-stream"),
        _head(200, "text/event-stream", content_encoding="gzip"),
    ],
)
def test_what_is_no_answer_of_mcp_is_refused_at_its_head(head: ResponseHead) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        _reply(Witness()).take_head(head)
    assert caught.value.code == "plugin_protocol"


def test_a_refusal_goes_to_the_owner() -> None:
    witness = Witness()
    reply = _reply(witness)
    reply.take_head(_head(404, "text/plain", mcp_session_id="of a refusal"))
    reply.take_body(b"no")
    reply.take_end()
    assert witness.said == [(404, b"no")]
    assert not reply.is_over


def test_a_listening_stream_takes_no_json_and_is_resumed_without_an_id() -> None:
    with pytest.raises(RemoteProtocolError):
        _reply(Witness(), None, "GET").take_head(_head(200, "application/json"))
    witness = Witness()
    reply = _reply(witness, None, "GET")
    reply.take_head(_head())
    reply.take_end()
    assert witness.said == [("broke off", "", None)]


@given(st.integers(0, 10**9) | st.none(), st.integers(0, 10**6))
def test_pauses_are_bounded(retry_ms: int | None, fruitless: int) -> None:
    reply = _reply(Witness())
    reply.retry_ms, reply.fruitless = retry_ms, fruitless
    assert 0.1 <= reply.pause_s <= MAX_PAUSE_S

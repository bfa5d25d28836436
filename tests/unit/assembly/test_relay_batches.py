"""Which answers of a client on standard input belong together."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.assembly import relay_batches
from sekisho.assembly.relay_batches import MAX_MESSAGES, Batches, read_batch
from sekisho.errors import RemoteProtocolError
from sekisho.protocol import BATCHES, JsonLimits, Message, Request, Response

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


def is_modern(message: Message) -> bool:
    return not isinstance(message, Response) and b"2026" in bytes(message.params)


def code(body: object, version: str | None = BATCHES) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        read_batch(json.dumps(body).encode(), JsonLimits(), version, is_modern)
    return caught.value.code


def test_each_message_keeps_its_own_text() -> None:
    line = b'[ {"jsonrpc":"2.0","id":1,"method":"ping","params":{"n":123456789012345678901234567890}} , %b]'
    found = read_batch(line % json.dumps(READY).encode(), JsonLimits(), BATCHES, is_modern)
    assert isinstance(found[0][0], Request)
    assert found[0][1].endswith(b'{"n":123456789012345678901234567890}}')
    assert json.loads(found[1][1]) == READY


@pytest.mark.parametrize("version", [None, "2024-11-05", "2025-06-18", "2025-11-25"])
def test_other_revisions_have_none(version: str | None) -> None:
    assert code([PING], version) == "batch_refused"


@pytest.mark.parametrize("body", [[], [PING, 7], [PING, PING], [PING, {"id": 1}]])
def test_one_that_cannot_be_read_whole_is_refused_whole(body: object) -> None:
    assert code(body) == "message_invalid"


def test_a_batch_in_a_batch_is_refused_with_all_of_it() -> None:
    assert code([PING, [READY]]) == "batch_refused"


def test_none_opens_a_session_or_speaks_for_the_newer_era() -> None:
    assert code([PING, {**PING, "id": 2, "method": "initialize"}]) == "batch_refused"
    assert code([{**PING, "params": {"_meta": META}}]) == "batch_refused"


@pytest.mark.threat("T-FLOOD")
def test_one_has_a_bounded_number_of_messages() -> None:
    body = json.dumps([{**PING, "id": number} for number in range(MAX_MESSAGES)]).encode()
    assert len(read_batch(body, JsonLimits(), BATCHES, is_modern)) == MAX_MESSAGES
    assert code([READY] * (MAX_MESSAGES + 1)) == "batch_refused"


@given(st.permutations(range(5)), st.sets(st.integers(0, 4)))
def test_answers_leave_together_in_the_order_of_the_requests(order: list[int], withdrawn: set[int]) -> None:
    written: list[bytes] = []
    batches = Batches(written.append)
    batches.begin(range(5))
    for ident in order:
        assert not written
        assert batches.settle(ident, None if ident in withdrawn else b"%d" % ident)
    left = [ident for ident in range(5) if ident not in withdrawn]
    assert [json.loads(one) for one in written] == ([left] if left else [])
    assert not batches.settle(0, b"again")


def test_a_batch_without_requests_is_not_answered() -> None:
    written: list[bytes] = []
    Batches(written.append).begin([])
    assert not written


@pytest.mark.threat("T-FLOOD")
def test_answers_hold_bounded_memory_and_what_has_left_holds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_batches, "MAX_ANSWER_BYTES", 300)
    written: list[bytes] = []
    batches = Batches(written.append)
    large = json.dumps("x" * 190).encode()
    for _ in range(2):
        batches.begin([1, 2])
        batches.settle(1, large)
        batches.settle(2, large)
        first, second = json.loads(written.pop())
        assert first == "x" * 190
        assert second["error"]["data"]["code"] == "result_too_large"


def test_after_the_end_nothing_is_kept() -> None:
    written: list[bytes] = []
    batches = Batches(written.append)
    batches.begin([1])
    batches.clear()
    assert not batches.settle(1, b"{}")
    assert not written

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from sekisho.assembly.relay import Carrier, Relay
from sekisho.assembly.relay_requests import MAX_IN_FLIGHT
from sekisho.errors import Refused, Unavailable
from sekisho.protocol import JsonLimits

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "progressToken": 1}
ANNOTATED = {
    "name": "t",
    "inputSchema": {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}},
}


class Wire:
    """A carrier that keeps what it is given."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.withdrawn: list[int | str] = []
        self.version = ""
        self.tools: Sequence[msgspec.Raw] = ()
        self.is_full = False
        self.is_closed = False

    def send(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def has_room(self) -> bool:
        return not self.is_full

    def withdraw(self, ident: int | str) -> None:
        self.withdrawn.append(ident)

    def use_version(self, version: str) -> None:
        self.version = version

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        self.tools = tools


class Desk:
    """A relay between a client and a gateway that are this test."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.told: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.relay = Relay(
            open_carrier=self._open,
            close_carrier=self._close,
            write=lambda line: self.told.append(json.loads(line)),
            say=self.said.append,
            limits=JsonLimits(),
        )

    def _open(self, relay: Relay) -> Carrier:
        del relay
        self.wires.append(Wire())
        return self.wires[-1]

    def _close(self, carrier: Carrier) -> None:
        next(wire for wire in self.wires if wire is carrier).is_closed = True

    @property
    def plain(self) -> Wire:
        return self.wires[0]

    @property
    def session(self) -> Wire:
        return self.wires[-1]

    def take(self, method: str, ident: int | str | None = None, **params: Any) -> None:
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        self.relay.take(json.dumps(message if ident is None else {**message, "id": ident}).encode())

    def answer(self, ident: int | str, **result: Any) -> None:
        self.relay.receive(json.dumps({"jsonrpc": "2.0", "id": ident, "result": result}).encode())

    def refuse(self, ident: int | str, code: int) -> None:
        error = {"code": code, "message": "no"}
        self.relay.receive(json.dumps({"jsonrpc": "2.0", "id": ident, "error": error}).encode())

    def hello(self, ident: int | str = 0) -> None:
        self.take("initialize", ident, protocolVersion="2025-11-25")
        self.answer(ident, protocolVersion="2025-06-18")

    @property
    def code(self) -> str:
        """Of the latest message to the client."""
        return str(self.told[-1]["error"]["data"]["code"])


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_what_follows_initialize_waits_for_its_answer_and_leaves_in_order(desk: Desk) -> None:
    desk.take("initialize", 0, protocolVersion="2025-11-25")
    desk.take("notifications/initialized")
    desk.take("tools/list", 1)
    assert [one["method"] for one in desk.session.sent] == ["initialize"]
    desk.answer(0, protocolVersion="2025-06-18")
    assert [one["method"] for one in desk.session.sent] == [
        "initialize",
        "notifications/initialized",
        "tools/list",
    ]
    assert desk.session.version == "2025-06-18"
    assert desk.plain.sent == []


async def test_a_second_initialize_ends_the_session_of_before(desk: Desk) -> None:
    desk.hello()
    first = desk.session
    desk.hello(1)
    assert first.is_closed
    assert not desk.session.is_closed
    assert desk.session is not first


async def test_a_refused_initialize_leaves_no_session_and_the_next_one_works(desk: Desk) -> None:
    desk.take("initialize", 0)
    desk.refuse(0, -32602)
    assert desk.session.is_closed
    desk.hello(1)
    desk.take("tools/list", 2)
    assert desk.session.sent[-1]["method"] == "tools/list"


async def test_a_message_of_the_newer_era_belongs_to_no_session(desk: Desk) -> None:
    desk.hello()
    desk.take("tools/call", 1, name="t", _meta=META)
    assert [one["id"] for one in desk.plain.sent] == [1]


async def test_what_a_modern_client_withdraws_is_a_closed_stream_and_is_not_answered(desk: Desk) -> None:
    desk.take("tools/call", 1, name="t", _meta=META)
    desk.take("notifications/cancelled", requestId=1)
    assert desk.plain.withdrawn == [1]
    assert len(desk.plain.sent) == 1
    desk.answer(1)
    assert desk.told == []


async def test_what_a_legacy_client_withdraws_is_told_and_is_not_answered(desk: Desk) -> None:
    desk.hello()
    desk.take("tools/call", "a", name="t")
    desk.take("notifications/cancelled", requestId="a")
    assert desk.session.sent[-1]["method"] == "notifications/cancelled"
    desk.answer("a")
    assert [one["id"] for one in desk.told] == [0]


async def test_a_late_or_senseless_withdrawal_is_nothing(desk: Desk) -> None:
    desk.hello()
    count = len(desk.session.sent)
    desk.take("notifications/cancelled", requestId=99)
    desk.take("notifications/cancelled")
    assert len(desk.session.sent) == count


async def test_questions_and_news_reach_the_client_and_its_answers_the_session(desk: Desk) -> None:
    desk.hello()
    question = {"jsonrpc": "2.0", "id": "p:elicitation:h", "method": "elicitation/create", "params": {}}
    news = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
    desk.relay.receive_all([json.dumps(one).encode() for one in (question, news)])
    assert desk.told[-2:] == [question, news]
    answer = {"jsonrpc": "2.0", "id": "p:elicitation:h", "result": {"action": "decline"}}
    desk.relay.take(json.dumps(answer).encode())
    assert desk.session.sent[-1] == answer


async def test_an_answer_that_nobody_waits_for_is_dropped(desk: Desk) -> None:
    desk.answer(5)
    desk.relay.receive(b"{oops")
    assert desk.told == []


@pytest.mark.threat("T-GARBAGE")
async def test_what_is_no_message_is_refused_and_goes_nowhere(desk: Desk) -> None:
    desk.relay.take(b"hello")
    desk.relay.take(b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}')
    assert [one["id"] for one in desk.told] == [None, None]
    assert desk.plain.sent == []
    assert len(desk.said) == 2


@pytest.mark.threat("T-FLOOD")
async def test_requests_beyond_the_bound_are_refused(desk: Desk) -> None:
    for ident in range(MAX_IN_FLIGHT):
        desk.take("tools/list", ident, _meta=META)
    desk.take("tools/list", "more", _meta=META)
    assert (desk.told[-1]["id"], desk.code) == ("more", "busy")
    desk.answer(0, tools=[])
    desk.take("tools/list", "again", _meta=META)
    assert desk.plain.sent[-1]["id"] == "again"


async def test_the_id_of_a_request_in_flight_is_not_given_twice(desk: Desk) -> None:
    desk.take("tools/list", 1, _meta=META)
    desk.take("tools/list", 1, _meta=META)
    assert desk.code == "message_invalid"
    assert len(desk.plain.sent) == 1


async def test_a_gateway_that_is_away_is_said_once_and_every_request_hears_it(desk: Desk) -> None:
    for ident in (1, 2):
        desk.take("tools/list", ident, _meta=META)
        desk.relay.fail_one(ident, Unavailable("plugin_unavailable", "does not answer"))
        assert desk.code == "gateway_unavailable"
    assert len(desk.said) == 1
    desk.take("tools/list", 3, _meta=META)
    desk.relay.fail_all(Refused("busy", "full"))
    assert desk.code == "busy"


async def test_a_session_that_was_opened_again_is_told_what_the_client_set_in_it(desk: Desk) -> None:
    desk.hello()
    desk.take("logging/setLevel", 1, level="info")
    desk.take("resources/subscribe", 2, uri="a://a")
    desk.take("resources/subscribe", 3, uri="a://b")
    desk.take("resources/unsubscribe", 4, uri="a://a")
    desk.take("resources/subscribe", 5, uri="a://c")
    for ident in (1, 2, 3, 4):
        desk.answer(ident)
    desk.refuse(5, -32002)
    before = len(desk.session.sent)
    desk.relay.reopened(desk.session)
    again = desk.session.sent[before:]
    assert [(one["method"], *one["params"].values()) for one in again] == [
        ("logging/setLevel", "info"),
        ("resources/subscribe", "a://b"),
    ]
    told = len(desk.told)
    desk.answer(again[0]["id"])
    assert len(desk.told) == told


async def test_a_forgotten_session_refuses_until_the_client_initializes(desk: Desk) -> None:
    desk.hello()
    desk.relay.forgotten(desk.session, Refused("session_unknown", "gone"))
    desk.take("tools/list", 1)
    assert desk.code == "session_unknown"
    desk.take("tools/list", 2, _meta=META)
    assert desk.plain.sent[-1]["id"] == 2
    desk.hello(3)
    desk.take("tools/list", 4)
    assert desk.session.sent[-1]["id"] == 4


async def test_annotated_tools_of_a_list_are_remembered(desk: Desk) -> None:
    desk.take("tools/list", 1, _meta=META)
    desk.answer(1, tools=[ANNOTATED, {"name": "plain"}])
    assert [json.loads(bytes(tool))["name"] for tool in desk.plain.tools] == ["t"]


async def test_headers_that_the_gateway_misses_are_looked_up_once(desk: Desk) -> None:
    desk.take("tools/call", 1, name="t", _meta=META)
    desk.refuse(1, -32020)
    assert desk.told == []
    assert not desk.relay.is_waiting(1)
    listing = desk.plain.sent[-1]
    assert listing["method"] == "tools/list"
    assert "progressToken" not in listing["params"]["_meta"]
    desk.answer(listing["id"], tools=[], nextCursor="more")
    assert desk.plain.sent[-1]["params"]["cursor"] == "more"
    desk.answer(desk.plain.sent[-1]["id"], tools=[ANNOTATED])
    assert len(desk.plain.tools) == 1
    assert desk.plain.sent[-1]["id"] == 1
    desk.refuse(1, -32020)
    assert desk.told[-1]["error"]["code"] == -32020


async def test_a_look_up_that_fails_gives_the_refusal_and_a_withdrawn_call_nothing(desk: Desk) -> None:
    for ident in (1, 2):
        desk.take("tools/call", ident, name="t", _meta=META)
        desk.refuse(ident, -32020)
    first, second = desk.plain.sent[-3]["id"], desk.plain.sent[-1]["id"]
    assert isinstance(first, str)
    desk.take("notifications/cancelled", requestId=2)
    desk.answer(second, tools=[ANNOTATED])
    assert desk.told == []
    desk.relay.fail_one(first, Unavailable("plugin_exited", "away"))
    assert [one["id"] for one in desk.told] == [1]


async def test_a_relay_is_idle_without_answers_that_are_due(desk: Desk) -> None:
    desk.take("subscriptions/listen", 1, _meta=META)
    await desk.relay.wait_idle()
    desk.take("tools/list", 2, _meta=META)
    waiting = asyncio.ensure_future(desk.relay.wait_idle())
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.answer(2, tools=[])
    await waiting


async def test_a_client_that_left_hears_nothing(desk: Desk) -> None:
    desk.take("tools/list", 1, _meta=META)
    desk.relay.leave()
    desk.relay.fail_one(1, Refused("cancelled", "ended"))
    desk.answer(1)
    assert desk.told == []


def batch(*members: dict[str, Any]) -> bytes:
    return json.dumps([{"jsonrpc": "2.0", **one} for one in members]).encode()


def open_batches(desk: Desk) -> None:
    desk.take("initialize", 0, protocolVersion="2025-03-26")
    desk.answer(0, protocolVersion="2025-03-26")


async def test_a_batch_is_taken_apart_and_answered_together(desk: Desk) -> None:
    open_batches(desk)
    said = {"method": "notifications/initialized"}
    desk.relay.take(batch({"id": 1, "method": "a"}, said, {"id": 2, "method": "b"}, {"id": 3, "method": "c"}))
    assert [one["method"] for one in desk.session.sent[1:]] == ["a", "notifications/initialized", "b", "c"]
    desk.answer(2, b=2)
    desk.take("d", 4)
    desk.answer(4)
    desk.refuse(1, -1)
    assert [one["id"] for one in desk.told] == [0, 4]
    desk.take("notifications/cancelled", requestId=3)
    together: Any = desk.told[2]
    assert [one["id"] for one in together] == [1, 2]
    assert together[1]["result"] == {"b": 2}


async def test_a_batch_of_another_revision_or_of_none_is_refused_whole(desk: Desk) -> None:
    line = batch({"id": 1, "method": "a"})
    desk.relay.take(line)
    assert desk.code == "batch_refused"
    desk.hello()
    desk.relay.take(line)
    assert desk.code == "batch_refused"
    assert [one["method"] for one in desk.session.sent] == ["initialize"]
    desk.take("initialize", 1, protocolVersion="2025-03-26")
    desk.relay.take(line)  # nobody knows yet which revision it will be
    assert desk.code == "batch_refused"


async def test_an_id_in_flight_is_not_taken_by_a_batch_nor_taken_from_it(desk: Desk) -> None:
    open_batches(desk)
    desk.take("a", 1)
    desk.relay.take(batch({"id": 1, "method": "b"}, {"id": 2, "method": "b"}))
    assert desk.code == "message_invalid"
    desk.relay.take(batch({"id": 3, "method": "b"}))
    desk.take("c", 3)
    assert desk.code == "message_invalid"
    desk.answer(3, b=3)
    together: Any = desk.told[-1]
    assert together[0]["result"] == {"b": 3}


async def test_a_gateway_that_is_away_fails_a_batch_together(desk: Desk) -> None:
    open_batches(desk)
    desk.relay.take(batch({"id": 1, "method": "a"}, {"id": 2, "method": "b"}))
    desk.relay.fail_all(Unavailable("plugin_unavailable", "away"))
    together: Any = desk.told[-1]
    assert [one["error"]["data"]["code"] for one in together] == ["gateway_unavailable"] * 2
    await asyncio.wait_for(desk.relay.wait_idle(), 1)

"""Batches: only where their revision is spoken, and each message in them as if it had come alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.gateway.speaking import unmarked

from sekisho.errors import Refused, Unavailable
from sekisho.gateway import FreightLimits, batches
from sekisho.policy import RateRule
from sekisho.protocol import BATCHES, JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Ear, Kit, Reply

    from sekisho.gateway.guest import Withdrawable


def session(kit: Kit, revision: str = BATCHES, capabilities: Any = None) -> str:
    opened = kit.say("initialize", {"protocolVersion": revision, "capabilities": capabilities or {}})
    return opened.headers["mcp-session-id"]


def add(ident: int | str, a: Any = 1, name: str = "calc__add") -> dict[str, Any]:
    return {
        "jsonrpc": "2.0",
        "id": ident,
        "method": "tools/call",
        "params": {"name": name, "arguments": {"a": a}},
    }


PING = {"jsonrpc": "2.0", "id": "p", "method": "ping"}
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def send(kit: Kit, body: object, ident: str | None) -> tuple[Ear, Withdrawable | None]:
    ear = kit.ear()
    under_way = kit.door.answer(kit.request(body, session=ident), ear)
    kit.log.settle()
    return ear, under_way


def answered(kit: Kit, ear: Ear) -> Reply:
    kit.log.settle()
    assert len(ear.heard) == 1
    return kit.reply.read(ear.heard[0])


def test_the_answers_of_a_batch_are_one_array_in_the_order_of_its_requests(kit: Kit) -> None:
    ear, _ = send(kit, [add(1), PING, READY, add(2), {**PING, "id": 3, "method": "tools/list"}], session(kit))
    assert not ear.heard
    kit.line.reply(number=2)
    kit.log.settle()
    assert not ear.heard
    kit.line.reply(number=1)
    reply = answered(kit, ear)
    assert reply.status == 200
    assert [one["id"] for one in reply.body] == [1, "p", 2, 3]
    assert unmarked(reply.body[0]["result"]) == json.loads(kit.sum)
    assert reply.body[1]["result"] == {}
    assert "tools" in reply.body[3]["result"]


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18", "2024-11-05"])
def test_other_revisions_have_no_batches(kit: Kit, revision: str) -> None:
    ear, _ = send(kit, [PING], session(kit, revision))
    reply = answered(kit, ear)
    assert (reply.status, reply.code) == (400, "batch_refused")


def test_no_batch_comes_without_a_session_of_its_client(kit: Kit) -> None:
    ear, _ = send(kit, [PING], None)
    assert answered(kit, ear).code == "batch_refused"
    mine = session(kit)
    ear = kit.ear()
    kit.door.answer(kit.request([PING], session=mine, token=kit.ben), ear)
    assert answered(kit, ear).code == "session_unknown"


def test_initialize_is_never_part_of_a_batch_and_nothing_of_that_batch_happens(kit: Kit) -> None:
    start = {
        **PING,
        "method": "initialize",
        "params": {"protocolVersion": BATCHES, "capabilities": {}},
    }
    ear, _ = send(kit, [add(1), start], session(kit))
    assert answered(kit, ear).code == "batch_refused"
    assert not kit.line.frames


@pytest.mark.threat("T-FLOOD")
def test_a_batch_is_bounded_and_at_its_bound_all_is_well(kit: Kit) -> None:
    ident, most = session(kit), kit.rules.max_batch_messages
    ear, _ = send(kit, [{**PING, "id": number} for number in range(most)], ident)
    assert len(answered(kit, ear).body) == most
    ear, _ = send(kit, [{**PING, "id": number} for number in range(most + 1)], ident)
    assert answered(kit, ear).code == "batch_refused"


@pytest.mark.parametrize("body", [[], [PING, 7], [PING, []], [PING, {"jsonrpc": "2.0", "id": 1}]])
def test_a_batch_that_cannot_be_read_whole_is_refused_whole(kit: Kit, body: object) -> None:
    ear, _ = send(kit, body, session(kit))
    assert answered(kit, ear).code == "message_invalid"
    assert not kit.line.frames


def test_each_message_is_judged_charged_and_recorded_by_itself(kit: Kit) -> None:
    ident = session(kit)
    kit.change(client_rate=RateRule(per_minute=2))
    ear, _ = send(kit, [add(1), add(2, a="no number"), add(3, name="calc__gone"), add(4), add(5)], ident)
    assert len(kit.line.frames) == 1  # the second call that was allowed had arguments of the wrong kind
    kit.line.reply()
    codes = [one["error"]["data"]["code"] if "error" in one else "ok" for one in answered(kit, ear).body]
    assert codes == ["ok", "arguments_invalid", "tool_unknown", "rate_limited", "rate_limited"]
    recorded = [entry["call"] for entry in kit.log.entries if entry["kind"] in ("intent", "refusal")]
    assert len(set(recorded)) == 5


def test_an_id_that_is_used_twice_fails_by_itself(kit: Kit) -> None:
    ear, _ = send(kit, [add(1), add(1)], session(kit))
    kit.line.reply()
    first, second = answered(kit, ear).body
    assert "result" in first
    assert second["error"]["data"]["code"] == "message_invalid"


def test_what_has_no_answer_of_its_own_is_accepted(kit: Kit) -> None:
    response = {"jsonrpc": "2.0", "id": "nobody asked", "result": {}}
    ear, _ = send(kit, [READY, response], session(kit))
    assert answered(kit, ear).status == 202


def test_a_call_of_a_batch_can_be_cancelled_alone(kit: Kit) -> None:
    ident = session(kit)
    ear, _ = send(kit, [add(1), add(2)], ident)
    cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
    other, _ = send(kit, [cancel], ident)
    assert answered(kit, other).status == 202
    assert kit.line.cancelled == [1]
    kit.line.reply(number=2)
    assert [one.get("result") is None for one in answered(kit, ear).body] == [True, False]


def test_a_client_that_is_gone_withdraws_all_that_is_under_way(kit: Kit) -> None:
    ear, under_way = send(kit, [PING, add(1), add(2)], session(kit))
    assert under_way is not None
    under_way.withdraw(Refused("cancelled", "the client closed the connection"))
    kit.log.settle()
    assert kit.line.cancelled == [1, 2]
    assert not ear.heard


def test_nothing_is_asked_or_told_in_the_midst_of_a_batch(kit: Kit) -> None:
    wants = add(1)
    wants["params"]["_meta"] = {"progressToken": "t"}
    ear, _ = send(kit, [wants], session(kit, capabilities={"elicitation": {}}))
    [frame] = kit.line.frames
    assert not frame.wants_progress
    assert b"may_ask" not in frame.context
    kit.line.reply()
    assert unmarked(answered(kit, ear).body[0]["result"]) == json.loads(kit.sum)
    assert not ear.pieces


def test_a_message_of_the_newer_era_is_not_of_a_batch(kit: Kit) -> None:
    modern = add(1)
    modern["params"]["_meta"] = {
        "io.modelcontextprotocol/protocolVersion": kit.modern,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    request = kit.request([modern, PING], session=session(kit), headers={"mcp-protocol-version": BATCHES})
    ear = kit.ear()
    kit.door.answer(request, ear)
    refused, pinged = answered(kit, ear).body
    assert "error" in refused
    assert pinged["result"] == {}
    assert not kit.line.frames


@pytest.mark.threat("T-FLOOD")
def test_answers_that_are_too_large_together_are_refused_one_by_one(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_ANSWER_BYTES", 150)
    ear, _ = send(kit, [add(1), add(2), add(3)], session(kit))
    for _ in range(3):
        kit.line.reply()
    kinds = ["ok" if "result" in one else one["error"]["data"]["code"] for one in answered(kit, ear).body]
    assert kinds == ["ok", "result_too_large", "result_too_large"]


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("ends", ["answered", "withdrawn"])
def test_answers_that_wait_for_the_last_of_their_batch_are_counted_until_it_is_over(
    kit: Kit, ends: str
) -> None:
    kit.change(result_limits=JsonLimits(max_bytes=1 << 20))
    kit.road = kit.new_road(freight=FreightLimits(total=1 << 20, of_client=200_000))
    kit.door = kit.new_door()
    ident = session(kit)
    ear, under_way = send(kit, [add(1), add(2), add(3)], ident)
    for _ in range(2):
        kit.line.reply(
            b'{"content":[{"type":"text","text":"%b"}],"structuredContent":{"sum":3}}' % (b"x" * 90_000)
        )
        kit.log.settle()
    assert not kit.road.freight.has_room("aya", 90_000)
    other, _ = send(kit, [add(1), add(2)], ident)  # small answers need no room
    for number in (4, 5):
        kit.line.reply(number=number)
    assert [one["id"] for one in answered(kit, other).body] == [1, 2]
    if ends == "answered":
        kit.line.reply()
        assert ["result" in one for one in answered(kit, ear).body] == [True] * 3
    else:
        assert under_way is not None
        under_way.withdraw(Refused("cancelled", "test"))
        kit.log.settle()
    assert kit.road.freight.has_room("aya", 190_000)


def test_a_plugin_that_is_down_fails_its_own_messages(kit: Kit) -> None:
    ear, _ = send(kit, [add(1), PING], session(kit))
    kit.line.reply(Unavailable("plugin_unavailable", "down"))
    first, second = answered(kit, ear).body
    assert first["error"]["data"]["code"] == "plugin_unavailable"
    assert second["result"] == {}

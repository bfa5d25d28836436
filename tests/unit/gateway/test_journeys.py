"""The journey of a request: rounds whose state opens for one call alone, and a person's word that is asked on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from tests.unit.gateway.offering import everything
from tests.unit.gateway.speaking import (
    ASKABLE,
    FORM,
    KEY,
    YES,
    Client,
    Said,
    ask,
    calc,
    context,
    offer,
    reply,
    tell,
)

from sekisho.errors import Refused
from sekisho.gateway import FreightLimits, SharedMemory, SharedRequestIds
from sekisho.gateway.questions import MAX_AGE_S, MAX_SEALED_CHARS
from sekisho.protocol import JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

DONE: Final = {"content": [{"type": "text", "text": "done"}]}
CALL: Final = {"name": "calc__erase", "arguments": {"path": "a"}}
QUESTION: Final = {"q": {"method": "elicitation/create", "params": FORM}}
ROUND: Final = {"resultType": "input_required", "inputRequests": QUESTION, "requestState": "theirs"}
ANSWERS: Final = {"q": {"action": "accept", "content": {"name": "x"}}}


@pytest.fixture
def kit(kit: Kit) -> Kit:
    offer(kit, calc(), rules=[everything("aya", "calc", "erase"), everything("ben", "calc", "erase")])
    return kit


def modern(kit: Kit, **fields: Any) -> Client:
    return Client(kit, capabilities=ASKABLE, **fields)


def legacy(kit: Kit, **fields: Any) -> Client:
    return Client(kit, modern=False, capabilities=ASKABLE, **fields)


def a_round(
    kit: Kit, client: Client, answer: Any = ROUND, params: Any = CALL, method: str = "tools/call"
) -> Said:
    said = client.send(method, params)
    reply(kit, answer)
    return said


# rounds with modern clients


def test_a_question_of_a_plugin_is_a_round_and_the_answer_carries_the_call_on(kit: Kit) -> None:
    client = modern(kit)
    first = a_round(kit, client)
    assert first.reply.status == 200
    assert first.result["resultType"] == "input_required"
    assert first.result["inputRequests"] == QUESTION
    state = first.result["requestState"]
    assert "theirs" not in state
    again = client.send("tools/call", {**CALL, "requestState": state, "inputResponses": ANSWERS})
    told = context(kit.line)
    assert told.request_state == "theirs"
    assert json.loads(bytes(told.input_responses)) == ANSWERS
    assert json.loads(kit.line.frames[-1].arguments) == CALL["arguments"]
    reply(kit, DONE)
    assert again.result == {**DONE, "resultType": "complete"}
    assert kit.log.kinds == ["intent", "outcome"] * 2
    intents = [entry for entry in kit.log.entries if entry["kind"] == "intent"]
    assert ["answers" in entry for entry in intents] == [False, True]
    assert intents[1]["answers"]["size"] == len(bytes(told.input_responses))


def test_a_plugin_may_keep_its_state_in_the_answer_alone_and_ask_nothing(kit: Kit) -> None:
    client = modern(kit)
    first = a_round(kit, client, {"resultType": "input_required", "requestState": "later"})
    assert first.result.keys() == {"resultType", "requestState"}
    client.send("tools/call", {**CALL, "requestState": first.result["requestState"]})
    assert context(kit.line).request_state == "later"


@pytest.mark.threat("T-REPLAY")
def test_the_state_of_a_round_is_of_no_use_to_another_client_call_or_endpoint(kit: Kit) -> None:
    client = modern(kit)
    state = a_round(kit, client).result["requestState"]
    sent = len(kit.line.frames)
    mine = {**CALL, "requestState": state, "inputResponses": ANSWERS}
    for thief, params in (
        (modern(kit, token=kit.ben), mine),
        (modern(kit, target="/p/calc/mcp"), {**mine, "name": "erase"}),
        (client, {**mine, "arguments": {"path": "b"}}),
        (client, {**mine, "arguments": {}}),
        (client, {**mine, "requestState": state[:-2]}),
        (client, {**mine, "requestState": state.swapcase()}),
        (client, {**mine, "requestState": "theirs"}),
        (client, {**mine, "requestState": {"a": 1}}),
    ):
        assert thief.send("tools/call", params).code == "params_invalid"
    other = client.send("prompts/get", {"name": "calc__greet", "requestState": state})
    assert other.code == "params_invalid"
    assert len(kit.line.frames) == sent
    assert client.send("tools/call", mine).is_over is False  # its harmless twin
    assert len(kit.line.frames) == sent + 1


@pytest.mark.threat("T-REPLAY")
def test_a_state_grows_old(kit: Kit) -> None:
    client = modern(kit)
    params = {**CALL, "requestState": a_round(kit, client).result["requestState"], "inputResponses": ANSWERS}
    kit.clock.advance(MAX_AGE_S)
    assert not client.send("tools/call", params).is_over
    kit.clock.advance(1)
    assert client.send("tools/call", params).code == "params_invalid"


def test_answers_to_what_was_not_asked_reach_no_plugin(kit: Kit) -> None:
    client = modern(kit)
    state = a_round(kit, client).result["requestState"]
    said = {**ANSWERS, "more": {"action": "accept"}, "sekisho-approval": YES}
    client.send("tools/call", {**CALL, "requestState": state, "inputResponses": said})
    assert json.loads(bytes(context(kit.line).input_responses)) == ANSWERS


def test_an_answer_of_another_form_is_refused(kit: Kit) -> None:
    client = modern(kit)
    state = a_round(kit, client).result["requestState"]
    odd: list[Any] = [
        {"q": {"roots": []}},
        {"q": "yes"},
        ["q"],
        {"q": {"action": "accept", "content": {"a": {}}}},
    ]
    for said in odd:
        refused = client.send("tools/call", {**CALL, "requestState": state, "inputResponses": said})
        assert (refused.reply.status, refused.code) == (400, "params_invalid")


@pytest.mark.threat("T-EGRESS")
def test_answers_and_meta_are_searched_like_arguments(kit: Kit) -> None:
    client = modern(kit)
    state = a_round(kit, client).result["requestState"]
    stolen = {"q": {"action": "accept", "content": {"name": KEY}}}
    refused = client.send("tools/call", {**CALL, "requestState": state, "inputResponses": stolen})
    assert refused.code == "content_refused"
    client.meta = {"traceparent": KEY}
    assert client.send("tools/call", CALL).code == "content_refused"
    client.meta = {"traceparent": "00-1"}
    assert not client.send("tools/call", CALL).is_over
    assert json.loads(bytes(context(kit.line).meta)) == {"traceparent": "00-1"}


@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize("capabilities", [{}, {"sampling": {}}, {"elicitation": {"url": {}}}])
def test_a_client_that_did_not_declare_it_is_not_asked(kit: Kit, capabilities: dict[str, Any]) -> None:
    said = a_round(kit, Client(kit, capabilities=capabilities))
    assert (said.code, said.error["code"], said.reply.status) == ("capability_missing", -32021, 400)
    assert kit.log.entries[-1]["code"] == "capability_missing"


def test_what_the_operator_does_not_allow_is_not_asked_of_a_client_that_declared_it(kit: Kit) -> None:
    offer(kit, calc(), requests=frozenset({"sampling"}))
    assert a_round(kit, modern(kit)).code == "capability_missing"
    offer(kit, calc(), requests=frozenset({"elicitation"}))
    assert a_round(kit, modern(kit)).result["resultType"] == "input_required"


@pytest.mark.threat("T-CROSS")
def test_a_round_is_never_given_to_a_legacy_client(kit: Kit) -> None:
    said = a_round(kit, legacy(kit))
    assert said.code == "plugin_protocol"


def test_a_prompt_may_take_rounds_and_a_completion_may_not(kit: Kit) -> None:
    client = modern(kit)
    said = a_round(kit, client, params={"name": "calc__greet"}, method="prompts/get")
    assert said.result["inputRequests"] == QUESTION
    ref = {"ref": {"type": "ref/prompt", "name": "calc__greet"}, "argument": {"name": "a", "value": ""}}
    assert a_round(kit, client, params=ref, method="completion/complete").code == "plugin_protocol"


def test_a_state_that_cannot_be_sealed_is_the_plugins_fault(kit: Kit) -> None:
    kit.change(result_limits=JsonLimits(max_bytes=1 << 20))
    assert (
        a_round(kit, modern(kit), {**ROUND, "requestState": "x" * MAX_SEALED_CHARS}).code == "plugin_protocol"
    )


# a person's word


@pytest.fixture
def held(kit: Kit) -> Kit:
    kit.approver.says = "ask"
    return kit


@pytest.mark.threat("T-OPERATION")
def test_a_modern_client_is_asked_in_a_round_before_the_plugin_hears_anything(held: Kit) -> None:
    client = modern(held)
    said = client.send("tools/call", CALL)
    request = said.result["inputRequests"]["sekisho-approval"]
    assert request["method"] == "elicitation/create"
    assert '{"path":"a"}' in request["params"]["message"]
    assert held.line.frames == []
    state = said.result["requestState"]
    again = {**CALL, "requestState": state, "inputResponses": {"sekisho-approval": YES}}
    done = client.send("tools/call", again)
    reply(held, DONE)
    assert done.code == "ok"
    assert [entry.get("name") for entry in held.log.entries] == [
        "approval_asked",
        "approval_given",
        None,
        None,
    ]
    assert context(held.line).request_state is None
    assert bytes(context(held.line).input_responses) == b""


@pytest.mark.parametrize(
    "word",
    [
        {},
        {"sekisho-approval": {"action": "decline"}},
        {"sekisho-approval": {"action": "cancel", "content": {"allow": True}}},
        {"sekisho-approval": {"action": "accept", "content": {"allow": False}}},
        {"sekisho-approval": {"action": "accept", "content": {"allow": "yes"}}},
        {"other": YES},
    ],
)
def test_anything_but_a_yes_is_a_no(held: Kit, word: dict[str, Any]) -> None:
    client = modern(held)
    state = client.send("tools/call", CALL).result["requestState"]
    said = client.send("tools/call", {**CALL, "requestState": state, "inputResponses": word})
    assert said.code == "approval_refused"
    assert held.line.frames == []
    assert held.log.entries[-1]["code"] == "approval_refused"


@pytest.mark.threat("T-REPLAY")
def test_a_yes_to_one_call_is_none_to_another(held: Kit) -> None:
    client = modern(held)
    state = client.send("tools/call", CALL).result["requestState"]
    yes = {"requestState": state, "inputResponses": {"sekisho-approval": YES}}
    for params in ({**CALL, "arguments": {"path": "/"}}, {**CALL, "name": "calc__other"}):
        assert client.send("tools/call", {**params, **yes}).code == "params_invalid"
    assert modern(held, token=held.ben).send("tools/call", {**CALL, **yes}).code == "params_invalid"
    # nor is a yes that nobody asked for
    unasked = client.send("tools/call", {**CALL, "inputResponses": {"sekisho-approval": YES}})
    assert unasked.result["resultType"] == "input_required"
    assert held.line.frames == []
    client.send("tools/call", {**CALL, **yes})
    assert len(held.line.frames) == 1


@pytest.mark.threat("T-REPLAY")
@pytest.mark.parametrize("first", ["accept", "decline"])
def test_a_question_is_answered_once_and_a_yes_is_for_one_call(held: Kit, first: str) -> None:
    client = modern(held)
    state = client.send("tools/call", CALL).result["requestState"]
    for number, action in enumerate((first, "accept", "accept")):
        word = {"sekisho-approval": {**YES, "action": action}}
        said = client.send("tools/call", {**CALL, "requestState": state, "inputResponses": word})
        if number or first == "decline":
            assert said.code == "approval_refused"
    assert len(held.line.frames) == (first == "accept")
    other = client.send("tools/call", CALL).result["requestState"]  # asked anew, it may be allowed anew
    client.send("tools/call", {**CALL, "requestState": other, "inputResponses": {"sekisho-approval": YES}})
    assert len(held.line.frames) == 1 + (first == "accept")


@pytest.mark.threat("T-REPLAY")
def test_a_yes_counts_in_the_run_it_was_asked_in_and_an_answer_to_a_plugin_in_any(held: Kit) -> None:
    again = type(held)()
    again.approver.says = "ask"
    client = modern(held)
    state = client.send("tools/call", CALL).result["requestState"]
    yes = {"requestState": state, "inputResponses": {"sekisho-approval": YES}}
    assert modern(again).send("tools/call", {**CALL, **yes}).code == "approval_refused"
    for is_approved in (True, False):
        if not is_approved:
            held.approver.says = again.approver.says = "yes"
        said = client.send("tools/call", {**CALL, **yes} if is_approved else CALL)
        reply(held, ROUND)
        further = {"requestState": said.result["requestState"], "inputResponses": ANSWERS}
        said = modern(again).send("tools/call", {**CALL, **further})
        if not is_approved:
            reply(again, DONE)
        assert said.code == ("approval_refused" if is_approved else "ok")
    assert len(again.line.frames) == 1


@pytest.mark.threat("T-REPLAY")
def test_a_later_round_of_an_approved_call_is_sent_once_and_others_as_often_as_before(kit: Kit) -> None:
    for is_asked, codes in ((True, ["ok", "approval_refused"]), (False, ["ok", "ok"])):
        kit.approver.says = "ask" if is_asked else "yes"
        client = modern(kit)
        said = client.send("tools/call", CALL)
        if is_asked:
            yes = {"requestState": said.result["requestState"], "inputResponses": {"sekisho-approval": YES}}
            said = client.send("tools/call", {**CALL, **yes})
        reply(kit, ROUND)
        further = {"requestState": said.result["requestState"], "inputResponses": ANSWERS}
        for code in codes:
            again = client.send("tools/call", {**CALL, **further})
            if code == "ok":
                reply(kit, DONE)
            assert again.code == code


@pytest.mark.threat("T-SHADOW")
def test_a_plugin_cannot_ask_in_our_name(kit: Kit) -> None:
    ours = {"resultType": "input_required", "inputRequests": {"sekisho-approval": QUESTION["q"]}}
    assert a_round(kit, modern(kit), ours).code == "plugin_protocol"


def test_an_approved_call_may_take_rounds_and_is_not_asked_about_again(held: Kit) -> None:
    client = modern(held)
    state = client.send("tools/call", CALL).result["requestState"]
    second = client.send(
        "tools/call", {**CALL, "requestState": state, "inputResponses": {"sekisho-approval": YES}}
    )
    reply(held, ROUND)
    assert second.result["inputRequests"] == QUESTION
    third = client.send(
        "tools/call", {**CALL, "requestState": second.result["requestState"], "inputResponses": ANSWERS}
    )
    assert context(held.line).request_state == "theirs"
    reply(held, DONE)
    assert third.code == "ok"


@pytest.mark.parametrize("is_modern", [True, False])
def test_where_nobody_can_be_asked_the_call_is_refused_with_the_way_out(held: Kit, is_modern: bool) -> None:
    cases: list[dict[str, Any]] = [
        {"capabilities": {"sampling": {}}},
        {"capabilities": ASKABLE, "streams": False},
    ]
    for fields in cases:
        said = Client(held, modern=is_modern, **fields).send("tools/call", CALL)
        if is_modern and "streams" in fields:
            assert said.result["resultType"] == "input_required"  # a round needs no stream
        else:
            assert said.code == "approval_refused"
            assert "elicitation" in said.error["data"]["remedy"]
    assert held.line.frames == []


def test_a_standing_no_asks_nobody(kit: Kit) -> None:
    kit.approver.says = "no"
    assert modern(kit).send("tools/call", CALL).code == "approval_refused"
    kit.approver.says = "yes"
    assert not modern(kit).send("tools/call", CALL).is_over


def test_a_legacy_client_is_asked_on_the_stream_of_its_call(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    (question,) = said.named("elicitation/create")
    assert '{"path":"a"}' in question["params"]["message"]
    assert held.line.frames == []
    assert held.log.entries[-1]["name"] == "approval_asked"
    assert client.respond(question, YES).reply.status == 202
    assert [entry.get("name") for entry in held.log.entries] == ["approval_asked", "approval_given", None]
    assert not said.is_over
    reply(held, DONE)
    assert said.result == DONE
    assert held.line.answers == []  # no plugin hears of it


@pytest.mark.parametrize(
    "word",
    [
        ("result", {"action": "decline"}),
        ("result", {"action": "accept", "content": {"allow": False}}),
        ("error", {"code": -1, "message": "the user closed the window"}),
    ],
)
def test_a_legacy_client_that_says_no_is_refused_on_the_stream(held: Kit, word: tuple[str, Any]) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    client.respond(said.named("elicitation/create")[0], word[1], word[0])
    assert said.code == "approval_refused"
    assert held.line.frames == []
    assert held.log.entries[-1]["code"] == "approval_refused"


@pytest.mark.threat("T-CROSS")
def test_the_word_of_another_session_or_client_is_not_heard(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    (question,) = said.named("elicitation/create")
    for stranger in (legacy(held), legacy(held, token=held.ben), legacy(held, target="/p/calc/mcp")):
        assert stranger.respond(question, YES).reply.status == 202
    assert (held.line.frames, said.is_over) == ([], False)
    client.respond(question, YES)
    assert len(held.line.frames) == 1
    client.respond(question, YES)  # and it is heard once
    assert len(held.line.frames) == 1


def test_a_call_that_waits_for_a_person_can_be_withdrawn(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL, number=7)
    (question,) = said.named("elicitation/create")
    assert client.send("tools/call", CALL, number=7).code == "message_invalid"
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    assert client.post(note).reply.status == 202
    assert said.code == "cancelled"
    client.respond(question, YES)
    assert held.line.frames == []
    assert not client.send("tools/call", CALL, number=7).is_over


@pytest.mark.threat("T-FLOOD")
def test_a_call_whose_client_is_gone_waits_for_nobody(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    (question,) = said.named("elicitation/create")

    said.trip.withdraw(Refused("cancelled", "the client closed the connection"))
    held.log.settle()
    client.respond(question, YES)
    assert held.line.frames == []
    assert held.log.entries[-1]["code"] == "cancelled"


def test_a_call_that_went_on_after_a_yes_is_cancelled_when_its_client_is_gone(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    client.respond(said.named("elicitation/create")[0], YES)

    said.trip.withdraw(Refused("cancelled", "the client closed the connection"))
    held.log.settle()
    assert held.line.cancelled == [1]


@pytest.mark.threat("T-FULLDISK")
def test_nobody_is_asked_what_cannot_be_written_down(held: Kit) -> None:
    held.log.fill_up()
    for client in (modern(held), legacy(held)):
        assert client.send("tools/call", CALL).code == "log_unavailable"


@pytest.mark.threat("T-FULLDISK")
def test_a_yes_counts_for_nothing_when_the_log_broke_meanwhile(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    held.log.fill_up()
    client.respond(said.named("elicitation/create")[0], YES)
    assert said.code == "log_unavailable"
    assert held.line.frames == []


@pytest.mark.threat("T-RUGPULL")
def test_a_held_call_is_judged_again_when_it_goes_on(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    offer(held, calc(), rules=[])
    client.respond(said.named("elicitation/create")[0], YES)
    assert said.code == "operation_not_allowed"
    assert held.line.frames == []


@pytest.mark.threat("T-FLOOD")
def test_calls_that_wait_for_a_person_have_so_many_bytes(held: Kit) -> None:
    held.rules = replace(held.rules, message_limits=JsonLimits(max_bytes=1 << 20))
    held.change(max_argument_bytes=1 << 20)
    held.road = held.new_road(freight=FreightLimits(total=1 << 20, of_client=220_000))
    held.door = held.new_door()
    client = legacy(held)
    large = {"name": "calc__erase", "arguments": {"path": "a" * 100_000}}
    first, second, third = (client.send("tools/call", large) for _ in range(3))
    assert (third.is_over, third.code) == (True, "busy")
    small = client.send("tools/call", CALL)
    assert [said.is_over for said in (first, second, small)] == [False] * 3
    assert client.respond(first.named("elicitation/create")[0], YES).reply.status == 202
    reply(held, DONE)
    assert first.result == DONE
    held.clock.advance(MAX_AGE_S + 1)
    held.door.look(held.clock.now())
    held.log.settle()
    assert (second.code, small.code) == ("approval_refused", "approval_refused")
    assert held.road.freight.has_room("aya", 210_000)


def test_a_person_has_ten_minutes(held: Kit) -> None:
    client = legacy(held)
    said = client.send("tools/call", CALL)
    for seconds, is_over in ((MAX_AGE_S, False), (1.0, True)):
        held.clock.advance(seconds)
        held.door.look(held.clock.now())
        held.log.settle()
        assert said.is_over == is_over
    assert said.code == "approval_refused"
    client.respond(said.named("elicitation/create")[0], YES)
    assert held.line.frames == []


# progress and notices on the way


def test_progress_is_told_under_the_clients_token_in_both_eras(kit: Kit) -> None:
    for client in (modern(kit), legacy(kit)):
        client.meta = {"progressToken": "t"}
        params = CALL if client.modern else {**CALL, "_meta": client.meta}
        said = client.send("tools/call", params)
        number = len(kit.line.frames)
        kit.line.notes[number](b'{"progress":1}')
        kit.log.settle()
        reply(kit, DONE)
        assert [one["params"]["progressToken"] for one in said.named("notifications/progress")] == ["t"]
        assert said.code == "ok"


@pytest.mark.parametrize("token", [True, 1.5, [], {}])
def test_a_progress_token_is_a_text_or_a_whole_number(kit: Kit, token: object) -> None:
    assert (
        legacy(kit).send("tools/call", {**CALL, "_meta": {"progressToken": token}}).code == "params_invalid"
    )


def test_two_requests_of_one_session_may_not_share_an_id_and_of_two_sessions_may(kit: Kit) -> None:
    client = legacy(kit)
    client.send("tools/call", CALL, number=1)
    assert client.send("tools/call", CALL, number=1).code == "message_invalid"
    assert not legacy(kit).send("tools/call", CALL, number=1).is_over


def test_an_id_that_is_under_way_at_another_worker_is_refused_until_it_is_free(
    kit: Kit, memories: list[SharedMemory]
) -> None:
    here, elsewhere = (SharedRequestIds(memory) for memory in memories)
    kit.door = kit.new_door(request_ids=here)
    client = legacy(kit)
    assert client.session is not None
    assert elsewhere.take(client.session, 1)
    assert client.send("tools/call", CALL, number=1).code == "message_invalid"
    elsewhere.give(client.session, 1)
    said = client.send("tools/call", CALL, number=1)
    assert not elsewhere.take(client.session, 1)
    reply(kit, DONE)
    assert said.code == "ok"
    assert elsewhere.take(client.session, 1)


def test_the_order_in_which_a_plugin_speaks_is_kept(kit: Kit) -> None:
    client = legacy(kit)
    said = client.send("tools/call", {**CALL, "_meta": {"progressToken": 1}})
    kit.line.notes[1](b'{"progress":1}')
    tell(kit, "notifications/message", {"level": "info", "data": "half"})
    ask(kit, "elicitation/create", FORM)
    reply(kit, DONE)
    assert [one.get("method", "answer") for one in said.messages] == [
        "notifications/progress",
        "notifications/message",
        "elicitation/create",
        "answer",
    ]

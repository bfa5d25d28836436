"""What is said in the midst of a call, both ways: judged, written down, then passed on to the one it is meant for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.offering import everything, offering
from tests.unit.gateway.speaking import (
    ASKABLE,
    FORM,
    KEY,
    TAGS,
    Client,
    Said,
    ask,
    calc,
    context,
    offer,
    reply,
    tell,
)

from sekisho.gateway import BerthLimits, Freight, FreightLimits, LocalBerths, Road
from sekisho.policy import AccessPolicy
from sekisho.wire import EventFrame

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.gateway.conftest import Kit

CALL: Final = {"name": "calc__erase", "arguments": {}}
DONE: Final[dict[str, Any]] = {"content": []}
NAMED: Final = {"action": "accept", "content": {"name": "x"}}
LINK: Final = {"mode": "url", "message": "Open", "url": "https://login.example/", "elicitationId": "e1"}
SAMPLE: Final = {"messages": [], "maxTokens": 1}
SAMPLED: Final = {"role": "assistant", "content": {"type": "text", "text": "hi"}, "model": "m"}
INFO: Final = {"level": "info", "data": "x"}


@pytest.fixture
def kit(kit: Kit) -> Kit:
    offer(kit, calc(), offering("other", tools=[kit.erase]))
    rules = [everything(who, name, "erase") for who in ("aya", "ben") for name in ("calc", "other")]
    kit.change(access=AccessPolicy(rules))
    return kit


def legacy(kit: Kit, **fields: Any) -> Client:
    return Client(kit, modern=False, **{"capabilities": ASKABLE, **fields})


def asked(kit: Kit, client: Client, method: str = "elicitation/create", params: Any = FORM) -> Said:
    said = client.send("tools/call", CALL)
    ask(kit, method, params)
    return said


# the whole way of a question


@pytest.mark.parametrize(
    ("method", "params", "kind", "answer"),
    [
        ("elicitation/create", FORM, "elicitation", NAMED),
        ("elicitation/create", LINK, "elicitation/url", {"action": "accept"}),
        ("sampling/createMessage", SAMPLE, "sampling", SAMPLED),
    ],
)
def test_a_question_goes_out_on_the_stream_of_its_call_and_the_answer_finds_its_way_back(
    kit: Kit, method: str, params: Any, kind: str, answer: Any
) -> None:
    client = legacy(kit)
    said = asked(kit, client, method, params)
    (question,) = said.messages
    assert question == {"jsonrpc": "2.0", "id": f"calc:{kind}:q1", "method": method, "params": params}
    assert client.respond(question, answer).reply.status == 202
    (frame,) = kit.line.answers
    assert (frame.ask, frame.scope, bytes(frame.error)) == ("q1", context(kit.line).scope, b"")
    assert json.loads(bytes(frame.result)) == answer
    reply(kit, DONE)
    assert said.result == DONE
    assert kit.log.kinds == ["intent", "notes", "event", "outcome"]
    assert kit.log.entries[2]["name"] == "client_answered"


def test_a_client_may_answer_that_it_cannot(kit: Kit) -> None:
    client = legacy(kit)
    said = asked(kit, client)
    told = {"code": -1, "message": "no " * 1000, "data": {"secret": 1}}
    client.respond(said.messages[0], told, "error")
    (frame,) = kit.line.answers
    error = json.loads(bytes(frame.error))
    assert error.keys() == {"code", "message"}
    assert (error["code"], len(error["message"])) == (-1, 1024)


@pytest.mark.threat("T-CROSS")
def test_an_answer_goes_to_the_plugin_under_the_scope_of_who_gives_it_and_of_nobody_else(kit: Kit) -> None:
    """The plugin's side drops what comes under another scope than the question's."""
    client = legacy(kit)
    (question,) = asked(kit, client).messages
    own = context(kit.line).scope
    for thief in (legacy(kit), legacy(kit, token=kit.ben)):
        assert thief.respond(question, NAMED).reply.status == 202
    assert own not in [frame.scope for frame in kit.line.answers]
    client.respond(question, NAMED)
    assert kit.line.answers[-1].scope == own


@pytest.mark.threat("T-CROSS")
def test_an_answer_needs_its_session_its_client_and_its_endpoint(kit: Kit) -> None:
    client = legacy(kit)
    (question,) = asked(kit, client).messages
    thief = legacy(kit, token=kit.ben)
    thief.session = client.session
    assert thief.respond(question, NAMED).code == "session_unknown"
    nobody = legacy(kit)
    nobody.session = None
    assert nobody.respond(question, NAMED).code == "session_required"
    elsewhere = legacy(kit, target="/p/other/mcp")
    assert elsewhere.respond(question, NAMED).reply.status == 202
    assert kit.line.answers == []


@pytest.mark.parametrize(
    "ident", [1, "q1", "ghost:elicitation:q1", "calc:tools:q1", "calc:elicitation:q 1", "-:elicitation:q1"]
)
def test_an_answer_to_what_nobody_asked_is_taken_and_dropped(kit: Kit, ident: Any) -> None:
    said = legacy(kit).respond({"id": ident}, NAMED)
    assert said.reply.status == 202
    assert kit.line.answers == []


@pytest.mark.parametrize("answer", [{}, {"action": "yes"}, {"action": "accept", "content": {"a": {}}}])
def test_an_answer_of_another_form_is_refused_and_the_question_stays_open(kit: Kit, answer: Any) -> None:
    client = legacy(kit)
    (question,) = asked(kit, client).messages
    assert client.respond(question, answer).reply.status == 400
    assert kit.line.answers == []
    client.respond(question, NAMED)
    assert len(kit.line.answers) == 1


@pytest.mark.threat("T-EGRESS")
def test_every_word_of_an_answer_is_searched(kit: Kit) -> None:
    client = legacy(kit)
    (question,) = asked(kit, client).messages
    named = {"action": "accept", "content": {"name": KEY}}
    assert client.respond(question, named).code == "content_refused"
    assert client.respond(question, {"code": 1, "message": KEY}, "error").code == "content_refused"
    assert kit.line.answers == []
    assert client.respond(question, NAMED).reply.status == 202


@pytest.mark.threat("T-FULLDISK")
def test_an_answer_that_cannot_be_written_down_reaches_no_plugin(kit: Kit) -> None:
    client = legacy(kit)
    (question,) = asked(kit, client).messages
    kit.log.fill_up()
    assert client.respond(question, NAMED).code == "log_unavailable"
    assert kit.line.answers == []


# questions that cannot be put


def refused(kit: Kit, number: int = -1) -> str:
    """Why the plugin was told that nobody will answer."""
    frame = kit.line.answers[number]
    assert frame.scope == context(kit.line).scope
    return str(json.loads(bytes(frame.error))["data"]["code"])


@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize(
    ("capabilities", "method", "params"),
    [
        ({}, "elicitation/create", FORM),
        ({"elicitation": {}}, "elicitation/create", LINK),
        ({"elicitation": {}}, "sampling/createMessage", SAMPLE),
        ({"sampling": {}}, "sampling/createMessage", {**SAMPLE, "tools": []}),
        (ASKABLE, "roots/list", {}),
    ],
)
def test_a_client_is_not_asked_for_what_it_did_not_declare(
    kit: Kit, capabilities: Any, method: str, params: Any
) -> None:
    said = asked(kit, legacy(kit, capabilities=capabilities), method, params)
    assert said.messages == []
    assert refused(kit) == "capability_missing"
    assert kit.log.entries[-1]["code"] == "capability_missing"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("elicitation/create", {**LINK, "url": "javascript:alert(1)"}, "plugin_protocol"),
        ("elicitation/create", {**FORM, "message": TAGS}, "content_refused"),
        ("tools/call", CALL, "plugin_protocol"),
    ],
)
def test_a_question_that_may_not_be_put_is_answered_with_the_reason(
    kit: Kit, method: str, params: Any, code: str
) -> None:
    said = asked(kit, legacy(kit), method, params)
    assert said.messages == []
    assert refused(kit) == code
    ask(kit, "elicitation/create", FORM, handle="q2")
    assert len(said.messages) == 1


def test_a_client_without_a_stream_cannot_be_asked(kit: Kit) -> None:
    said = asked(kit, legacy(kit, streams=False))
    assert refused(kit) == "capability_missing"
    reply(kit, DONE)
    assert said.code == "ok"


def test_a_client_that_does_not_keep_up_cannot_be_asked(kit: Kit) -> None:
    client = legacy(kit)
    said = client.send("tools/call", CALL)
    said.ear.keeps_up = False
    ask(kit, "elicitation/create", FORM)
    assert refused(kit) == "cancelled"


@pytest.mark.threat("T-FULLDISK")
def test_a_question_that_cannot_be_written_down_is_not_put_and_the_plugin_is_told(kit: Kit) -> None:
    client = legacy(kit)
    said = client.send("tools/call", CALL)
    kit.log.fill_up()
    ask(kit, "elicitation/create", FORM)
    assert (said.messages, refused(kit)) == ([], "log_unavailable")
    ask(kit, "elicitation/create", {})
    assert refused(kit) == "plugin_protocol"


@pytest.mark.threat("T-CROSS")
def test_a_modern_client_is_never_asked_on_a_stream(kit: Kit) -> None:
    said = asked(kit, Client(kit, capabilities=ASKABLE))
    assert said.messages == []
    assert refused(kit) == "capability_missing"


def test_a_call_that_is_over_asks_and_says_nothing_more(kit: Kit) -> None:
    client = legacy(kit)
    said = client.send("tools/call", CALL)
    hears = kit.line.hears[1]
    reply(kit, DONE)
    kit.line.hears[1] = hears
    ask(kit, "elicitation/create", FORM)
    tell(kit, "notifications/message", INFO)
    assert len(said.messages) == 1
    assert kit.line.answers == []
    assert kit.log.kinds == ["intent", "outcome"]


# notifications


def test_log_messages_go_out_on_the_stream_of_their_call(kit: Kit) -> None:
    said, bystander = legacy(kit).send("tools/call", CALL), legacy(kit).send("tools/call", CALL)
    tell(kit, "notifications/message", INFO, number=1)
    assert [one["params"] for one in said.messages] == [INFO]
    assert bystander.messages == []


@pytest.mark.parametrize("level", [None, "info", "error"])
def test_a_modern_call_hears_the_levels_it_asked_for(kit: Kit, level: str | None) -> None:
    client = Client(kit, capabilities=ASKABLE)
    if level is not None:
        client.meta = {"io.modelcontextprotocol/logLevel": level}
    said = client.send("tools/call", CALL)
    assert context(kit.line).log_level == level
    for spoken in ("debug", "info", "error"):
        tell(kit, "notifications/message", {"level": spoken, "data": "x"})
    heard = {None: [], "info": ["info", "error"], "error": ["error"]}[level]
    assert [one["params"]["level"] for one in said.messages] == heard


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("notifications/message", {"level": "loud", "data": "x"}, "plugin_protocol"),
        ("notifications/message", {"level": "info", "data": TAGS}, "content_refused"),
        ("notifications/unheard", {}, "plugin_protocol"),
        ("notifications/tools/list_changed", {}, "plugin_protocol"),
        ("notifications/subscriptions/acknowledged", {}, "plugin_protocol"),
    ],
)
def test_what_may_not_be_said_is_dropped_and_recorded_and_the_call_goes_on(
    kit: Kit, method: str, params: Any, code: str
) -> None:
    said = legacy(kit).send("tools/call", CALL)
    tell(kit, method, params)
    reply(kit, DONE)
    assert len(said.messages) == 1
    assert (kit.log.kinds[1], kit.log.entries[1]["code"]) == ("notes", code)


@pytest.mark.threat("T-FULLDISK")
def test_what_cannot_be_written_down_is_not_heard(kit: Kit) -> None:
    said = legacy(kit).send("tools/call", {**CALL, "_meta": {"progressToken": 1}})
    kit.log.fill_up()
    tell(kit, "notifications/message", INFO)
    kit.line.notes[1](b'{"progress":1}')
    kit.log.settle()
    assert said.messages == []


class LaterClock:
    """A clock whose "soon" is the end of a turn of the loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._due: list[Callable[[], None]] = []

    def soon(self, callback: Callable[[], None]) -> None:
        self._due.append(callback)

    def turn(self) -> None:
        due, self._due = self._due, []
        for callback in due:
            callback()


saids = st.lists(st.integers(1, 4) | st.sampled_from(["event", "turn", "written"]), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(said=saids, modern=st.booleans())
def test_what_a_plugin_says_together_is_told_in_its_order_and_all_of_it_before_the_answer(
    kit: Kit, said: list[int | str], *, modern: bool
) -> None:
    """However many notes share a frame, and however many frames a turn: each once, none behind what came after it."""
    clock = LaterClock(kit.clock.now)
    kit.change(limiter=type(kit.house.limiter)())  # as many calls as the test likes
    kit.line = type(kit.line)()
    kit.road = Road(
        house=lambda: kit.house,
        lines={kit.calc: kit.line},
        journal=kit.log,
        metrics=kit.metrics,
        clock=clock,
        berths=LocalBerths(BerthLimits(total=8, of_client=8, of_plugin=8)),
        freight=Freight(FreightLimits()),
        salt_of=str.encode,
    )
    kit.door = kit.new_door()
    client = Client(kit, modern=modern)
    client.meta = {"progressToken": "t", "io.modelcontextprotocol/logLevel": "debug"}
    call = client.send("tools/call", CALL if modern else {**CALL, "_meta": {"progressToken": "t"}})
    told: list[tuple[str, int]] = []
    for step in said:
        if step == "turn":
            clock.turn()
        elif step == "written":
            kit.log.settle()
        elif step == "event":
            told.append(("data", len(told)))
            params = json.dumps({"level": "info", "data": len(told) - 1}).encode()
            kit.line.hears[1](EventFrame("notifications/message", msgspec.Raw(params)))
        else:
            numbers = range(len(told), len(told) + int(step))
            told += [("progress", number) for number in numbers]
            kit.line.notes[1](b"\n".join([b'{"progress":%d}' % number for number in numbers]))
    reply(kit, DONE)
    clock.turn()
    kit.log.settle()
    *news, last = call.messages
    assert [
        (name, one["params"][name]) for one in news for name in ("progress", "data") if name in one["params"]
    ] == told
    assert "result" in last
    before = [entry["count"] for entry in kit.log.entries if entry["kind"] == "notes"]
    with_it = [entry["progress"]["count"] for entry in kit.log.entries if "progress" in entry]
    assert sum(before + with_it) == len(told)
    kit.log.entries.clear()

"""A task belongs to the client that began it: under a sealed id, at one endpoint, for as long as it is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.offering import everything, house_of, offering
from tests.unit.gateway.speaking import ALL_REQUESTS, ASKABLE, FORM, KEY, Client, Said, context, offer, reply

from sekisho.errors import PluginError, Refused, RemoteProtocolError
from sekisho.gateway.tasks import (
    MAX_TASKS,
    MAX_TTL_MS,
    MadeTask,
    key_of,
    open_task,
    open_tasks,
    seal_task,
    task_params,
)
from sekisho.protocol import PluginName
from sekisho.registry import Definitions

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

EXTENSION: Final = "io.modelcontextprotocol/tasks"
KNOWS: Final[dict[str, Any]] = {**ASKABLE, "extensions": {EXTENSION: {}}}
KEPT: Final = bytes(32)
NOW: Final = 1_800_000_000.0
STATE: Final[dict[str, Any]] = {
    "taskId": "t-1",
    "status": "working",
    "createdAt": "2026-11-21T10:00:00Z",
    "lastUpdatedAt": "2026-11-21T10:00:01.5+00:00",
    "ttlMs": 60_000,
    "pollIntervalMs": 500,
}
MADE: Final = {"resultType": "task", **STATE}
TOOLS: Final[list[dict[str, Any]]] = [
    {"name": "slow", "inputSchema": {"type": "object", "additionalProperties": False}},
    {"name": "needy", "inputSchema": {"type": "object"}, "execution": {"taskSupport": "required"}},
    {
        "name": "strict",
        "inputSchema": {"type": "object"},
        "outputSchema": {"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"]},
        "annotations": {"readOnlyHint": True},
    },
]


def worker(name: str = "calc", **fields: Any) -> Definitions:
    return offering(name, tools=TOOLS, extensions=[EXTENSION], **fields)


def allow(kit: Kit, *offered: Definitions, requests: frozenset[str] = ALL_REQUESTS | {"tasks"}) -> None:
    offer(kit, *offered, requests=requests)


@pytest.fixture
def kit(kit: Kit) -> Kit:
    allow(kit, worker(), worker("other"))
    return kit


def client(kit: Kit, **fields: Any) -> Client:
    return Client(kit, **{"capabilities": KNOWS, **fields})


def begin(kit: Kit, one: Client, tool: str = "slow", made: dict[str, Any] = MADE) -> Said:
    name = tool if "/p/" in one.target else f"calc__{tool}"
    said = one.send("tools/call", {"name": name, "arguments": {}})
    reply(kit, made)
    return said


def handle_of(kit: Kit, one: Client, tool: str = "slow") -> str:
    return str(begin(kit, one, tool).result["taskId"])


def asked(kit: Kit, number: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kit.line.frames[number].arguments)
    return found


# a task is made


def test_a_task_is_given_under_an_id_of_ours_and_its_plugin_is_told_that_the_client_knows_tasks(
    kit: Kit,
) -> None:
    said = begin(kit, client(kit)).result
    assert said == {**MADE, "taskId": said["taskId"]}
    assert "t-1" not in said["taskId"]
    assert "tasks" in context(kit.line).may_ask


@pytest.mark.threat("T-CROSS")
@pytest.mark.parametrize("extensions", [{}, {EXTENSION: []}, {"io.modelcontextprotocol/ui": {}}, []])
def test_a_client_that_did_not_declare_tasks_is_given_none(kit: Kit, extensions: Any) -> None:
    one = client(kit, capabilities={**ASKABLE, "extensions": extensions})
    assert begin(kit, one).code == "plugin_protocol"
    assert "tasks" not in context(kit.line).may_ask


def test_a_plugin_that_may_not_make_tasks_makes_none(kit: Kit) -> None:
    allow(kit, worker(), requests=ALL_REQUESTS)
    assert begin(kit, client(kit)).code == "plugin_protocol"
    assert "tasks" not in context(kit.line).may_ask


def test_a_legacy_client_never_hears_of_tasks(kit: Kit) -> None:
    one = client(kit, modern=False)
    assert begin(kit, one).code == "plugin_protocol"
    assert one.send("tasks/get", {"taskId": "t-1"}).code == "method_unknown"
    assert not kit.line.frames or "tasks" not in context(kit.line).may_ask


def test_a_tool_that_needs_a_task_is_refused_to_whoever_cannot_take_one(kit: Kit) -> None:
    for one in (client(kit, capabilities={}), client(kit, capabilities={}, modern=False)):
        said = one.send("tools/call", {"name": "calc__needy", "arguments": {}})
        assert said.error["code"] == -32021
        assert said.error["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}
    assert not kit.line.frames
    assert begin(kit, client(kit), "needy").result["resultType"] == "task"


def test_no_longer_life_is_promised_than_the_id_has(kit: Kit) -> None:
    for told, kept in ((None, MAX_TTL_MS), (MAX_TTL_MS * 9, MAX_TTL_MS), (1, 1)):
        assert begin(kit, client(kit), made={**MADE, "ttlMs": told}).result["ttlMs"] == kept


# it is asked for


def test_a_task_is_asked_for_under_the_plugins_own_id_and_answered_under_ours(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    said = one.send("tasks/get", {"taskId": handle})
    assert (kit.line.frames[-1].tool, asked(kit)) == ("tasks/get", {"taskId": "t-1"})
    reply(kit, {"resultType": "complete", **STATE})
    assert said.result == {**STATE, "taskId": handle, "resultType": "complete"}
    ended = kit.log.entries[-1]
    assert (ended["tool"], ended["code"]) == ("tasks/get", "ok")


def test_an_acknowledgement_says_nothing_else(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    for method in ("tasks/update", "tasks/cancel"):
        said = one.send(method, {"taskId": handle, "inputResponses": {}})
        reply(kit, {**STATE, "resultType": "complete", "note": "more"})
        assert said.result == {"resultType": "complete"}


@pytest.mark.threat("T-CROSS")
def test_a_task_is_unknown_to_another_client_and_at_another_endpoint(kit: Kit) -> None:
    offered = [worker(), worker("other")]
    rules = [everything(who, one.plugin, *one.tools) for who in ("aya", "ben") for one in offered]
    access = house_of(kit.house, *offered, rules=rules).access
    kit.change(access=access)
    handle = handle_of(kit, client(kit))
    before = len(kit.line.frames)
    for stranger in (
        client(kit, token=kit.ben),
        client(kit, target="/p/calc/mcp"),
        client(kit, target="/p/other/mcp"),
    ):
        said = stranger.send("tasks/get", {"taskId": handle})
        assert (said.code, said.error["code"]) == ("task_unknown", -32602)
    assert len(kit.line.frames) == before
    client(kit).send("tasks/get", {"taskId": handle})
    assert len(kit.line.frames) == before + 1


@pytest.mark.threat("T-CROSS")
def test_the_plugins_own_id_or_an_altered_one_is_unknown(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    for text in (
        "t-1",
        "",
        handle[:-1],
        handle + "A",
        handle[:20] + ("A" if handle[20] != "A" else "B") + handle[21:],
    ):
        assert one.send("tasks/get", {"taskId": text}).code == "task_unknown"
    for odd in (7, None, ["x"]):
        said = one.send("tasks/get", {"taskId": odd})
        assert said.code in ("params_invalid", "header_mismatch")


def test_a_task_is_known_until_its_time_is_over(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    kit.clock.advance(60.0)
    assert not one.send("tasks/get", {"taskId": handle}).is_over
    kit.clock.advance(61.0)
    assert one.send("tasks/get", {"taskId": handle}).code == "task_unknown"


def test_a_tool_that_may_no_longer_be_called_tells_no_more_of_its_tasks(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    kit.change(access=house_of(kit.house, worker(), rules=[everything("aya", "calc", "needy")]).access)
    assert one.send("tasks/get", {"taskId": handle}).code == "operation_not_allowed"


def test_the_methods_need_a_client_that_declares_them_and_a_plugin_that_makes_tasks(kit: Kit) -> None:
    said = client(kit, capabilities={}).send("tasks/get", {"taskId": "gate-test"})
    assert said.error["code"] == -32021
    assert said.error["data"]["requiredCapabilities"] == {"extensions": {EXTENSION: {}}}
    for method in ("tasks/list", "tasks/result"):
        assert client(kit).send(method, {"taskId": "x"}).error["code"] == -32601
    allow(kit, worker(), requests=ALL_REQUESTS)
    assert client(kit).send("tasks/get", {"taskId": "x"}).error["code"] == -32601


def test_a_plugin_that_lost_its_right_to_make_tasks_is_not_asked_for_old_ones(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    calc = replace(kit.house.standings[kit.calc], client_requests=ALL_REQUESTS)
    kit.change(standings={**kit.house.standings, kit.calc: calc})
    assert one.send("tasks/get", {"taskId": handle}).error["code"] == -32021


def test_what_the_plugin_does_not_know_any_more_is_its_own_error(kit: Kit) -> None:
    one = client(kit)
    said = one.send("tasks/get", {"taskId": handle_of(kit, one)})
    reply(kit, PluginError(b'{"code":-32602,"message":"Task has expired"}'))
    assert (said.error["code"], said.error["data"]["plugin"]) == (-32602, "calc")


# answers within a task


def test_answers_reach_the_plugin_under_its_own_keys_and_strange_ones_are_dropped(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    yes = {"action": "accept", "content": {"name": "Aya"}, "more": 1}
    answers = {"elicitation:who:1": yes, "who": yes, "unknown-key": {"ignored": True}, "odd:who": yes}
    one.send("tasks/update", {"taskId": handle, "inputResponses": answers})
    told = {"action": "accept", "content": {"name": "Aya"}}
    assert asked(kit) == {"taskId": "t-1", "inputResponses": {"who:1": told}}


@pytest.mark.threat("T-ARGUMENTS")
def test_answers_are_read_and_searched_like_arguments(kit: Kit) -> None:
    one = client(kit)
    handle = handle_of(kit, one)
    before = len(kit.line.frames)
    for answers, code in (
        ({"elicitation:who": {"action": "maybe"}}, "params_invalid"),
        ({"elicitation:who": {"action": "accept", "content": {"name": KEY}}}, "content_refused"),
        (None, "params_invalid"),
        ({"elicitation:who": 7}, "params_invalid"),
    ):
        said = one.send("tasks/update", {"taskId": handle, "inputResponses": answers})
        assert said.code == code
    said = one.send("tasks/update", {"taskId": handle, "InputResponses": {}})
    assert said.code == "params_invalid"
    assert len(kit.line.frames) == before


def test_a_task_asks_only_what_its_client_may_be_asked(kit: Kit) -> None:
    question = {"method": "elicitation/create", "params": FORM}
    waiting = {**STATE, "status": "input_required", "inputRequests": {"who": question}}
    one = client(kit)
    said = one.send("tasks/get", {"taskId": handle_of(kit, one)})
    reply(kit, waiting)
    assert said.result["inputRequests"] == {"elicitation:who": question}
    mute = client(kit, capabilities={"extensions": {EXTENSION: {}}})
    said = mute.send("tasks/get", {"taskId": handle_of(kit, mute)})
    reply(kit, waiting)
    assert said.code == "capability_missing"


# a call that asks first


def test_a_call_that_asked_in_a_round_may_end_in_a_task(kit: Kit) -> None:
    one = client(kit)
    call = {"name": "calc__slow", "arguments": {}}
    said = one.send("tools/call", call)
    question = {"method": "elicitation/create", "params": FORM}
    reply(kit, {"resultType": "input_required", "inputRequests": {"who": question}, "requestState": "s"})
    answer = {"who": {"action": "accept", "content": {"name": "Aya"}}}
    later = one.send(
        "tools/call", {**call, "inputResponses": answer, "requestState": said.result["requestState"]}
    )
    reply(kit, MADE)
    assert later.result["resultType"] == "task"
    assert not {"requestState", "inputRequests"} & later.result.keys()


# the seal


@given(
    st.tuples(st.text(max_size=20), st.sampled_from(["", "calc"]), st.text(min_size=1, max_size=512)),
    st.integers(1, MAX_TTL_MS),
    st.floats(0, 0.99),
)
def test_what_was_sealed_opens_for_whom_it_was_sealed(
    names: tuple[str, str, str], ttl_ms: int, share: float
) -> None:
    who, endpoint, ident = names
    made = MadeTask(ident, ttl_ms)
    where = {"client": who, "endpoint": endpoint}
    handle = seal_task(KEPT, made, **where, plugin=PluginName("calc"), tool="slow", now=NOW)
    task = open_task(KEPT, handle, **where, now=NOW + share * ttl_ms / 1000)
    assert (task.handle, task.plugin, task.tool, task.ident, task.ttl_ms) == (
        handle,
        "calc",
        "slow",
        ident,
        ttl_ms,
    )
    for other in ({"client": who + "x", "endpoint": endpoint}, {"client": who, "endpoint": endpoint + "x"}):
        with pytest.raises(Refused):
            open_task(KEPT, handle, **other, now=NOW)
    with pytest.raises(Refused):
        open_task(bytes(31) + b"\1", handle, **where, now=NOW)


def test_of_a_streams_tasks_only_the_clients_own_are_opened_once_each() -> None:
    where = {"client": "aya", "endpoint": ""}
    mine = seal_task(KEPT, MadeTask("t", 1000), **where, plugin=PluginName("calc"), tool="slow", now=NOW)
    found = open_tasks(KEPT, [mine, "strange", mine], **where, now=NOW)
    assert [one.ident for one in found] == ["t"]
    every: tuple[Any, ...] = ("x", {}, [7], [mine] * (MAX_TASKS + 1))
    for odd in every:
        with pytest.raises(RemoteProtocolError):
            open_tasks(KEPT, odd, **where, now=NOW)


@given(st.sampled_from(["elicitation", "elicitation/url", "sampling", "roots"]), st.text(max_size=64))
def test_the_key_of_a_question_tells_its_kind_on_the_way_back(kind: str, key: str) -> None:
    answers: dict[str, Any] = {
        "sampling": {"role": "user", "content": {"type": "text", "text": "x"}, "model": "m"},
        "roots": {"roots": []},
    }
    answer = answers.get(kind, {"action": "decline"})
    where: dict[str, Any] = {"client": "aya", "endpoint": "", "now": NOW}
    made = MadeTask("t", 1000)
    task = open_task(KEPT, seal_task(KEPT, made, **where, plugin=PluginName("calc"), tool="slow"), **where)
    read = task_params("tasks/update", {"taskId": "x", "inputResponses": {key_of(kind, key): answer}}, task)
    assert read == {"taskId": "t", "inputResponses": {key: answer}}

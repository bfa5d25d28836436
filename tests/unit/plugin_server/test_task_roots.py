"""A task that asks for roots gets ours, or what remains of ours when the client may be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.dialogue import MAX_ROUNDS
from sekisho.plugin_server.task_roots import narrowed_update, roots_asked
from sekisho.wire import CallContext
from sekisho.wire.frames import Kind

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Caller, Counter

OURS = (("file:///srv/data", "data"),)
KNOWS = CallContext(scope="c1", may_ask=("tasks",))
MAY_ASK = CallContext(scope="c1", may_ask=("roots", "tasks"))
ROOTS = {"method": "roots/list", "params": {}}
FORM = {"method": "elicitation/create", "params": {}}
DONE = {"taskId": "t", "status": "completed", "result": {"content": []}}


def waiting(**requests: Any) -> dict[str, Any]:
    return {"taskId": "t", "status": "input_required", "inputRequests": requests}


def raw(**members: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()}


def told(params: dict[str, msgspec.Raw]) -> Any:
    return json.loads(msgspec.json.encode(narrowed_update(OURS, params)))


def test_only_questions_for_roots_are_found() -> None:
    state = waiting(a=ROOTS, b=FORM, c=ROOTS)
    assert roots_asked(json.dumps(state).encode()) == ["a", "c"]
    for odd in (b'"roots/list"', b"{", b'{"inputRequests":{"a":"roots/list"}}', json.dumps(DONE).encode()):
        assert roots_asked(odd) == []


def test_an_answer_can_only_narrow_our_roots() -> None:
    roots = {"roots": [{"uri": "file:///srv/data/in"}, {"uri": "file:///etc"}]}
    said = told(raw(taskId="t", inputResponses={"r": roots, "who": {"action": "accept"}}))
    assert said["taskId"] == "t"
    assert [one["uri"] for one in said["inputResponses"]["r"]["roots"]] == ["file:///srv/data/in"]
    assert said["inputResponses"]["who"] == {"action": "accept"}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda x: st.dictionaries(st.text(max_size=5) | st.just("roots"), x, max_size=3),
        max_leaves=6,
    )
)
def test_whatever_is_answered_no_strange_root_gets_through(answer: Any) -> None:
    said = told(raw(taskId="t", inputResponses={"r": {"roots": [{"uri": "file:///etc"}]}, "x": answer}))
    assert not any("file:///etc" in json.dumps(one) for one in said["inputResponses"].values())


async def test_a_task_that_asks_for_roots_gets_them_before_its_client_hears_of_it(
    modern: Counter, new_caller: type[Caller]
) -> None:
    answers = [waiting(r=ROOTS, who=FORM), waiting(who=FORM)]
    modern.plugin.session.roots = OURS
    modern.plugin.answers["tasks/get"] = lambda params: answers.pop(0)
    modern.plugin.answers["tasks/update"] = lambda params: {}
    caller = modern.call(new_caller("tasks/get", {"taskId": "t"}, KNOWS))
    assert await caller.take(Kind.RESULT) == waiting(who=FORM)
    [update] = [one["params"] for one in modern.plugin.heard if one.get("method") == "tasks/update"]
    assert (update["taskId"], update["inputResponses"].keys()) == ("t", {"r"})
    assert update["inputResponses"]["r"]["roots"][0]["uri"] == OURS[0][0]


@pytest.mark.parametrize(("context", "updates"), [(KNOWS, MAX_ROUNDS), (MAY_ASK, 0)])
async def test_roots_are_not_given_without_end_nor_where_the_client_is_asked(
    modern: Counter, new_caller: type[Caller], context: CallContext, updates: int
) -> None:
    modern.plugin.answers["tasks/get"] = lambda params: waiting(r=ROOTS)
    modern.plugin.answers["tasks/update"] = lambda params: {}
    caller = modern.call(new_caller("tasks/get", {"taskId": "t"}, context))
    assert await caller.take(Kind.RESULT) == waiting(r=ROOTS)
    heard = [one for one in modern.plugin.heard if one.get("method") == "tasks/update"]
    assert len(heard) == updates


async def test_a_plugin_that_takes_no_roots_has_said_so(modern: Counter, new_caller: type[Caller]) -> None:
    modern.plugin.answers["tasks/get"] = lambda params: waiting(r=ROOTS)
    caller = modern.call(new_caller("tasks/get", {"taskId": "t"}, KNOWS))
    assert (await caller.take(Kind.ERROR))["code"] == -32601


async def test_the_plugin_is_told_that_the_client_knows_tasks_and_asked_as_it_is(
    modern: Counter, new_caller: type[Caller]
) -> None:
    modern.plugin.answers["tasks/update"] = lambda params: {}
    members = {"taskId": "t", "inputResponses": {"who": {"action": "cancel"}}, "_meta": {"x": 1}}
    caller = modern.call(new_caller("tasks/update", members, KNOWS))
    assert await caller.take(Kind.RESULT) == {}
    [params] = [one["params"] for one in modern.plugin.heard if one.get("method") == "tasks/update"]
    meta = params.pop("_meta")
    assert params == {"taskId": "t", "inputResponses": {"who": {"action": "cancel"}}}
    stated = meta["io.modelcontextprotocol/clientCapabilities"]
    assert stated == {"extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.mark.threat("T-CROSS")
async def test_the_tasks_of_an_older_era_stay_hidden(legacy: Counter, new_caller: type[Caller]) -> None:
    for method in ("tasks/get", "tasks/update", "tasks/cancel"):
        legacy.plugin.answers[method] = lambda params: DONE
        caller = legacy.call(new_caller(method, {"taskId": "t"}, KNOWS))
        assert await caller.code() == "method_unknown"
        assert not any(one.get("method") == method for one in legacy.plugin.heard)

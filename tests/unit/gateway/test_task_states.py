"""What a plugin says of a task is read member by member: of that task alone, and judged as its tool's answer is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.offering import everything, house_of
from tests.unit.gateway.speaking import ASKABLE, FORM, SECRET, Said, anything, leaves, planted, reply, tell
from tests.unit.gateway.test_tasks import (
    MADE,
    STATE,
    allow,
    asked,
    begin,
    client,
    handle_of,
    worker,
)

from sekisho.errors import SekishoError
from sekisho.gateway.questions import MAX_QUESTIONS
from sekisho.gateway.results import MAX_KEY_CHARS
from sekisho.gateway.task_states import MAX_IDENT_CHARS, MAX_MESSAGE_CHARS, created_task
from sekisho.gateway.tasks import MAX_TTL_MS

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

ACK: Final = "notifications/subscriptions/acknowledged"
NEWS: Final = "notifications/tasks"
RESULT: Final[dict[str, Any]] = {
    "content": [{"type": "text", "text": "t", "_meta": {"a": "b"}}],
    "structuredContent": {"sum": 3},
}
DONE: Final[dict[str, Any]] = {
    **STATE,
    "status": "completed",
    "statusMessage": "m",
    "_meta": {"x": {"y": "z"}},
    "result": RESULT,
}
FAILED: Final[dict[str, Any]] = {
    **STATE,
    "status": "failed",
    "error": {"code": -32603, "message": "m", "data": {"a": "b"}},
}
WAITING: Final[dict[str, Any]] = {
    **STATE,
    "status": "input_required",
    "inputRequests": {"who": {"method": "elicitation/create", "params": FORM}},
}


@pytest.fixture
def kit(kit: Kit) -> Kit:
    allow(kit, worker(), worker("other"))
    return kit


def state(kit: Kit, answer: Any, tool: str = "slow") -> Said:
    """A task of this tool is asked for, and the plugin answers so."""
    one = client(kit)
    said = one.send("tasks/get", {"taskId": handle_of(kit, one, tool)})
    reply(kit, answer)
    return said


def code(kit: Kit, answer: Any, tool: str = "slow") -> str:
    return state(kit, answer, tool).code


def test_the_result_of_a_task_is_that_of_its_tool(kit: Kit) -> None:
    said = state(kit, DONE).result
    assert (said["result"], said["statusMessage"], said["_meta"]) == (RESULT, "m", {"x": {"y": "z"}})


@pytest.mark.parametrize(
    "result",
    [None, [], {}, {"content": {}}, {"content": []}, {"content": [], "structuredContent": {"sum": "3"}}],
)
def test_a_result_that_its_tool_could_not_give_is_refused(kit: Kit, result: Any) -> None:
    assert code(kit, {**DONE, "result": result}, "strict") in ("plugin_protocol", "result_invalid")
    assert code(kit, DONE, "strict") == "ok"
    failing = {"content": [], "isError": True}
    assert code(kit, {**DONE, "result": failing}, "strict") == "ok"


def test_a_tools_own_words_about_servers_and_eras_stay_outside(kit: Kit) -> None:
    meta = {"io.modelcontextprotocol/serverInfo": {"name": "theirs", "version": "1"}}
    said = state(kit, {**DONE, "_meta": meta, "result": {**RESULT, "resultType": "complete", "_meta": meta}})
    assert said.result["result"] == RESULT
    assert "theirs" not in json.dumps(said.result)


def test_an_error_of_a_task_cannot_speak_with_our_voice(kit: Kit) -> None:
    theirs = {"code": -32050, "message": "m", "data": {"code": "token_invalid", "remedy": "pay", "a": "b"}}
    error = state(kit, {**FAILED, "error": theirs}).result["error"]
    assert error == {"code": -32603, "message": "m", "data": {"a": "b", "plugin": "calc"}}


def test_members_of_another_status_and_unknown_ones_are_left_out(kit: Kit) -> None:
    said = state(
        kit, {**WAITING, **STATE, "result": RESULT, "requestState": "s", "ttl": 1, "note": "n"}
    ).result
    assert said.keys() == {*STATE, "resultType"}
    assert (
        begin(kit, client(kit), made={**MADE, "requestState": "s", "result": RESULT}).result.keys()
        == MADE.keys()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"status": None},
        {"createdAt": 5},
        {"createdAt": "yesterday"},
        {"lastUpdatedAt": "2026-11-21T10:00:00Z" + "Z" * 40},
        {"ttlMs": -1},
        {"ttlMs": 1.5},
        {"ttlMs": True},
        {"ttlMs": "1"},
        {"pollIntervalMs": 0},
        {"pollIntervalMs": False},
        {"statusMessage": 5},
        {"statusMessage": "x" * (MAX_MESSAGE_CHARS + 1)},
    ],
)
def test_a_state_that_is_none_is_refused_wherever_it_is_told(kit: Kit, change: dict[str, Any]) -> None:
    assert code(kit, {**STATE, **change}) == "plugin_protocol"
    assert begin(kit, client(kit), made={**MADE, **change}).code == "plugin_protocol"


@pytest.mark.parametrize("ident", [None, "", 7, "x" * (MAX_IDENT_CHARS + 1)])
def test_a_task_without_a_short_id_is_refused(kit: Kit, ident: Any) -> None:
    assert begin(kit, client(kit), made={**MADE, "taskId": ident}).code == "plugin_protocol"


@pytest.mark.threat("T-CROSS")
def test_a_plugin_answers_for_the_task_that_was_asked_for_and_no_other(kit: Kit) -> None:
    assert code(kit, {**STATE, "taskId": "t-2"}) == "plugin_protocol"
    assert code(kit, {**STATE, "taskId": None}) == "plugin_protocol"
    assert code(kit, {**STATE, "resultType": "task"}) == "plugin_protocol"
    assert code(kit, {**STATE, "resultType": "input_required", "inputRequests": {}}) == "plugin_protocol"
    assert code(kit, STATE) == "ok"


def test_questions_of_a_task_are_bounded(kit: Kit) -> None:
    question = WAITING["inputRequests"]["who"]
    every: list[Any] = [
        {str(number): question for number in range(MAX_QUESTIONS + 1)},
        {"x" * (MAX_KEY_CHARS + 1): question},
        {"who": {"method": "elicitation/create", "params": []}},
        {"who": "?"},
        {"who": {"method": "tools/call", "params": {}}},
        [],
        None,
    ]
    for requests in every:
        assert code(kit, {**WAITING, "inputRequests": requests}) == "plugin_protocol"
    assert code(kit, {**WAITING, "inputRequests": {}}) == "ok"


@pytest.mark.threat("T-HIDDEN")
@pytest.mark.parametrize("whole", [DONE, FAILED], ids=["completed", "failed"])
def test_every_text_of_a_state_is_searched(kit: Kit, whole: dict[str, Any]) -> None:
    outside = {"taskId", "status", "createdAt", "lastUpdatedAt", "type"}
    for path in leaves(whole):
        if path[-1] not in outside:
            assert code(kit, planted(whole, path, SECRET)) == "content_refused", path
    assert code(kit, whole) == "ok"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*DONE, "error", "inputRequests", "resultType"]), anything, max_size=5)
)
def test_whatever_a_plugin_says_of_a_task_is_a_state_or_a_refusal(kit: Kit, change: dict[str, Any]) -> None:
    kit.clock.advance(60.0)  # the rate of one minute
    said = state(kit, {**DONE, **change}).answer
    if "result" in said:
        assert said["result"]["taskId"] != "t-1"
        assert said["result"]["ttlMs"] <= STATE["ttlMs"]


@given(st.dictionaries(st.sampled_from([*MADE]), anything, max_size=4))
def test_whatever_is_made_is_a_task_or_a_refusal(change: dict[str, Any]) -> None:
    try:
        made, text = created_task({**MADE, **change})
    except SekishoError:
        return
    assert made.ident
    assert 0 < made.ttl_ms <= MAX_TTL_MS
    assert "taskId" not in json.loads(text)


# news on a stream


def listen(kit: Kit, *handles: str, **words: Any) -> Said:
    return client(kit).send("subscriptions/listen", {"notifications": {"taskIds": [*handles], **words}})


def test_a_listener_hears_of_its_tasks_under_its_own_ids(kit: Kit) -> None:
    handle = handle_of(kit, client(kit))
    said = listen(kit, handle, "strange")
    assert said.named(ACK)[0]["params"]["notifications"] == {"taskIds": [handle]}
    assert asked(kit) == {"notifications": {"resourceSubscriptions": [], "taskIds": ["t-1"]}}
    tell(kit, ACK, {"notifications": {}})
    tell(kit, NEWS, DONE)
    [news] = said.named(NEWS)
    assert news["params"] == {
        **DONE,
        "taskId": handle,
        "_meta": {"io.modelcontextprotocol/subscriptionId": 1},
    }
    assert kit.log.entries[-1]["code"] == "ok"


@pytest.mark.threat("T-CROSS")
def test_news_of_another_task_or_in_no_form_of_news_is_not_passed_on(kit: Kit) -> None:
    said = listen(kit, handle_of(kit, client(kit)))
    for odd in (
        {**DONE, "taskId": "t-2"},
        {**DONE, "status": "?"},
        planted(DONE, ("statusMessage",), SECRET),
    ):
        tell(kit, NEWS, odd)
    assert not said.named(NEWS)
    tell(kit, NEWS, DONE)
    assert len(said.named(NEWS)) == 1


def test_news_of_tasks_are_heard_on_no_call_but_a_listening_one(kit: Kit) -> None:
    one = client(kit)
    said = one.send("tasks/get", {"taskId": handle_of(kit, one)})
    tell(kit, NEWS, DONE)
    assert not said.ear.pieces


@pytest.mark.threat("T-CROSS")
def test_whoever_did_not_declare_tasks_or_lost_their_tool_hears_of_none(kit: Kit) -> None:
    handle = handle_of(kit, client(kit))
    deaf = client(kit, capabilities=ASKABLE)
    said = deaf.send("subscriptions/listen", {"notifications": {"taskIds": [handle]}})
    assert said.error["code"] == -32021
    stranger = client(kit, token=kit.ben).send(
        "subscriptions/listen", {"notifications": {"taskIds": [handle]}}
    )
    assert stranger.named(ACK)[0]["params"]["notifications"] == {}


@pytest.mark.threat("T-CROSS")
def test_a_stream_that_was_opened_in_time_tells_no_more_of_a_tool_once_it_is_forbidden(kit: Kit) -> None:
    said = listen(kit, handle_of(kit, client(kit)))
    kit.change(access=house_of(kit.house, worker(), rules=[everything("aya", "calc", "needy")]).access)
    tell(kit, NEWS, DONE)
    assert not said.named(NEWS)
    assert kit.log.entries[-1]["code"] == "operation_not_allowed"

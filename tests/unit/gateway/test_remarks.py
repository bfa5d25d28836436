"""What a plugin says before its answer is heard only where it belongs, in members and words that were judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.gateway.speaking import (
    ALL_REQUESTS,
    FORM,
    LINK,
    ROUNDS,
    SECRET,
    STREAM,
    anything,
    calc,
    leaves,
    narrowed,
    offer,
    planted,
    sealed,
)

from sekisho.errors import SekishoError
from sekisho.gateway.caller import LOG_LEVELS, Caller
from sekisho.gateway.remarks import Question, release_event, release_notes, release_question
from sekisho.protocol import JsonLimits
from sekisho.wire import AskFrame, EventFrame

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


@pytest.fixture
def kit(kit: Kit) -> Kit:
    offer(kit, calc())
    return kit


# questions in the midst of a call


def asked_of(kit: Kit, caller: Caller, method: str = "elicitation/create", params: Any = FORM) -> Any:
    frame = AskFrame("q1", method, msgspec.Raw(json.dumps(params).encode()))
    asked = release_question(sealed(kit, caller=caller), frame, kit.house)
    return json.loads(asked.params) if isinstance(asked, Question) else asked.code


@pytest.mark.threat("T-OPERATION")
def test_a_question_goes_to_a_client_with_a_stream_that_declared_it(kit: Kit) -> None:
    assert asked_of(kit, STREAM) == FORM
    assert asked_of(kit, ROUNDS) == "capability_missing"
    assert asked_of(kit, Caller(False, "s", "stream")) == "capability_missing"
    assert asked_of(kit, STREAM, "roots/list") == "capability_missing"
    assert asked_of(kit, STREAM, "ping") == "plugin_protocol"
    offer(kit, calc(), requests=frozenset())
    assert asked_of(kit, STREAM) == "capability_missing"


@pytest.mark.threat("T-HIDDEN")
@pytest.mark.parametrize("params", [FORM, LINK])
def test_every_word_of_a_question_is_searched(kit: Kit, params: dict[str, Any]) -> None:
    for path in leaves(params):
        if path[-1] not in ("type", "mode", "url"):  # these can say only one thing
            assert asked_of(kit, STREAM, params=planted(params, path, SECRET)) == "content_refused"


# notifications


def heard(
    kit: Kit, method: str, params: Any, caller: Caller = STREAM, call: str = "erase"
) -> dict[str, Any] | str:
    event = EventFrame(method, msgspec.Raw(json.dumps(params).encode()))
    judged = release_event(sealed(kit, call, caller), event, kit.house)
    if isinstance(judged, SekishoError):
        return judged.code
    found: dict[str, Any] = json.loads(judged)
    return found


@pytest.mark.parametrize("level", [*LOG_LEVELS, "loud", "INFO", None, 3, ["info"], {}])
def test_a_log_message_has_a_level_of_mcp_that_its_call_wants(kit: Kit, level: Any) -> None:
    message = {"level": level, "data": "x"}
    is_level = isinstance(level, str) and level in LOG_LEVELS
    assert heard(kit, "notifications/message", message) == (message if is_level else "plugin_protocol")
    is_loud = is_level and level != "debug"
    assert heard(kit, "notifications/message", message, ROUNDS) == (message if is_loud else "plugin_protocol")
    silent = Caller(True, "c", "rounds", ALL_REQUESTS)
    assert heard(kit, "notifications/message", message, silent) == "plugin_protocol"


@pytest.mark.threat("T-SHADOW")
@pytest.mark.parametrize("uri", ["test://three", "other://x", "", None, 3, ["test://one"]])
def test_news_are_of_resources_that_the_plugin_has_and_the_client_may_read(kit: Kit, uri: Any) -> None:
    method = "notifications/resources/updated"
    for call in ("erase", "subscriptions/listen"):
        assert heard(kit, method, {"uri": uri}, call=call) == "plugin_protocol"
        for good in ("test://one", "test://item/7"):
            assert heard(kit, method, {"uri": good}, call=call) == {"uri": good}


def test_news_end_with_the_right_to_read(kit: Kit) -> None:
    one = sealed(kit, "subscriptions/listen")
    event = EventFrame("notifications/resources/updated", msgspec.Raw(b'{"uri":"test://one"}'))
    assert release_event(one, event, kit.house) == b'{"uri":"test://one"}'
    rights = {"operations": frozenset({"erase"}), "methods": frozenset({"resources/read"})}
    kit.change(access=narrowed("aya", "calc", **rights, resources=frozenset({"test://two"})))
    assert isinstance(release_event(one, event, kit.house), SekishoError)
    kit.change(standings={})
    assert isinstance(release_event(one, event, kit.house), SekishoError)


@pytest.mark.parametrize(
    "method",
    [
        "notifications/tools/list_changed",
        "notifications/progress",
        "notifications/cancelled",
        "notifications/roots/list_changed",
        "elicitation/create",
        "",
    ],
)
def test_notifications_that_are_not_a_plugins_to_send_are_dropped(kit: Kit, method: str) -> None:
    assert heard(kit, method, {"uri": "test://one", "level": "info"}) == "plugin_protocol"


def test_only_a_stream_of_news_is_acknowledged(kit: Kit) -> None:
    method = "notifications/subscriptions/acknowledged"
    assert heard(kit, method, {}, call="subscriptions/listen") == {}
    assert heard(kit, method, {}) == "plugin_protocol"


def test_the_end_of_an_elicitation_names_it(kit: Kit) -> None:
    method = "notifications/elicitation/complete"
    assert heard(kit, method, {"elicitationId": "e1"}) == {"elicitationId": "e1"}
    assert heard(kit, method, {}) == "plugin_protocol"


@pytest.mark.threat("T-HIDDEN")
def test_every_word_of_a_notification_is_searched(kit: Kit) -> None:
    whole = {"level": "info", "logger": "l", "data": {"a": ["b"]}, "_meta": {"x": "y"}}
    assert heard(kit, "notifications/message", whole) == whole
    for path in leaves(whole):
        if path != ("level",):
            assert heard(kit, "notifications/message", planted(whole, path, SECRET)) == "content_refused"


# progress


def test_progress_is_all_passed_on_or_none_of_it(kit: Kit) -> None:
    good = b'{"progress":1,"total":2,"message":"m"}'
    assert release_notes(good + b'\n{ "progress": 2 }', kit.house) == good + b'\n{"progress":2}'
    for odd in (
        b'{"progress":"1"}',
        b'{"message":"m"}',
        b'{"progress":1,"token":"t"}',
        b'{"progress":1,"progress":2}',
        b"[]",
        json.dumps({"progress": 1, "message": SECRET}, ensure_ascii=False).encode(),
    ):
        assert isinstance(release_notes(good + b"\n" + odd, kit.house), SekishoError)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b'{"progress":1}',
                b'{"progress":0.5,"total":1,"message":"\xe3\x81\x82 half\\n"}',
                b'{"progress":1,"message":"' + b"m" * 300 + b'"}',
                b'{"progress":1,"message":"' + b"m" * 600 + b'"}',
                b'{ "progress": 1.50 }',
                b'{"progress":1,"message":"\\ud800"}',
                b'{"progress":1,"message":"\xff"}',
                b'{"progress":1,"progress":1}',
                b'{"progress":1',
                b'"total":1}',
                b"",
            ]
        ),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from([{}, {"max_members": 2}, {"max_depth": 1}, {"max_string_bytes": 40}]),
)
def test_notes_that_are_judged_together_are_judged_as_each_alone(
    kit: Kit, lines: list[bytes], tight: dict[str, int]
) -> None:
    kit.change(result_limits=JsonLimits(**{"max_bytes": 512, **tight}))
    alone = [release_notes(line, kit.house) for line in lines]
    together = release_notes(b"\n".join(lines), kit.house)
    said = [one for one in alone if isinstance(one, bytes)]
    if len(said) == len(lines):
        assert together == b"\n".join(said)
    else:
        assert isinstance(together, SekishoError)


# whatever comes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(max_size=3), anything, max_size=4), st.sampled_from([STREAM, ROUNDS]))
def test_whatever_a_plugin_says_is_judged_and_raises_nothing(
    kit: Kit, value: dict[str, Any], caller: Caller
) -> None:
    kit.change(limiter=type(kit.house.limiter)())  # as many calls as the test likes
    one, text = sealed(kit, "erase", caller), json.dumps(value).encode()
    for method in ("notifications/message", "notifications/resources/updated", "notifications/x"):
        release_event(one, EventFrame(method, msgspec.Raw(text)), kit.house)
    for method in ("elicitation/create", "sampling/createMessage", "roots/list", "x"):
        release_question(one, AskFrame("q", method, msgspec.Raw(text)), kit.house)
    release_notes(text, kit.house)

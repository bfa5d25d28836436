"""Questions and answers are read member by member, and the state of a round opens only where it belongs."""

from __future__ import annotations

import base64
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gateway.speaking import ALL_REQUESTS, FORM

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.questions import (
    GATEWAY,
    MAX_AGE_S,
    MAX_MESSAGE_CHARS,
    MAX_QUESTIONS,
    MAX_SEALED_CHARS,
    MAX_URL_CHARS,
    Round,
    open_round,
    question_id,
    read_answer,
    read_answers,
    read_question,
    read_question_id,
    seal_round,
)
from sekisho.keys import seal_ticket
from sekisho.protocol import JsonValue, plugin_name

KEY: Final = bytes(32)
NOW: Final = 1_800_000_000.0
LINK: Final = {
    "mode": "url",
    "message": "Open this",
    "url": "https://login.example/start",
    "elicitationId": "e1",
}
MESSAGES: Final = {"messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 5}
ROUND: Final = Round("aya", "", "op", "state", {"q": "elicitation"})


def question(method: str, params: Any, may_ask: frozenset[str] = ALL_REQUESTS) -> tuple[str, dict[str, Any]]:
    return read_question(method, params, may_ask)


# questions


@pytest.mark.parametrize(
    ("method", "params", "kind"),
    [
        ("elicitation/create", FORM, "elicitation"),
        ("elicitation/create", {**FORM, "mode": "form"}, "elicitation"),
        ("elicitation/create", LINK, "elicitation/url"),
        ("sampling/createMessage", MESSAGES, "sampling"),
        ("sampling/createMessage", {**MESSAGES, "tools": [], "toolChoice": {}}, "sampling"),
    ],
)
def test_what_mcp_knows_is_asked_in_members_that_were_read(method: str, params: Any, kind: str) -> None:
    noise = {"_meta": {"a": 1}, "task": {"ttl": 1}, "includeContext": "allServers", "Url": "x", "extra": 1}
    assert question(method, {**noise, **params}) == (kind, params)


@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize(
    ("method", "params", "needed"),
    [
        ("elicitation/create", FORM, {"elicitation"}),
        ("elicitation/create", LINK, {"elicitation/url"}),
        ("sampling/createMessage", MESSAGES, {"sampling"}),
        ("sampling/createMessage", {**MESSAGES, "tools": []}, {"sampling", "sampling/tools"}),
        ("sampling/createMessage", {**MESSAGES, "toolChoice": {}}, {"sampling", "sampling/tools"}),
    ],
)
def test_a_client_is_asked_what_it_can_be_asked_and_nothing_else(
    method: str, params: Any, needed: set[str]
) -> None:
    assert question(method, params, frozenset(needed))[1] == params
    for missing in needed:
        with pytest.raises(Refused) as caught:
            question(method, params, ALL_REQUESTS - {missing})
        assert caught.value.code == "capability_missing"


@pytest.mark.parametrize("method", ["tools/call", "elicitation/Create", "ping", "", "roots/list_changed"])
def test_a_question_that_mcp_does_not_know_is_refused(method: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        question(method, FORM)
    assert caught.value.code == "plugin_protocol"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,hi",
        "file:///etc/passwd",
        "http://login.example/",
        "ftp://login.example/",
        "//login.example/",
        "https:login.example",
        "https:///login.example",
        "https://",
        "https://bank.example@evil.example/",
        "https://bank.example:pw@evil.example/",
        "https://bank.example\\@evil.example/",
        "https://bank.example\\.evil.example/",
        "https://bank%2eexample/",
        "https://bаnk.example/",  # a Cyrillic letter
        "https://bank。example/",
        "https://bank.example/\u202egpj",
        "https://bank.example /",
        " https://bank.example/",
        "https://bank.example/\n",
        "https://bank.example/\x00",
        "https://bank\t.example/",
        "https://bank.example:port/",
        "https://bank.example:123456/",
        "https://[::1/",
        "https://bank.example/<script>",
        'https://bank.example/?a="b"',
        "https://bank.example/" + "x" * MAX_URL_CHARS,
        None,
        7,
        ["https://bank.example/"],
    ],
)
def test_a_person_is_only_asked_to_open_an_address_that_everybody_reads_alike(url: object) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        question("elicitation/create", {**LINK, "url": url})
    assert caught.value.code == "plugin_protocol"


@pytest.mark.parametrize(
    "url",
    [
        "https://bank.example",
        "https://bank.example:8443/a/b?c=d&e=f%20g#h",
        "https://xn--bcher-kva.example/",
        "https://[2001:db8::1]:8443/",
        "https://bank.example/@aya",
        "HTTPS://bank.example/".lower(),
    ],
)
def test_a_plain_address_may_be_opened(url: str) -> None:
    assert question("elicitation/create", {**LINK, "url": url})[1]["url"] == url


@pytest.mark.parametrize("message", [None, 3, ["a"], "x" * (MAX_MESSAGE_CHARS + 1)])
def test_a_question_has_a_short_message(message: object) -> None:
    for params in (FORM, LINK):
        with pytest.raises(RemoteProtocolError):
            question("elicitation/create", {**params, "message": message})
        longest = {**params, "message": "x" * MAX_MESSAGE_CHARS}
        assert question("elicitation/create", longest)[1] == longest


def test_a_mode_that_nobody_knows_is_a_form_and_is_not_passed_on() -> None:
    kind, params = question("elicitation/create", {**FORM, "mode": "URL", "url": "javascript:alert(1)"})
    assert (kind, params) == ("elicitation", FORM)


def test_a_model_is_asked_with_messages() -> None:
    with pytest.raises(RemoteProtocolError):
        question("sampling/createMessage", {"messages": "hi"})


# answers


@pytest.mark.parametrize(
    ("kind", "result", "read"),
    [
        ("elicitation", {"action": "accept", "content": {"a": "b", "n": [1]}}, ...),
        ("elicitation", {"action": "decline", "extra": 1}, {"action": "decline"}),
        ("elicitation/url", {"action": "accept", "content": None}, {"action": "accept"}),
        (
            "sampling",
            {"role": "assistant", "content": {"type": "text", "text": "x"}, "model": "m", "stopReason": "endTurn"},
            ...,
        ),
        ("sampling", {"role": "user", "content": [], "x": 1}, {"role": "user", "content": [], "model": ""}),
        ("roots", {"roots": [{"uri": "file:///a"}], "x": 1}, {"roots": [{"uri": "file:///a"}]}),
    ],
)  # fmt: skip
def test_an_answer_of_its_kind_is_passed_on_without_further_members(
    kind: str, result: Any, read: Any
) -> None:
    assert read_answer(kind, result) == (result if read is ... else read)


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        ("elicitation", {}),
        ("elicitation", {"action": "yes"}),
        ("elicitation", {"action": ["accept"]}),
        ("elicitation", {"action": "accept", "content": []}),
        ("elicitation", {"action": "accept", "content": {"a": {"deep": 1}}}),
        ("sampling", {"role": "system", "content": {}}),
        ("sampling", {"role": "user", "content": "text"}),
        ("roots", {"roots": {}}),
        ("roots", {"roots": ["file:///a"]}),
    ],
)
def test_an_answer_of_another_form_is_refused(kind: str, result: Any) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_answer(kind, result)
    assert caught.value.code == "params_invalid"


def test_answers_to_what_was_not_asked_are_dropped() -> None:
    said: JsonValue = {
        "q": {"action": "cancel"},
        "other": {"action": "accept"},
        "sekisho-approval": {"action": "accept"},
    }
    assert read_answers(said, {"q": "elicitation"}) == {"q": {"action": "cancel"}}
    assert read_answers(said, {}) == {}


def test_without_a_state_of_ours_answers_are_read_by_their_form() -> None:
    said: dict[str, Any] = {
        "a": {"action": "cancel", "x": 1},
        "b": {"roots": []},
        "c": {"role": "user", "content": {}},
    }
    assert read_answers(said, None) == {
        "a": {"action": "cancel"},
        "b": {"roots": []},
        "c": {"role": "user", "content": {}, "model": ""},
    }
    with pytest.raises(RemoteProtocolError):
        read_answers({"a": {"anything": "else"}}, None)


@pytest.mark.parametrize("responses", [None, [], "a", {"q": "accept"}, {"q": None}])
def test_answers_are_objects(responses: Any) -> None:
    with pytest.raises(RemoteProtocolError):
        read_answers(responses, {"q": "elicitation"})


@pytest.mark.threat("T-FLOOD")
def test_a_round_has_few_answers() -> None:
    said: Any = {f"q{number}": {"action": "cancel"} for number in range(MAX_QUESTIONS)}
    assert len(read_answers(said, None)) == MAX_QUESTIONS
    with pytest.raises(RemoteProtocolError):
        read_answers({**said, "more": {"action": "cancel"}}, None)


# the way back


@given(
    st.from_regex(r"[a-z][a-z0-9-]{0,30}[a-z0-9]", fullmatch=True),
    st.sampled_from(["elicitation", "elicitation/url", "sampling", "roots"]),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_the_id_of_a_question_finds_its_way_back(plugin: str, kind: str, ask: str) -> None:
    assert read_question_id(question_id(plugin, kind, ask)) == (plugin, kind, ask)


@pytest.mark.parametrize(
    "ident", [None, 3, "", "calc", "calc:tools:q", "calc:sampling:", "calc:sampling:q\n", "A:sampling:q", "a:b:roots:q"]
)  # fmt: skip
def test_any_other_id_was_never_asked(ident: Any) -> None:
    assert read_question_id(ident) is None


def test_no_plugin_can_ask_in_the_name_of_the_gateway() -> None:
    with pytest.raises(SekishoError):
        plugin_name(GATEWAY)


# rounds


def opened(
    text: str, now: float = NOW, key: bytes = KEY, where: tuple[str, str, str] = ("aya", "", "op")
) -> Round:
    client, endpoint, operation = where
    return open_round(key, text, client=client, endpoint=endpoint, operation=operation, now=now)


@pytest.mark.threat("T-REPLAY")
def test_a_round_opens_for_its_client_endpoint_and_operation_alone() -> None:
    text = seal_round(KEY, ROUND, NOW)
    assert opened(text) == ROUND
    for other in (("ben", "", "op"), ("aya", "calc", "op"), ("aya", "", "po")):
        with pytest.raises(RemoteProtocolError) as caught:
            opened(text, where=other)
        assert caught.value.code == "params_invalid"


@pytest.mark.threat("T-REPLAY")
def test_a_round_opens_for_ten_minutes_and_at_houses_of_the_same_key() -> None:
    text = seal_round(KEY, ROUND, NOW)
    assert opened(text, now=NOW + MAX_AGE_S) == ROUND
    for now, key in ((NOW + MAX_AGE_S + 1, KEY), (NOW - 60, KEY), (NOW, b"x" * 32)):
        with pytest.raises(RemoteProtocolError):
            opened(text, now, key)


@pytest.mark.threat("T-REPLAY")
@given(st.data())
def test_a_state_of_which_one_bit_was_changed_does_not_open(data: st.DataObject) -> None:
    text = seal_round(KEY, ROUND, NOW)
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    with pytest.raises(RemoteProtocolError):
        opened(base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(st.text())
def test_any_other_text_does_not_open(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        opened(text)


def test_a_ticket_for_something_else_is_no_round() -> None:
    payload = msgspec.to_builtins(ROUND)
    for purpose, content in (
        ("session", payload),
        ("round", {"client": "aya"}),
        ("round", {**payload, "kinds": 1}),
    ):
        with pytest.raises(RemoteProtocolError):
            opened(seal_ticket(KEY, purpose, content, NOW))
    assert opened(seal_ticket(KEY, "round", payload, NOW)) == ROUND


def test_two_states_of_the_same_round_look_different() -> None:
    assert seal_round(KEY, ROUND, NOW) != seal_round(KEY, ROUND, NOW)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("letter", ["x", "é", "😀", "\n"])
def test_every_state_that_is_sealed_can_be_opened_again_and_a_larger_one_is_refused(letter: str) -> None:
    longest = 0
    for length in range(0, MAX_SEALED_CHARS, 256):
        one = msgspec.structs.replace(ROUND, state=letter * length)
        try:
            text = seal_round(KEY, one, NOW)
        except RemoteProtocolError:
            break
        assert opened(text) == one
        longest = length
    assert 0 < longest * len(letter.encode()) < MAX_SEALED_CHARS

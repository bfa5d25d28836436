"""JSON-RPC messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from sekisho.errors import Refused, SekishoError
from sekisho.protocol import (
    JsonLimits,
    Message,
    Notification,
    Request,
    Response,
    VersionUnsupported,
    error_bytes,
    notification_bytes,
    parse_message,
    request_bytes,
    result_bytes,
    split_batch,
)

LIMITS = JsonLimits()
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
objects = st.dictionaries(text, st.integers() | text | st.lists(st.booleans(), max_size=3), max_size=4)
ids = st.integers() | text
methods = st.from_regex(r"[a-z]{1,8}(/[a-zA-Z_]{1,8})?", fullmatch=True)
STYLES: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {},
    {"indent": 2},
    {"separators": (" ,", ":"), "ensure_ascii": False},
]


def read(data: bytes | str) -> Message:
    return parse_message(data.encode() if isinstance(data, str) else data, LIMITS)


def code_of(data: bytes | str) -> str:
    with pytest.raises(SekishoError) as caught:
        read(data)
    return caught.value.code


@given(ids, methods, objects, st.sampled_from(STYLES))
def test_a_request_is_read_in_any_style(
    id_: int | str, method: str, params: Any, style: dict[str, Any]
) -> None:
    message = read(json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}, **style))
    assert isinstance(message, Request)
    assert (message.id, message.method) == (id_, method)
    assert json.loads(bytes(message.params)) == params


@given(ids, methods, objects)
def test_what_is_written_is_read_back(id_: int | str, method: str, value: Any) -> None:
    raw = json.dumps(value).encode()
    assert read(request_bytes(id_, method, raw)) == Request(id=id_, method=method, params=Raw(raw))
    assert read(request_bytes(id_, method, None)) == Request(id=id_, method=method)
    assert read(notification_bytes(method, raw)) == Notification(method=method, params=Raw(raw))
    assert read(result_bytes(id_, raw)) == Response(id=id_, result=Raw(raw))


def test_absent_params_are_empty() -> None:
    message = read('{"jsonrpc":"2.0","id":1,"method":"ping"}')
    assert isinstance(message, Request)
    assert not message.params


@given(st.permutations(['"jsonrpc":"2.0"', '"id":7', '"method":"a/b"', '"params":{"x":1}']), st.data())
@pytest.mark.threat("T-PARSER")
def test_a_member_named_twice_is_refused_in_every_style(members: list[str], data: st.DataObject) -> None:
    assert isinstance(read("{" + ",".join(members) + "}"), Request)
    copy = data.draw(st.sampled_from(members))
    members.insert(data.draw(st.integers(0, len(members))), copy)
    comma = data.draw(st.sampled_from([",", ", ", " ,\n"]))
    blanks = data.draw(st.sampled_from(["", " ", "\n"]))
    assert code_of("{" + blanks + comma.join(members) + "}" + blanks) == "json_duplicate_key"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "extra",
    ['"id":8', '"\\u0069d":8', '"\\u0069\\u0064" : 8', '"params":{}', '"method":"tools/call"'],
)
def test_a_dropped_member_cannot_hide_behind_blanks_or_escapes(extra: str) -> None:
    for comma, colon in ((",", ":"), (", ", ": "), (" , ", " : ")):
        members = [f'"jsonrpc"{colon}"2.0"', extra, f'"id"{colon}7', f'"method"{colon}"ping"']
        assert_refused = code_of("{" + comma.join([*members, f'"params"{colon}{{}}']) + "}")
        assert assert_refused == "json_duplicate_key"


@pytest.mark.threat("T-PARSER")
def test_a_duplicate_as_long_as_the_usual_blanks_is_still_found() -> None:
    # Four members in the style of json.dumps carry seven blanks; `"id":1,` has seven bytes.
    assert code_of('{"id":1,"jsonrpc":"2.0","id":2,"method":"ping","params":{}}') == "json_duplicate_key"


def test_an_escaped_spelling_without_a_duplicate_is_read() -> None:
    message = read('{"jsonrpc":"2.0","\\u0069d":"\\u00e9","method":"a\\/b"}')
    assert message == Request(id="é", method="a/b")


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "member", ['"Method":"x"', '"ID":1', '"JSONRPC":"2.0"', '"Params":{}', '"paramſ":{}', '"extra":1', '"":1']
)
def test_unknown_members_and_case_variants_are_refused(member: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":1,"method":"ping",' + member + "}") == "message_invalid"


@pytest.mark.parametrize("version", ['"1.0"', "2.0", '"2.00"', "null", '""'])
def test_another_json_rpc_version_is_refused(version: str) -> None:
    assert code_of('{"jsonrpc":' + version + ',"id":1,"method":"ping"}') == "message_invalid"
    assert code_of('{"id":1,"method":"ping"}') == "message_invalid"


@pytest.mark.parametrize("id_", ["null", "1.0", "1e2", "true", "[]", "{}", '"' + "x" * 300 + '"', "9" * 300])
def test_ids_other_than_short_strings_and_integers_are_refused(id_: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":' + id_ + ',"method":"ping"}') == "message_invalid"


def test_big_and_negative_ids_keep_their_value() -> None:
    for number in (0, -1, 2**64 + 1, -(10**50)):
        message = read(f'{{"jsonrpc":"2.0","id":{number},"method":"ping"}}')
        assert isinstance(message, Request)
        assert message.id == number


@pytest.mark.parametrize("method", ["", "a b", "a\\u0000", "tools/call\\n", "é", "x" * 129])
def test_what_is_no_method_name_is_refused(method: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":1,"method":"' + method + '"}') == "message_invalid"


@pytest.mark.parametrize("params", ["[]", "1", "null", '"x"'])
def test_params_other_than_an_object_are_refused(params: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":1,"method":"ping","params":' + params + "}") == "message_invalid"


@given(st.lists(st.tuples(ids, objects), min_size=1, max_size=6), st.sampled_from(STYLES))
def test_an_array_is_taken_apart_without_a_loss(
    members: list[tuple[int | str, dict[str, Any]]], style: dict[str, Any]
) -> None:
    messages = [{"jsonrpc": "2.0", "id": ident, "params": params} for ident, params in members]
    texts = split_batch(json.dumps(messages, **style).encode(), LIMITS, most=6)
    assert [json.loads(one) for one in texts] == messages


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[]", "message_invalid"),
        ("{}", "message_invalid"),
        ("[1,2,3]", "batch_refused"),
        ("[1", "json_malformed"),
        ("[" * 5000, "json_too_deep"),
    ],
)
def test_what_is_no_array_of_a_few_is_not_taken_apart(text: str, code: str) -> None:
    with pytest.raises(SekishoError) as caught:
        split_batch(text.encode(), LIMITS, most=2)
    assert caught.value.code == code


def test_batches_are_refused() -> None:
    assert code_of('[{"jsonrpc":"2.0","id":1,"method":"ping"}]') == "batch_refused"
    assert code_of(" \n[]") == "batch_refused"


@pytest.mark.parametrize("data", ["1", '"x"', "null", "true"])
def test_what_is_no_object_is_refused(data: str) -> None:
    assert code_of(data) == "message_invalid"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "data",
    ["", "{", '{"jsonrpc":"2.0"', '{"jsonrpc":"2.0","id":1,"method":"ping"}x', '{"jsonrpc":"2.0","id":01}',
     '{"jsonrpc":"2.0","id":1,"method":"p","params":{"a":}}', b"\xef\xbb\xbf{}",
     b'{"jsonrpc":"2.0","id":"\xff"}',
     '{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}', '{"jsonrpc":"2.0","method":"p","params":{"a":NaN}}'],
)  # fmt: skip
def test_what_is_no_strict_json_is_refused(data: str | bytes) -> None:
    assert code_of(data) == "json_malformed"


@pytest.mark.threat("T-FLOOD")
def test_size_and_depth_are_refused() -> None:
    deep = '{"jsonrpc":"2.0","method":"p","params":{"a":' + "[" * 99 + "]" * 99 + "}}"
    assert code_of(deep) == "json_too_deep"
    with pytest.raises(Refused):
        parse_message(b"{" + b" " * 100 + b"}", JsonLimits(max_bytes=100))


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "data",
    [
        '"id":1', '"id":1,"result":{},"error":{}', '"id":null,"result":{}', '"result":{}',
        '"error":{"code":1}',
        '"id":1,"result":[]', '"id":1,"result":null', '"id":1,"error":"x"', '"id":1,"method":"m","result":{}',
        '"id":1,"params":{},"result":{}', '"id":1.5,"result":{}',
    ],
)  # fmt: skip
def test_malformed_answers_are_refused(data: str) -> None:
    assert code_of('{"jsonrpc":"2.0",' + data + "}") == "message_invalid"


def test_an_error_may_answer_no_id() -> None:
    message = read('{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"x"}}')
    assert isinstance(message, Response)
    assert message.id is None
    assert message.error
    assert not message.result


@given(st.binary(max_size=120))
@pytest.mark.threat("T-PARSER")
def test_any_bytes_are_a_message_or_a_refusal(data: bytes) -> None:
    try:
        read(data)
    except SekishoError:
        return


@given(ids, methods, objects, st.data())
@pytest.mark.threat("T-PARSER")
def test_after_one_flipped_bit_every_reader_sees_the_same_message(
    id_: int | str, method: str, params: Any, data: st.DataObject
) -> None:
    raw = bytearray(json.dumps({"jsonrpc": "2.0", "id": id_, "method": method, "params": params}).encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        message = read(bytes(raw))
    except SekishoError:
        return
    assert isinstance(message, Request)
    seen = json.loads(raw.decode())
    assert (message.id, message.method) == (seen["id"], seen["method"])
    assert json.loads(bytes(message.params or b"null")) == seen.get("params")


def test_an_error_tells_programs_the_code_and_people_the_sentence() -> None:
    answer = json.loads(error_bytes(3, Refused("token_missing", "no token"), call_id="c-1"))
    assert answer["id"] == 3
    assert answer["error"]["code"] == -32001
    assert answer["error"]["message"] == "no token"
    assert answer["error"]["data"]["code"] == "token_missing"
    assert answer["error"]["data"]["call"] == "c-1"
    assert "Bearer" in answer["error"]["data"]["remedy"]


def test_an_error_without_id_or_call_says_null_and_nothing() -> None:
    answer = json.loads(error_bytes(None, Refused("token_missing", "no token")))
    assert answer["id"] is None
    assert "call" not in answer["error"]["data"]


def test_an_unsupported_version_is_answered_with_the_supported_ones() -> None:
    data = json.loads(error_bytes(1, VersionUnsupported("2031-01-01")))["error"]["data"]
    assert data["requested"] == "2031-01-01"
    assert "2026-07-28" in data["supported"]


def test_an_error_tells_its_facts_and_none_of_them_in_the_place_of_a_word_of_ours() -> None:
    known = Refused("resource_unknown", "none", facts={"uri": "test://x", "code": "ok", "remedy": "none"})
    data = json.loads(error_bytes(1, known, call_id="c-1"))["error"]["data"]
    assert data["uri"] == "test://x"
    assert (data["code"], data["call"]) == ("resource_unknown", "c-1")
    assert data["remedy"] == known.remedy

"""What a client says is read whole, once, and means one thing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import (
    ClientMessage,
    ClientNotification,
    ClientRequest,
    ClientResponse,
    JsonLimits,
    ToolCall,
    parse_client_batch,
    parse_client_message,
    parse_tool_call,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)
ids = st.integers(-(10**30), 10**30) | texts
methods = st.from_regex(r"[a-z]{1,10}(/[a-z]{1,10})?", fullmatch=True)


def read(data: bytes | str) -> ClientMessage:
    return parse_client_message(data.encode() if isinstance(data, str) else data, JsonLimits())


def code_of(data: bytes | str) -> str:
    with pytest.raises(SekishoError) as caught:
        read(data)
    return caught.value.code


def call(params: str) -> ToolCall:
    message = read('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + "}")
    assert isinstance(message, ClientRequest)
    return parse_tool_call(message.params)


def call_code(params: str) -> str:
    with pytest.raises(SekishoError) as caught:
        call(params)
    return caught.value.code


@given(ids, methods, objects, st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", "\n: ")]), st.booleans())
def test_a_request_is_read_in_any_style(
    id_: int | str, method: str, params: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": params}
    seen = read(json.dumps(message, separators=separators, ensure_ascii=ascii_only))
    assert seen == ClientRequest(id_, method, params)


@given(objects)
@pytest.mark.threat("T-PARSER")
def test_what_was_judged_is_what_every_reader_finds_in_what_is_sent(params: dict[str, Any]) -> None:
    seen = read(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "m", "params": params}))
    assert isinstance(seen, ClientRequest)
    sent = msgspec.json.encode(seen.params)
    assert json.loads(sent) == msgspec.json.decode(sent) == seen.params


def test_a_message_without_id_is_a_notification_and_absent_params_are_empty() -> None:
    assert read('{"jsonrpc":"2.0","method":"m"}') == ClientNotification("m", {})


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "text",
    [
        '{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}',
        '{"jsonrpc":"2.0","id":1, "method":"a","method":"b"}',
        '{"jsonrpc":"2.0","id":1,"method":"a","m\\u0065thod":"b"}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":{"y":1,"y":2}}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":[{"y":1,"y":1}]}}',
        '{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"v":1,"v":1}}}',
    ],
)
def test_a_member_named_twice_is_refused_at_any_depth(text: str) -> None:
    assert code_of(text) == "json_duplicate_key"
    assert isinstance(
        read('{"jsonrpc":"2.0","id":1,"method":"a","params":{"x":{"y":1,"Y":2}}}'), ClientRequest
    )


@pytest.mark.threat("T-PARSER")
@given(st.dictionaries(texts, values, min_size=1, max_size=4), st.data())
def test_a_second_copy_of_any_member_is_refused(members: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(members)))
    inner = json.dumps(members)[:-1] + ", " + json.dumps(name) + ": 1}"
    assert code_of('{"jsonrpc":"2.0","id":1,"method":"m","params":' + inner + "}") == "json_duplicate_key"


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("member", ['"ID":2', '"Method":"x"', '"extra":1', '"":1', '"jsonrpc ":1'])
def test_unknown_members_and_case_variants_are_refused(member: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":1,"method":"m",' + member + "}") == "message_invalid"


@pytest.mark.parametrize("id_", ["null", "1.0", "1e3", "true", "[]", "{}", '"' + "x" * 300 + '"', "1" * 300])
def test_ids_other_than_short_strings_and_integers_are_refused(id_: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":' + id_ + ',"method":"m"}') == "message_invalid"


@pytest.mark.parametrize("version", ['"1.0"', "2.0", "null", "[]"])
def test_another_json_rpc_version_is_refused(version: str) -> None:
    assert code_of('{"jsonrpc":' + version + ',"id":1,"method":"m"}') == "message_invalid"


@pytest.mark.parametrize("method", ['""', '"a b"', '"x\\n"', '"' + "x" * 200 + '"', "1", "{}"])
def test_what_is_no_method_name_is_refused(method: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":1,"method":' + method + "}") == "message_invalid"


@pytest.mark.parametrize("params", ["[]", "null", "1", '"x"'])
def test_params_other_than_an_object_are_refused(params: str) -> None:
    assert code_of('{"jsonrpc":"2.0","id":1,"method":"m","params":' + params + "}") == "message_invalid"


def test_batches_and_scalars_are_refused() -> None:
    assert code_of('[{"jsonrpc":"2.0","id":1,"method":"m"}]') == "batch_refused"
    assert code_of("[]") == "batch_refused"
    assert {code_of(text) for text in ("1", '"x"', "null", "true")} == {"message_invalid"}


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"a":NaN}', "json_malformed"),
        (b'{"a":1e999}', "json_too_large"),
        (b'{"a":"\\ud800"}', "json_malformed"),
        (b"\xef\xbb\xbf{}", "json_malformed"),
        ('{"a":1}'.encode("utf-16"), "json_malformed"),
        (b'{"a":"\xc0\xaf"}', "json_malformed"),
        (b"{}x", "json_malformed"),
        (b"{} {}", "json_malformed"),
        (b'{"a":1,}', "json_malformed"),
        (b"{'a':1}", "json_malformed"),
        (b'{"a":01}', "json_malformed"),
        (b'{"a":"\x00"}', "json_malformed"),
        (b"", "json_malformed"),
        (b"[" * 100 + b"]" * 100, "json_too_deep"),
    ],
)
def test_what_is_no_strict_json_is_refused(text: bytes, code: str) -> None:
    assert code_of(text) == code


def test_answers_of_a_client_are_told_apart() -> None:
    assert read('{"jsonrpc":"2.0","id":7,"result":{"a":1}}') == ClientResponse(7, {"a": 1}, None)
    error: dict[str, Any] = {"code": -1, "message": "x"}
    assert read('{"jsonrpc":"2.0","id":null,"error":' + json.dumps(error) + "}") == ClientResponse(
        None, None, error
    )


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "members",
    [
        '"id":1', '"id":1,"result":{},"error":{}', '"id":null,"result":{}', '"result":{}', '"error":{"code":1}',
        '"id":1,"result":[]', '"id":1,"result":null', '"id":1,"error":"x"', '"id":1,"method":"m","result":{}',
        '"id":1,"params":{},"result":{}', '"id":1.5,"result":{}',
    ],
)  # fmt: skip
def test_malformed_answers_are_refused(members: str) -> None:
    assert code_of('{"jsonrpc":"2.0",' + members + "}") == "message_invalid"


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
    assert isinstance(message, ClientRequest)
    seen = json.loads(raw.decode())
    assert (message.id, message.method, message.params) == (
        seen["id"],
        seen["method"],
        seen.get("params", {}),
    )


def test_a_tool_call_is_read_and_unknown_parameters_are_dropped() -> None:
    seen = call('{"name":"read","arguments":{"path":"/x"},"_meta":{"progressToken":1},"task":{}}')
    assert seen == ToolCall("read", {"path": "/x"}, {"progressToken": 1})
    assert call('{"name":"now"}') == ToolCall("now", {}, {})


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("key", ["Name", "NAME", "Arguments", "argumentſ", "_META", "_Meta"])
def test_a_parameter_that_differs_in_case_is_refused(key: str) -> None:
    assert call_code('{"name":"a","' + key + '":{}}') == "params_invalid"


@pytest.mark.parametrize(
    "params",
    ["{}", '{"name":1}', '{"name":null}', '{"name":""}', '{"name":"' + "x" * 300 + '"}',
     '{"name":"a","arguments":[]}', '{"name":"a","arguments":null}', '{"name":"a","_meta":1}'],
)  # fmt: skip
def test_parameters_of_the_wrong_shape_are_refused(params: str) -> None:
    assert call_code(params) == "params_invalid"


def batch_code(text: str, most: int = 2) -> str:
    with pytest.raises(SekishoError) as caught:
        parse_client_batch(text.encode(), JsonLimits(), most=most)
    return caught.value.code


def test_a_batch_is_read_message_by_message_and_bounded() -> None:
    one = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
    other = '{"jsonrpc":"2.0","method":"notifications/initialized"}'
    together = parse_client_batch(f" [{one},{other}]".encode(), JsonLimits(), most=2)
    assert together == [read(one), read(other)]
    assert batch_code(f"[{one},{one},{one}]") == "batch_refused"
    for text in ("[]", "{}", "7", f"[[{one}]]", f"[{one},null]", f'[{one},{{"jsonrpc":"2.0"}}]'):
        assert batch_code(text) == "message_invalid"


@given(st.lists(st.tuples(ids, methods, objects), min_size=1, max_size=4))
def test_a_batch_is_read_if_and_only_if_each_message_would_be_read_alone(
    messages: list[tuple[int | str, str, dict[str, Any]]],
) -> None:
    texts = [
        json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params})
        for ident, method, params in messages
    ]
    alone = []
    for text in texts:
        try:
            alone.append(read(text))
        except SekishoError:
            assert batch_code(f"[{','.join(texts)}]", most=4) == "message_invalid"
            return
    assert parse_client_batch(f"[{','.join(texts)}]".encode(), JsonLimits(), most=4) == alone

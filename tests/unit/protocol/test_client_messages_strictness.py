"""What was judged is what is sent: whoever reads the arguments a plugin gets finds the value the gate saw.

Values are generated, then spelled in every way JSON allows (blanks, escapes, number forms), as a stranger would.
"""

from __future__ import annotations

import json
import tracemalloc

import msgspec
import pytest
from fuzz.messages import call_of, client_message, tool_call
from fuzz.values import exactly, read_by_all
from hypothesis import given
from hypothesis import strategies as st
from tests.spelling import OBJECTS, spelled_calls, spelled_text

from sekisho.errors import SekishoError
from sekisho.protocol import JsonLimits, parse_client_message, parse_strict, parse_tool_call, reemit
from sekisho.protocol.client_values import ClientRequest

LIMITS = JsonLimits()


def nested(depth: int, core: str = "1") -> bytes:
    return ('{"name":"a","arguments":{"a":' + "[" * depth + core + "]" * depth + "}}").encode()


def args(members: bytes) -> bytes:
    return b'{"name":"a","arguments":{' + members + b"}}"


def x_is(value: bytes) -> bytes:
    return args(b'"x":' + value)


def code_of(params: bytes) -> str:
    """The code a call with these parameters is refused with, or "ok"."""
    text = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + params + b"}"
    return code_of_text(text)


def code_of_text(text: bytes) -> str:
    try:
        read = parse_client_message(text, LIMITS)
        if isinstance(read, ClientRequest) and read.method == "tools/call":
            parse_tool_call(read.params)
    except SekishoError as error:
        return error.code
    return "ok"


@pytest.mark.threat("T-PARSER")
@given(spelled_calls())
def test_every_reader_finds_the_judged_value_in_what_is_sent(call: tuple[dict[str, object], bytes]) -> None:
    arguments, params = call
    sent = call_of(params)
    assert sent is not None
    assert read_by_all(sent[1]) == exactly(json.loads(params)["arguments"])
    assert json.loads(sent[1]) == arguments
    tool_call(params)


@given(spelled_calls())
def test_writing_again_changes_nothing(call: tuple[dict[str, object], bytes]) -> None:
    sent = call_of(call[1])
    assert sent is not None
    assert reemit(sent[1]) == sent[1]
    assert call_of(b'{"name":"a","arguments":' + sent[1] + b"}") == sent


@given(st.binary(max_size=200))
def test_no_bytes_break_a_property(data: bytes) -> None:
    client_message(data)
    tool_call(data)


@pytest.mark.threat("T-PARSER")
@given(st.data(), OBJECTS, st.text(alphabet='abÅſK"\\é😀', min_size=1, max_size=4))
def test_a_key_named_twice_is_refused_at_any_depth_in_any_spelling(
    data: st.DataObject, around: dict[str, object], key: str
) -> None:
    first, second = data.draw(spelled_text(key)), data.draw(spelled_text(key))
    between = data.draw(st.sampled_from(["", '"x":1,']))
    text = "{" + f"{first}:1,{between}{second}:2" + "}"
    for _ in range(data.draw(st.integers(0, 5))):
        text = data.draw(st.sampled_from(["[1,%s]", '{"y":%s,"z":0}'])) % text.replace("%", "%%")
        text = text.replace("%%", "%")
    params = '{"name":"a","arguments":{"v":' + text + ',"w":' + json.dumps(around) + "}}"
    assert code_of(params.encode()) == "json_duplicate_key"
    twin = params.replace(text, "{" + f"{first}:1" + "}")
    assert code_of(twin.encode()) == "ok"


# name → (refused, its code, a harmless twin)
REFUSED: dict[str, tuple[bytes, str, bytes]] = {
    "argument twice": (args(b'"x":1,"x":1'), "json_duplicate_key", args(b'"x":1,"y":1')),
    "argument twice, escaped": (args(b'"x":1,"\\u0078":2'), "json_duplicate_key", args(b'"x":1,"\\u0079":2')),
    "twice in an empty pair": (args(b'"":1,"":1'), "json_duplicate_key", args(b'"":1," ":1')),
    "name twice": (b'{"name":"a","name":"b"}', "json_duplicate_key", b'{"name":"a"}'),
    "name twice, escaped": (b'{"name":"a","n\\u0061me":"b"}', "json_duplicate_key", b'{"n\\u0061me":"b"}'),
    "arguments twice": (args(b'},"arguments":{"x":1'), "json_duplicate_key", x_is(b'1')),
    "name in capitals": (b'{"Name":"a","name":"b"}', "params_invalid", b'{"title":"a","name":"b"}'),
    "arguments in capitals": (b'{"name":"a","ARGUMENTS":{}}', "params_invalid", b'{"name":"a","ARGUMENTATION":{}}'),
    "long s": ('{"name":"a","argumentſ":{"x":1}}'.encode(), "params_invalid", '{"name":"a","argumentß":1}'.encode()),
    "long s, escaped": (b'{"name":"a","argument\\u017f":{"x":1}}', "params_invalid", b'{"name":"a","argument\\u00e9":1}'),
    "meta in capitals": (b'{"name":"a","_Meta":{}}', "params_invalid", b'{"name":"a","_meta":{}}'),
    "65 deep": (nested(62), "json_too_deep", nested(61)),
    "10000 deep": (nested(10_000), "json_too_deep", nested(50)),
    "10000 deep in a string": (nested(10_000), "json_too_deep", nested(1, '"' + "[" * 10_000 + '"')),
    "escaped lone high surrogate": (x_is(b'"\\ud800"'), "json_malformed", x_is(b'"\\ud800\\udc00"')),
    "escaped lone low surrogate": (x_is(b'"\\udc00"'), "json_malformed", x_is(b'"\\ue000"')),
    "surrogates in the wrong order": (x_is(b'"\\udc00\\ud800"'), "json_malformed", x_is(b'"\\ud83d\\ude00"')),
    "surrogate before a letter": (x_is(b'"\\ud800a"'), "json_malformed", x_is(b'"\\\\ud800a"')),
    "raw surrogate": (x_is(b'"\xed\xa0\x80"'), "json_malformed", x_is(b'"\xee\x80\x80"')),
    "surrogate in a key": (args(b'"\\ud800":1'), "json_malformed", args(b'"\\u0800":1')),
    "NaN": (x_is(b'NaN'), "json_malformed", x_is(b'"NaN"')),
    "Infinity": (x_is(b'Infinity'), "json_malformed", x_is(b'1e308')),
    "-Infinity": (x_is(b'-Infinity'), "json_malformed", x_is(b'-1e308')),
    "1e999": (x_is(b'1e999'), "json_too_large", x_is(b'1e-999')),
    "-1e999": (x_is(b'-1e999'), "json_too_large", x_is(b'-1.7976931348623157e308')),
    "an integer of 5000 digits": (x_is(b"9" * 5000), "json_too_large", x_is(b"9" * 300)),
    "leading zero": (x_is(b'01'), "json_malformed", x_is(b'0.1')),
    "plus": (x_is(b'+1'), "json_malformed", x_is(b'1e+1')),
    "dot without digits": (x_is(b'1.'), "json_malformed", x_is(b'1.0')),
    "hexadecimal": (x_is(b'0x10'), "json_malformed", x_is(b'"0x10"')),
    "overlong UTF-8": (x_is(b'"\xc0\x80"'), "json_malformed", x_is(b'"\\u0000"')),
    "overlong slash": (x_is(b'"\xe0\x80\xaf"'), "json_malformed", x_is(b'"\xe0\xa0\xaf"')),
    "beyond Unicode": (x_is(b'"\xf4\x90\x80\x80"'), "json_malformed", x_is(b'"\xf4\x8f\xbf\xbf"')),
    "NUL in a string": (x_is(b'"\x00"'), "json_malformed", x_is(b'"\\u0000"')),
    "line feed in a string": (x_is(b'"\n"'), "json_malformed", x_is(b'\n"\\n"')),
    "unknown escape": (x_is(b'"\\x41"'), "json_malformed", x_is(b'"\\u0041"')),
    "comment": (b'{"name":"a",/**/"arguments":{}}', "json_malformed", b'{"name":"/**/","arguments":{}}'),
    "line comment": (b'{"name":"a"//\n}', "json_malformed", b'{"name":"a//"\n}'),
    "single quotes": (b"{'name':'a'}", "json_malformed", b'{"name":"\'a\'"}'),
    "bare key": (b'{name:"a"}', "json_malformed", b'{"name":"a"}'),
    "trailing comma": (b'{"name":"a",}', "json_malformed", b'{"name":"a"}'),
    "vertical tab between": (b'{"name":\x0b"a"}', "json_malformed", b'{"name":\t"a"}'),
    "no-break space between": (b'{"name":\xc2\xa0"a"}', "json_malformed", b'{"name":"\xc2\xa0"}'),
    "capitalised true": (x_is(b'True'), "json_malformed", x_is(b'true')),
    "arguments are a list": (b'{"name":"a","arguments":[]}', "params_invalid", args(b'')),
    "arguments are null": (b'{"name":"a","arguments":null}', "params_invalid", b'{"name":"a"}'),
    "name is a number": (b'{"name":1}', "params_invalid", b'{"name":"1"}'),
    "name is empty": (b'{"name":""}', "params_invalid", b'{"name":" "}'),
}  # fmt: skip

WHOLE: dict[str, tuple[bytes, str]] = {
    "byte order mark": (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"ping"}', "json_malformed"),
    "UTF-16": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16"), "json_malformed"),
    "UTF-16 without a mark": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-16-le"), "json_malformed"),
    "UTF-32": ('{"jsonrpc":"2.0","id":1,"method":"ping"}'.encode("utf-32-be"), "json_malformed"),
    "Latin-1": ('{"jsonrpc":"2.0","id":"é","method":"ping"}'.encode("latin-1"), "json_malformed"),
    "two messages": (b'{"jsonrpc":"2.0","id":1,"method":"ping"}{"id":2}', "json_malformed"),
    "trailing word": (b'{"jsonrpc":"2.0","id":1,"method":"ping"} x', "json_malformed"),
    "trailing NUL": (b'{"jsonrpc":"2.0","id":1,"method":"ping"}\x00', "json_malformed"),
    "leading NUL": (b'\x00{"jsonrpc":"2.0","id":1,"method":"ping"}', "json_malformed"),
    "nothing": (b"", "json_malformed"),
    "blanks": (b" \n", "json_malformed"),
    "batch": (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', "batch_refused"),
    "empty batch": (b"[]", "batch_refused"),
    "a string": (b'"ping"', "message_invalid"),
    "null": (b"null", "message_invalid"),
    "method in capitals": (b'{"jsonrpc":"2.0","id":1,"Method":"ping"}', "message_invalid"),
    "method in two cases": (b'{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}', "message_invalid"),
    "Kelvin sign": ('{"jsonrpc":"2.0","id":1,"method":"ping","paramſ":{}}'.encode(), "message_invalid"),
    "method twice": (b'{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}', "json_duplicate_key"),
    "id twice": (b'{"jsonrpc":"2.0","id":1,"method":"ping","id":2}', "json_duplicate_key"),
    "id twice, escaped": (b'{"jsonrpc":"2.0","id":1,"method":"ping","\\u0069d":2}', "json_duplicate_key"),
    "an unknown member": (b'{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}', "message_invalid"),
    "fractional id": (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', "message_invalid"),
    "id true": (b'{"jsonrpc":"2.0","id":true,"method":"ping"}', "message_invalid"),
    "id null": (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', "message_invalid"),
    "long id": (b'{"jsonrpc":"2.0","id":"' + b"x" * 300 + b'","method":"ping"}', "message_invalid"),
    "version as a number": (b'{"jsonrpc":2.0,"id":1,"method":"ping"}', "message_invalid"),
    "no version": (b'{"id":1,"method":"ping"}', "message_invalid"),
    "params as a list": (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', "message_invalid"),
    "method and result": (b'{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}', "message_invalid"),
}  # fmt: skip


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("name", REFUSED)
def test_what_two_readers_could_read_differently_is_refused(name: str) -> None:
    attack, code, twin = REFUSED[name]
    assert code_of(attack) == code
    assert code_of(twin) == "ok"
    tool_call(twin)


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("name", WHOLE)
def test_a_text_that_is_not_one_message_is_refused(name: str) -> None:
    text, code = WHOLE[name]
    assert code_of_text(text) == code
    assert code_of_text(b' {"jsonrpc" : "2.0", "id":1,\n"method":"ping"}\r\n') == "ok"


CARRIED = [
    "-0", "-0.0", "0e0", "1E5", "1e-7", "5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "0.1",
    "9007199254740993", "18446744073709551615", "18446744073709551616", "-9223372036854775809", "9" * 300, "1e22",
    "123456789.123456789e-5", '"\\u0000"', '"\\ud83d\\ude00"', '"😀"', '"\\/"', '"\\u2028"', '"é"', '"\\u00e9"', '""',
]  # fmt: skip


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("text", CARRIED)
def test_what_is_accepted_is_carried_exactly(text: str) -> None:
    sent = call_of(('{"name":"a","arguments":{"x":' + text + "}}").encode())
    assert sent is not None
    assert exactly(msgspec.json.decode(sent[1])) == exactly({"x": json.loads(text)})
    tool_call(('{"name":"a","arguments":{"x":' + text + "}}").encode())


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(
    "piece",
    [b'{"a":', b"[", b'"\\', b'"', b"\\", b"1,", b"[1,", b'"\\u', b"9", b"{}", b'{"":1,', b"\xed\xa0"],
)
def test_memory_grows_with_the_text_and_not_faster(piece: bytes) -> None:
    small, large = (_peak(piece * (size // len(piece))) for size in (1 << 16, 1 << 19))
    assert large < 12 * max(small, 1 << 16)


def _peak(text: bytes) -> int:
    tracemalloc.start()
    try:
        parse_strict(text, JsonLimits(max_members=10_000_000))
    except SekishoError:
        pass  # most of them are refused; what counts is the price
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak

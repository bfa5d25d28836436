"""Lines: one meaning or none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin.messages import MAX_LINE_BYTES, RpcRefusal, error_line, read_line, result_line

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def _line(**members: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **members}).encode() + b"\n"


@given(st.text(max_size=20) | st.integers(-(2**63), 2**63), st.dictionaries(st.text(), JSON, max_size=3))
def test_what_was_written_is_what_is_read(ident: str | int, params: dict[str, object]) -> None:
    message = read_line(_line(id=ident, method="m", params=params))
    assert message is not None
    assert (message.ident, message.method, message.params) == (ident, "m", params)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_to_be_refused(line: bytes) -> None:
    refused: list[RpcRefusal] = []
    try:
        read_line(line)
    except RpcRefusal as refusal:
        refused.append(refusal)
    for one in refused:
        assert json.loads(error_line(one, None))["error"]["code"] in (-32700, -32600)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"nonsense", -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"m"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1,"a":2}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":NaN}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1e999}}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":' + b"9" * 40 + b"}}", -32700),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
            -32700,
        ),
        (b"\xef\xbb\xbf" + _line(id=1, method="m"), -32700),
        ('{"jsonrpc":"2.0","id":1,"method":"m"}'.encode("utf-16"), -32700),
        (_line(id=1, method="\xff").replace(b"\\u00ff", b"\xff"), -32700),
        (b"[" + _line(id=1, method="m") + b"]", -32600),
        (b'{"id":1,"method":"m"}', -32600),
        (b'{"jsonrpc":2.0,"id":1,"method":"m"}', -32600),
        (_line(id=None, method="m"), -32600),
        (_line(id=True, method="m"), -32600),
        (_line(id=1.5, method="m"), -32600),
        (_line(id="x" * 300, method="m"), -32600),
        (_line(id=1, method=5), -32600),
        (_line(id=1, method=""), -32600),
        (_line(id=1, method="m", params=[1]), -32600),
        (_line(id=1, method="m", Params={}), -32600),
        (_line(id=1), -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":' + b"[" * 80 + b"]" * 80 + b"}}", -32600),
        (b" " * (MAX_LINE_BYTES + 1), -32600),
    ],
)
def test_what_has_no_meaning_or_two_is_refused(line: bytes, code: int) -> None:
    with pytest.raises(RpcRefusal) as refused:
        read_line(line)
    assert refused.value.code == code


def test_an_answer_is_read_and_dropped() -> None:
    assert read_line(_line(id=1, result={})) is None


def test_a_refusal_answers_the_request_it_belongs_to() -> None:
    with pytest.raises(RpcRefusal) as refused:
        read_line(_line(id=7, method="m", params=[1]))
    assert json.loads(error_line(refused.value, None))["id"] == 7


def test_a_lone_surrogate_goes_back_as_it_came_and_breaks_no_line() -> None:
    line = result_line("\ud800\u2028\n", {})
    assert line.count(b"\n") == 1
    assert json.loads(line)["id"] == "\ud800\u2028\n"

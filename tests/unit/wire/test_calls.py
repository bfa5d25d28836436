from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.framing import another

from sekisho.cli.compiled import is_compiled
from sekisho.errors import LocalProtocolError, RemoteProtocolError
from sekisho.wire import CallContext, CallFrame, decode_context, encode_context
from sekisho.wire.calls import decode_call, encode_call

CALL = CallFrame(tool="echo", arguments=b"{}", digest="d", timeout_s=1.0)


@given(
    tool=st.text(max_size=20),
    digest=st.text(max_size=20),
    timeout_s=st.floats(0, 1e6),
    number=st.integers(),
    wants_progress=st.booleans(),
    scope=st.none() | st.text(max_size=20),
)
def test_a_call_keeps_its_arguments_byte_for_byte(
    *, tool: str, digest: str, timeout_s: float, number: int, wants_progress: bool, scope: str | None
) -> None:
    context = b"" if scope is None else encode_context(CallContext(scope=scope))
    arguments = b'{"big": %d, "s" :"\\u00e9"}' % number
    frame = CallFrame(tool, arguments, digest, timeout_s, wants_progress=wants_progress, context=context)
    again = decode_call(encode_call(frame))
    assert again.arguments == arguments
    assert (again.tool, again.timeout_s, again.digest) == (tool, timeout_s, digest)
    assert again.wants_progress is wants_progress
    assert again.context == context
    assert decode_context(again.context).scope == (scope or "")


@pytest.mark.threat("T-PARSER")
@given(st.binary(max_size=40), st.integers(0, 39), st.integers(0, 255))
def test_any_bytes_are_a_call_or_an_error(data: bytes, at: int, byte: int) -> None:
    changed = bytearray(encode_call(CALL))
    changed[at % len(changed)] = byte
    for payload in (data, bytes(changed), bytes(changed) + data):
        try:
            frame = decode_call(payload)
        except RemoteProtocolError:
            continue
        again = decode_call(encode_call(frame))
        assert again.arguments == frame.arguments
        assert (again.tool, again.digest, again.timeout_s) == (frame.tool, frame.digest, frame.timeout_s)
        assert again.context == frame.context


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "arguments", [b"", b"{", b"{}x", b'{}}\n{"jsonrpc":"2.0"', b"{\n}", b"[" * 100_000, b'{"a":nan}']
)
def test_arguments_are_one_value_on_one_line(arguments: bytes) -> None:
    payload = encode_call(CallFrame(tool="echo", arguments=arguments, digest="d", timeout_s=1.0))
    with pytest.raises(RemoteProtocolError):
        decode_call(payload)


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf")])
def test_a_time_that_never_ends_is_refused(timeout_s: float) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_call(encode_call(another(CALL, timeout_s=timeout_s)))


@pytest.mark.parametrize(("tool", "digest"), [("x" * 65536, "d"), ("echo", "x" * 256), ("\ud800", "d")])
def test_a_call_whose_head_cannot_hold_it_is_not_sent(tool: str, digest: str) -> None:
    with pytest.raises(LocalProtocolError):
        encode_call(another(CALL, tool=tool, digest=digest))


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "context", [b"{", b"[]", b'{"scope":1}', b'{"style":"loud"}', b'{"more":1}', b"\xff"]
)
def test_a_context_that_no_core_writes_is_refused(context: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_context(context)


def test_a_context_keeps_what_it_says() -> None:
    context = CallContext(
        scope="s",
        style="stream",
        may_ask=("elicitation",),
        log_level="info",
        meta=msgspec.Raw(b'{"traceparent":"00"}'),
        input_responses=msgspec.Raw(b'{"a":{}}'),
        request_state="state",
        instance="i",
    )
    assert decode_context(encode_context(context)) == context
    assert encode_context(CallContext()) == b"{}"


def test_a_call_with_less_time_is_the_same_call_otherwise() -> None:
    call = CallFrame("echo", b'{"n":1}', "d", 5.0, wants_progress=True, context=b"{}")
    assert encode_call(call.within(2.0)) == encode_call(another(call, timeout_s=2.0))
    assert call.timeout_s == 5.0


@pytest.mark.skipif(not is_compiled(), reason="interpreted, only mypy keeps what is final")
def test_nothing_can_be_changed_in_a_call_on_its_way() -> None:
    one: Any = CallFrame("echo", b"{}", "d", 1.0)
    for name in ("arguments", "context", "digest", "timeout_s", "tool", "wants_progress"):
        with pytest.raises(AttributeError):
            setattr(one, name, getattr(one, name))

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import CODES, Refused, RemoteProtocolError, Tampered, Unavailable
from sekisho.wire import CallFrame, FailureFrame, StateFrame, SurfaceFrame
from sekisho.wire.messages import decode_payload, encode_payload, error_of


@given(tool=st.text(max_size=20), timeout_s=st.floats(0, 1e6), number=st.integers())
def test_a_call_keeps_its_arguments_byte_for_byte(tool: str, timeout_s: float, number: int) -> None:
    arguments = msgspec.Raw(b'{"big": %d, "s" :"\\u00e9"}' % number)
    frame = CallFrame(tool=tool, arguments=arguments, digest="d", timeout_s=timeout_s)
    again = decode_payload(encode_payload(frame), CallFrame)
    assert bytes(again.arguments) == bytes(arguments)
    assert (again.tool, again.timeout_s, again.digest) == (tool, timeout_s, "d")


def test_a_surface_keeps_every_item_byte_for_byte() -> None:
    tool = b'{"name":"echo","unknown":{"kept": true}}'
    surface = SurfaceFrame(
        server_info=msgspec.Raw(b"{}"),
        capabilities=msgspec.Raw(b"{}"),
        instructions="x",
        tools=[msgspec.Raw(tool)],
    )
    again = decode_payload(encode_payload(surface), SurfaceFrame)
    assert [bytes(item) for item in again.tools] == [tool]
    assert again.instructions == "x"
    assert again.prompts == []


@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b"null", b'{"state":"odd"}', b'{"state":1}', b"\xff"])
def test_nonsense_is_the_other_sides_error(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_payload(payload, StateFrame)


def test_a_failure_becomes_the_error_of_its_family() -> None:
    families = {"plugin_timeout": Unavailable, "operation_not_allowed": Refused, "seal_broken": Tampered}
    for code, family in families.items():
        assert type(error_of(FailureFrame(code=code, message="m"))) is family
    for code in CODES:
        assert error_of(FailureFrame(code=code, message="m")).code == code


def test_an_unknown_or_long_failure_is_bounded() -> None:
    error = error_of(FailureFrame(code="made_up", message="m" * 10_000))
    assert error.code == "plugin_protocol"
    assert len(error.message) < 600

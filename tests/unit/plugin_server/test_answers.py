from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.plugin_server.answers import MAX_ERROR_BYTES, RpcError, read_error


@given(st.integers(-(2**63), 2**63), st.text(st.characters(codec="utf-8"), max_size=50))
def test_an_error_is_kept_as_it_came(code: int, message: str) -> None:
    raw = json.dumps({"message": message, "code": code, "data": [1]}).encode()
    assert read_error(raw) == RpcError(code, message, raw)


@pytest.mark.threat("T-GARBAGE")
@given(st.binary(max_size=50))
def test_bytes_are_an_error_or_a_breach_of_protocol(raw: bytes) -> None:
    read = read_error(raw)
    assert isinstance(read, RpcError | RemoteProtocolError)


@pytest.mark.threat("T-FLOOD")
def test_an_error_beyond_the_bound_is_none() -> None:
    frame = b'{"code":1,"message":"%b"}'
    room = MAX_ERROR_BYTES - len(frame) + 2
    assert isinstance(read_error(frame % (b"x" * room)), RpcError)
    assert isinstance(read_error(frame % (b"x" * (room + 1))), RemoteProtocolError)

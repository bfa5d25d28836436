from __future__ import annotations

import json

import msgspec
import pytest

from sekisho.errors import CODES, Refused, RemoteProtocolError, Tampered, Unavailable
from sekisho.wire import (
    AskFrame,
    DenialFrame,
    FailureFrame,
    StateFrame,
    SurfaceFrame,
)
from sekisho.wire.messages import decode_payload, encode_payload, error_of


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


@pytest.mark.parametrize(
    "tree", ["sha256:" + "a" * 63, "sha256:" + "A" * 64, "md5:1", "sha256:" + "a" * 64 + "\\n"]
)
def test_a_tree_is_named_by_its_digest_or_not_at_all(tree: str) -> None:
    good = f'{{"server_info":{{}},"capabilities":{{}},"tree":"sha256:{"a" * 64}"}}'.encode()
    assert decode_payload(good, SurfaceFrame).tree.startswith("sha256:")
    with pytest.raises(RemoteProtocolError):
        decode_payload(good.replace(f"sha256:{'a' * 64}".encode(), tree.encode()), SurfaceFrame)


@pytest.mark.parametrize(
    "payload",
    [
        b'{"state":"ready","detail":"' + b"x" * 401 + b'"}',
        b'{"state":"ready","restarts":-1}',
        b'{"state":"ready","restarts":9007199254740993}',
    ],
)
def test_a_state_that_would_fill_the_log_is_refused(payload: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_payload(payload, StateFrame)
    long = StateFrame(state="failed", detail="x" * 400, restarts=1 << 53)
    assert decode_payload(encode_payload(long), StateFrame) == long


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


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "said",
    [
        {"left_out": -1},
        {"left_out": 10**40},
        {"left_out": True},
        {"reason": "r" * 401},
        {"rule": "r" * 401},
        {"target": "t" * 401},
        {"kind": "approved"},
    ],
)
def test_a_denial_that_would_fill_a_log_or_turn_back_a_count_is_refused(said: dict[str, object]) -> None:
    honest = {"kind": "dns", "rule": "r" * 400, "reason": "r" * 400, "target": "t" * 400, "left_out": 10**15}
    assert decode_payload(msgspec.json.encode(honest), DenialFrame).left_out == 10**15
    with pytest.raises(RemoteProtocolError):
        decode_payload(json.dumps(honest | said).encode(), DenialFrame)


def test_a_question_keeps_its_parameters_byte_for_byte() -> None:
    params = b'{"message":"Who?","requestedSchema":{"type": "object"}}'
    again = decode_payload(encode_payload(AskFrame("1", "elicitation/create", msgspec.Raw(params))), AskFrame)
    assert (again.ask, again.method, bytes(again.params)) == ("1", "elicitation/create", params)

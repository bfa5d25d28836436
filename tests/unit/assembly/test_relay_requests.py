from __future__ import annotations

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sekisho.assembly.relay_requests import (
    MAX_HELD_BYTES,
    Answer,
    Asked,
    InFlight,
    OwnRequests,
    error_code,
    read_params,
)

NOTHING = msgspec.Raw(b"{}")


class Wire:
    def __init__(self) -> None:
        self.sent: list[dict[str, str]] = []

    def send(self, message: bytes) -> None:
        self.sent.append(json.loads(message))

    def has_room(self) -> bool:
        return True

    def withdraw(self, ident: int | str) -> None:
        raise AssertionError(ident)


def asked(line: bytes = b"line", method: str = "ping") -> Asked:
    return Asked(method, line, NOTHING, Wire(), is_modern=False)


@given(st.lists(st.integers(0, 5)))
def test_what_was_added_and_settled_leaves_nothing(idents: list[int]) -> None:
    flight = InFlight()
    for ident in idents:
        if flight.settle(ident) is None:
            flight.add(ident, asked(b"x" * ident, "subscriptions/listen" if ident else "ping"))
    flight.clear()
    assert flight.idents == ()
    assert flight.is_idle
    assert flight.has_room(MAX_HELD_BYTES)
    assert not flight.has_room(MAX_HELD_BYTES + 1)


def test_held_bytes_leave_less_room() -> None:
    flight = InFlight()
    flight.add(1, asked(b"x" * MAX_HELD_BYTES))
    assert 1 in flight
    assert not flight.has_room(1)
    flight.settle(1)
    assert flight.has_room(1)


def test_a_request_of_ours_is_heard_once_and_has_an_id_of_its_own() -> None:
    heard: list[Answer | None] = []
    wire, own = Wire(), OwnRequests()
    own.send(wire, "tools/list", b"{}", heard.append)
    own.send(wire, "ping", b"{}")
    first, second = wire.sent[0]["id"], wire.sent[1]["id"]
    assert first != second
    assert own.settle(first, None)
    assert not own.settle(first, None)
    assert heard == [None]
    assert own.settle(second, Answer())
    assert not own.settle(None, None)


@given(st.binary(max_size=40))
def test_any_parameters_and_errors_are_read_or_left_to_the_gateway(text: bytes) -> None:
    read_params(msgspec.Raw(text))
    error_code(msgspec.Raw(text))


def test_the_era_of_a_message_is_what_it_says() -> None:
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    assert read_params(msgspec.Raw(json.dumps({"_meta": meta, "uri": "a://b"}).encode())) == (True, "a://b")
    assert read_params(NOTHING) == (False, "")
    assert error_code(msgspec.Raw(b'{"code":-32020}')) == -32020

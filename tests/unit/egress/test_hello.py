"""The server name is read from real greetings in any fragmentation, and from nothing else."""

import ssl
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.hello import MAX_HELLO_BYTES, server_name
from sekisho.errors import Refused


def greeting(name: str | None) -> bytes:
    """What OpenSSL really sends."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def vector(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return struct.pack("!H", kind) + vector(2, data)


def names(*hosts: bytes) -> bytes:
    return extension(0, vector(2, b"".join(b"\0" + vector(2, host) for host in hosts)))


def record(message: bytes) -> bytes:
    return b"\x16\x03\x01" + vector(2, message)


def handshake(*extensions: bytes, tail: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + vector(1, b"") + vector(2, b"\x13\x01") + vector(1, b"\0")
    body += vector(2, b"".join(extensions)) + tail
    return b"\x01" + vector(3, body)


REAL = greeting("api.example.com")


def test_the_name_of_a_real_greeting_is_read() -> None:
    assert server_name(REAL) == "api.example.com"
    assert server_name(REAL + b"more") == "api.example.com"


@given(cut=st.integers(0, len(REAL) - 1))
def test_an_incomplete_greeting_asks_for_more(cut: int) -> None:
    assert server_name(REAL[:cut]) is None


@given(sizes=st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_a_greeting_cut_into_records_is_put_together(sizes: list[int]) -> None:
    message, cut = REAL[5:], b""
    for size in sizes:
        cut, message = cut + (record(message[:size]) if message[:size] else b""), message[size:]
    whole = cut + (record(message) if message else b"")
    assert server_name(whole) == "api.example.com"


@given(at=st.integers(0, len(REAL) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_read_or_refused_and_never_breaks_the_reader(at: int, bit: int) -> None:
    flipped = bytearray(REAL)
    flipped[at] ^= 1 << bit
    with suppress(Refused):
        name = server_name(bytes(flipped))
        assert name is None or name.isascii()


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"\x16\x02\x00",
        b"\x80\x2e\x01\x03\x01",  # SSL 2 greeting
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\xff\xff",
        record(b"\x02\x00\x00\x04aaaa"),
        record(b"\x01\xff\xff\xff"),
        record(handshake()),
        record(handshake(names(b"api.example.com", b"other.example.com"))),
        record(handshake(names(b"api.example.com"), names(b"other.example.com"))),
        record(handshake(names(b"api.example.com"), tail=b"x")),
        record(handshake(names(b"127.0.0.1"))),
        record(handshake(names(b"api.example.com."))),
        record(handshake(names(b"api.example.com\0.evil.example"))),
        record(handshake(extension(0, b"\x00\x05\x01\x00\x02aa"))),
        record(handshake(extension(0, b""))),
        record(handshake(names(b"api.example.com"), extension(0xFE0D, b"hidden"))),
        record(b"\x01" + vector(3, b"\x03\x03")),
    ],
)
def test_what_does_not_name_exactly_one_server_in_the_clear_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        server_name(data)


def test_a_greeting_without_a_name_is_refused() -> None:
    with pytest.raises(Refused):
        server_name(greeting(None))


@pytest.mark.threat("T-FLOOD")
def test_a_greeting_is_bounded() -> None:
    endless = b"".join(record(bytes([part])) for part in handshake(extension(21, bytes(15_000))))
    with pytest.raises(Refused):
        server_name(endless[:MAX_HELLO_BYTES])


@given(data=st.binary(max_size=100))
def test_random_bytes_never_name_a_server(data: bytes) -> None:
    with suppress(Refused):
        assert server_name(data) is None


def test_a_greeting_in_crumbs_is_refused_before_it_costs_time() -> None:
    message = handshake(names(b"api.example.com"), extension(21, bytes(600)))
    whole = b"".join(
        record(message[at : at + len(message) // 60]) for at in range(0, len(message), len(message) // 60)
    )
    assert server_name(whole) == "api.example.com"
    crumbs = b"".join(record(message[at : at + 1]) for at in range(len(message)))
    with pytest.raises(Refused, match="too many records"):
        server_name(crumbs[: 6 * 65])
    assert server_name(crumbs[: 6 * 64]) is None

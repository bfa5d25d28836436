"""Only listed names exist, each with an address of its own, and no question leaves."""

import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.names import DnsReply, SyntheticNames, answer

A, AAAA, TXT, HTTPS, ANY = 1, 28, 16, 65, 255


def question(name: str, kind: int = A, klass: int = 1, *, flags: int = 0x0100, ident: int = 7) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode("latin-1") for label in name.split(".")) + b"\0"
    return struct.pack("!6H", ident, flags, 1, 0, 0, 0) + labels + struct.pack("!2H", kind, klass)


def ask(query: bytes, names: SyntheticNames | None = None) -> DnsReply:
    reply = answer(
        query, lambda host: host.endswith("example.com"), SyntheticNames() if names is None else names
    )
    assert reply is not None
    return reply


def code(reply: DnsReply) -> int:
    return int(struct.unpack_from("!6H", reply.data)[1]) & 15


def answers(reply: DnsReply) -> int:
    return int(struct.unpack_from("!6H", reply.data)[3])


def test_a_listed_name_gets_a_synthetic_address_that_tells_the_name() -> None:
    names = SyntheticNames()
    reply = ask(question("API.Example.com"), names)
    address = IPv4Address(reply.data[-4:])
    assert (code(reply), answers(reply), reply.refused) == (0, 1, None)
    assert address == IPv4Address("127.1.0.1")
    assert names.name_of(address) == "api.example.com"
    assert reply.data[:2] == b"\0\x07"
    assert question("API.Example.com")[12:] in reply.data  # the spelling of the question comes back unchanged


def test_the_same_name_keeps_its_address_and_another_gets_another() -> None:
    names = SyntheticNames()
    first, again, other = (
        ask(question(name), names).data[-4:] for name in ("a.example.com", "A.example.com", "b.example.com")
    )
    assert first == again != other


@pytest.mark.parametrize("kind", [AAAA, TXT, HTTPS, ANY])
def test_other_types_of_a_listed_name_are_empty(kind: int) -> None:
    reply = ask(question("api.example.com", kind))
    assert (code(reply), answers(reply), reply.refused) == (0, 0, None)


@pytest.mark.threat("T-EGRESS")
def test_a_name_that_carries_data_out_does_not_exist_and_is_reported() -> None:
    reply = ask(question("c2VjcmV0.evil.example"))
    assert (code(reply), answers(reply), reply.refused) == (3, 0, "c2vjcmv0.evil.example")


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "1.0.0.127", "a_b.example.com", "a.b..example.com"[:3] + "\0.example.com"]
)
def test_what_is_no_host_name_does_not_exist(name: str) -> None:
    reply = ask(question(name))
    assert (code(reply), reply.refused) == (3, "")


def test_a_dot_inside_a_label_does_not_make_a_listed_name() -> None:
    query = struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\x0bexample.com\0" + struct.pack("!2H", A, 1)
    assert code(ask(query)) == 3


def test_a_class_other_than_internet_does_not_exist() -> None:
    assert code(ask(question("api.example.com", klass=3))) == 3


@pytest.mark.parametrize("query", [b"", b"\0" * 11, question("api.example.com", flags=0x8000)])
def test_what_is_no_question_gets_no_answer(query: bytes) -> None:
    assert answer(query, lambda _host: True, SyntheticNames()) is None


@pytest.mark.parametrize(
    "query",
    [
        question("api.example.com")[:-1],
        question("api.example.com", flags=0x2800),
        struct.pack("!6H", 1, 0, 2, 0, 0, 0) + question("a.example.com")[12:] * 2,
        struct.pack("!6H", 1, 0, 1, 0, 0, 0) + b"\xc0\x0c" + struct.pack("!2H", A, 1),
        struct.pack("!6H", 1, 0, 1, 0, 0, 0),
    ],
)
def test_a_malformed_question_is_answered_as_such(query: bytes) -> None:
    reply = ask(query)
    assert (code(reply), len(reply.data)) == (1, 12)


def test_an_extended_question_is_answered_plainly() -> None:
    query = question("api.example.com")
    extended = query[:10] + b"\0\1" + query[12:] + b"\0\0\x29\x10\0\0\0\0\0\0\0"
    assert answers(ask(extended)) == 1


@pytest.mark.threat("T-FLOOD")
def test_invented_names_are_bounded_and_the_oldest_is_forgotten() -> None:
    names = SyntheticNames(max_names=2)
    first = names.address_of("a.example.com")
    names.address_of("b.example.com")
    assert names.address_of("c.example.com") == first
    assert names.name_of(first) == "c.example.com"
    assert names.address_of("b.example.com") != first


@given(hosts=st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=20), bound=st.integers(1, 5))
def test_an_address_always_belongs_to_the_name_it_was_last_given_to(hosts: list[str], bound: int) -> None:
    names = SyntheticNames(max_names=bound)
    for host in hosts:
        assert names.name_of(names.address_of(host)) == host
        assert str(names.address_of(host)).startswith("127.1.")


@given(data=st.binary(max_size=120))
def test_random_bytes_never_earn_an_address(data: bytes) -> None:
    reply = answer(data, lambda _host: False, SyntheticNames())
    assert reply is None or (code(reply) in (1, 3) and answers(reply) == 0 and reply.refused is not None)

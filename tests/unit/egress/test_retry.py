"""A second greeting names the host of the first; handshakes of every kind pass, in any pieces."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.real.egress_door import Internet

from sekisho.egress.retry import MAX_BETWEEN_BYTES, MAX_RECORDS, Greetings
from sekisho.errors import Refused

NAME, OTHER = b"api.example.com", b"evi.example.com"
EARLY_DATA = b"\x17\x03\x03\x00\x20" + bytes(32)
CHANGE = b"\x14\x03\x03\x00\x01\x01"
WARNING = b"\x15\x03\x03\x00\x02\x01\x70"

pytestmark = pytest.mark.threat("T-EGRESS")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Internet(tmp_path_factory.mktemp("host")).certificate


class Handshake:
    """OpenSSL on both sides; the host knows a curve that the first greeting does not offer, if it `asks_again`."""

    def __init__(self, certificate: Path, *, asks_again: bool, newest: ssl.TLSVersion) -> None:
        self.names: list[str | None] = []
        inner = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        inner.check_hostname, inner.verify_mode = False, ssl.CERT_NONE
        inner.maximum_version = newest
        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outer.load_cert_chain(certificate)
        outer.set_ecdh_curve("secp384r1" if asks_again else "prime256v1")
        if not asks_again:
            inner.set_ecdh_curve("prime256v1")
        outer.sni_callback = lambda _tls, name, _context: self.names.append(name)
        bios = [ssl.MemoryBIO() for _ in range(4)]
        self._to_plugin, self._from_plugin, self._to_host, self._from_host = bios
        self._plugin = inner.wrap_bio(bios[0], bios[1], server_hostname=NAME.decode())
        self._host = outer.wrap_bio(bios[2], bios[3], server_side=True)

    def plugin(self, heard: bytes = b"") -> bytes:
        """What the plugin says next."""
        self._to_plugin.write(heard)
        with suppress(ssl.SSLWantReadError):
            self._plugin.do_handshake()
        return self._from_plugin.read()

    def host(self, heard: bytes) -> bytes:
        """What the host answers."""
        self._to_host.write(heard)
        with suppress(ssl.SSLWantReadError, ssl.SSLError):
            self._host.do_handshake()
        return self._from_host.read()


def again(certificate: Path) -> tuple[Handshake, bytes, bytes, bytes]:
    """A handshake up to the second greeting: it, and the first three flights."""
    shaking = Handshake(certificate, asks_again=True, newest=ssl.TLSVersion.TLSv1_3)
    first = shaking.plugin()
    asked = shaking.host(first)
    second = shaking.plugin(asked)
    assert NAME in first
    assert NAME in second
    return shaking, first, asked, second


def test_openssl_believes_the_second_name_which_is_why_it_is_looked_at(certificate: Path) -> None:
    shaking, _, _, second = again(certificate)
    shaking.host(second.replace(NAME, OTHER))
    assert shaking.names == [NAME.decode(), OTHER.decode()]


def test_another_name_in_a_second_greeting_is_refused(certificate: Path) -> None:
    _, first, asked, second = again(certificate)
    greetings = Greetings(NAME.decode())
    assert greetings.from_plugin(first)
    assert not greetings.from_host(asked)
    with pytest.raises(Refused, match="another host"):
        greetings.from_plugin(second.replace(NAME, OTHER))


@pytest.mark.parametrize("between", [b"", EARLY_DATA, CHANGE + EARLY_DATA * 3])
def test_early_data_before_it_hides_no_second_greeting(certificate: Path, between: bytes) -> None:
    _, first, asked, second = again(certificate)
    for name in (NAME, OTHER):
        greetings = Greetings(NAME.decode())
        assert greetings.from_plugin(first + between)
        greetings.from_host(WARNING + asked)
        assert greetings.from_plugin(between) or not between
        if name == OTHER:
            with pytest.raises(Refused, match="another host"):
                greetings.from_plugin(second.replace(NAME, name))
        else:
            assert not greetings.from_plugin(second)


def test_a_second_greeting_that_nobody_asked_for_is_refused(certificate: Path) -> None:
    _, first, _, second = again(certificate)
    for said in (first + second, first + CHANGE + second, first + b"\x16\x03\x03\x00\x00"):
        with pytest.raises(Refused, match="unasked"):
            Greetings(NAME.decode()).from_plugin(said)


def test_a_second_greeting_in_the_record_of_the_first_is_refused(certificate: Path) -> None:
    _, first, _, second = again(certificate)
    both = first[5:] + second[second.index(b"\x16\x03\x03") + 5 :]
    with pytest.raises(Refused, match="unasked"):
        Greetings(NAME.decode()).from_plugin(b"\x16\x03\x01" + len(both).to_bytes(2, "big") + both)


def test_what_is_no_greeting_where_one_must_come_is_refused(certificate: Path) -> None:
    _, first, asked, _ = again(certificate)
    for said in (
        b"\x16\x03\x03\x00\x04\x10\x00\x00\x00",
        b"\x16\x03\x03\x00\x04\x01\xff\xff\xff",
        b"\x18\x03\x03\x00\x01a",
    ):
        greetings = Greetings(NAME.decode())
        greetings.from_plugin(first)
        greetings.from_host(asked)
        with pytest.raises(Refused):
            greetings.from_plugin(said)


@pytest.mark.threat("T-FLOOD")
def test_early_data_without_end_is_refused(certificate: Path) -> None:
    _, first, _, _ = again(certificate)
    greetings = Greetings(NAME.decode())
    greetings.from_plugin(first)
    with pytest.raises(Refused, match="does not begin"):
        greetings.from_plugin(EARLY_DATA * (MAX_BETWEEN_BYTES // len(EARLY_DATA) + 1))


EMPTY = b"\x17\x03\x03\x00\x00"
ENDLESS = {"alerts": WARNING, "empty alerts": b"\x15\x03\x03\x00\x00", "empty": b"\x16\x03\x03\x00\x00"}


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("record", ENDLESS.values(), ids=list(ENDLESS))
def test_a_host_that_never_begins_to_answer_is_refused_after_a_bounded_number_of_records(
    certificate: Path, record: bytes
) -> None:
    _, first, asked, _ = again(certificate)
    greetings = Greetings(NAME.decode())
    greetings.from_plugin(first)
    assert greetings.from_host(record * (MAX_RECORDS - 1))
    with pytest.raises(Refused, match="does not begin"):
        greetings.from_host(record * 2)
    patient = Greetings(NAME.decode())
    patient.from_plugin(first)
    assert not patient.from_host(record * 3 + asked)


@pytest.mark.threat("T-FLOOD")
def test_a_plugin_that_sends_empty_records_without_end_is_refused(certificate: Path) -> None:
    _, first, _, _ = again(certificate)
    greetings = Greetings(NAME.decode())
    greetings.from_plugin(first + EMPTY * 3)
    with pytest.raises(Refused, match="does not begin"):
        greetings.from_plugin(EMPTY * MAX_RECORDS)


@pytest.mark.parametrize("said", [bytes(1 << 16), b"HTTP/1.1 400 Bad Request\r\n\r\n", EMPTY, EARLY_DATA])
def test_what_is_no_answer_to_a_greeting_settles_it_at_once(certificate: Path, said: bytes) -> None:
    _, first, _, _ = again(certificate)
    greetings = Greetings(NAME.decode())
    greetings.from_plugin(first)
    assert not greetings.from_host(said)
    assert not greetings.from_plugin(b"")


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("asks_again", [False, True])
@given(size=st.integers(1, 2000))
def test_an_honest_handshake_passes_in_any_pieces_and_is_settled(
    certificate: Path, asks_again: bool, newest: ssl.TLSVersion, size: int
) -> None:
    shaking, greetings = (
        Handshake(certificate, asks_again=asks_again, newest=newest),
        Greetings(NAME.decode()),
    )
    looks = [greetings.from_plugin, greetings.from_host]
    watched = [True, True]
    said = shaking.plugin()
    for turn in range(6):
        side = turn % 2
        for at in range(0, len(said), size):
            watched[side] = watched[side] and looks[side](said[at : at + size])
        said = shaking.host(said) if side == 0 else shaking.plugin(said)
    assert watched == [False, False] or (not watched[1] and not greetings.from_plugin(b""))
    assert set(shaking.names) == {NAME.decode()}


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=80)), max_size=12))
def test_random_bytes_of_both_sides_are_passed_or_refused(said: list[tuple[bool, bytes]]) -> None:
    greetings = Greetings(NAME.decode())
    with suppress(Refused):
        for is_plugin, data in said:
            (greetings.from_plugin if is_plugin else greetings.from_host)(data)

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused, RemoteProtocolError, Tampered
from sekisho.keys import Role, SpiffeId
from sekisho.wire import upgrade

CORE = SpiffeId(trust_domain="example.org", role=Role.CORE, name="main")
PLUGIN = SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="echo")


@given(token=st.from_regex(r"[A-Za-z0-9_.-]{1,60}", fullmatch=True), cut=st.integers(0, 200))
def test_a_request_is_read_once_it_is_whole(token: str, cut: int) -> None:
    request = upgrade.request_bytes(token)
    assert upgrade.read_request(request) == token
    assert upgrade.read_request(request[: min(cut, len(request) - 1)]) is None


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "change",
    [
        (b"GET", b"POST"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/channel", b"/channel?x"),
        (b"Host: sekisho", b"Host: sekisho\r\nHost: other"),
        (b"Host: sekisho\r\n", b""),
        (b"Authorization", b"authorization"),
        (b"Bearer t", b"Bearer t\r\nContent-Length: 5"),
        (b"Bearer t", b"Bearer t\r\n x"),
        (b"Bearer t", b"Bearer "),
        (b"\r\n", b"\n"),
        (b"channel/1", b"channel/2"),
        (b"\r\n\r\n", b"\r\n\r\nmore"),
    ],
)
def test_every_other_form_of_request_is_refused(change: tuple[bytes, bytes]) -> None:
    request = upgrade.request_bytes("t").replace(*change)
    if b"\r\n\r\n" not in request:
        request += b"\r\n\r\n"
    with pytest.raises(Refused):
        upgrade.read_request(request)


@pytest.mark.threat("T-FLOOD")
def test_an_endless_head_is_refused() -> None:
    with pytest.raises(Refused):
        upgrade.read_request(b"x" * (upgrade.MAX_HEAD_BYTES + 1))


@given(nonce=st.binary(min_size=32, max_size=32), rest=st.binary(max_size=20))
def test_a_welcome_brings_the_nonce(nonce: bytes, rest: bytes) -> None:
    assert upgrade.read_answer(upgrade.welcome_bytes(nonce) + rest) == (nonce, rest)
    assert upgrade.read_answer(upgrade.welcome_bytes(nonce)[:-1]) is None


def test_a_refusal_brings_its_error() -> None:
    with pytest.raises(Refused) as caught:
        upgrade.read_answer(upgrade.refusal_bytes(Refused("token_not_accepted", "it has expired")))
    assert caught.value.code == "token_not_accepted"
    assert caught.value.message == "it has expired"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0\r\n\r\n",
        upgrade.refusal_bytes(Refused("token_not_accepted", "x")).replace(b"{", b"["),
    ],
)
def test_another_answer_is_the_other_sides_error(answer: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        upgrade.read_answer(answer)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_answer_nothing_yet_or_an_error(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        assert upgrade.read_answer(data + b"\r\n\r\n") is not None


def test_the_epoch_is_bound_to_both_names_the_nonce_and_the_certificate() -> None:
    base = upgrade.epoch_info(core=CORE, plugin=PLUGIN, nonce=b"n", core_x5t="x")
    others = {
        upgrade.epoch_info(core=PLUGIN, plugin=PLUGIN, nonce=b"n", core_x5t="x"),
        upgrade.epoch_info(core=CORE, plugin=CORE, nonce=b"n", core_x5t="x"),
        upgrade.epoch_info(core=CORE, plugin=PLUGIN, nonce=b"m", core_x5t="x"),
        upgrade.epoch_info(core=CORE, plugin=PLUGIN, nonce=b"n", core_x5t="y"),
        upgrade.epoch_info(core=CORE, plugin=PLUGIN, nonce=b"nx", core_x5t=""),
    }
    assert len(others | {base}) == 6


def test_a_hang_up_after_the_handshake_says_what_it_means() -> None:
    error = upgrade.hung_up()
    assert isinstance(error, Tampered)
    assert "refused our certificate" in error.message


def test_a_nonce_has_one_spelling() -> None:
    welcome = upgrade.welcome_bytes(bytes(32))
    assert upgrade.read_answer(welcome) == (bytes(32), b"")
    twin = welcome.replace(b"A\r\n\r\n", b"B\r\n\r\n")
    assert twin != welcome
    with pytest.raises(RemoteProtocolError):
        upgrade.read_answer(twin)


def test_a_refusal_that_is_not_text_is_the_other_sides_error() -> None:
    refusal = upgrade.refusal_bytes(Refused("token_not_accepted", "no")).replace(b"no", b"\xff\xff")
    with pytest.raises(RemoteProtocolError):
        upgrade.read_answer(refusal)

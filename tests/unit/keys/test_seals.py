from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import LocalProtocolError, Misconfigured, Tampered
from sekisho.keys import SealPair, accept, offer, seals


def pair() -> tuple[SealPair, SealPair]:
    secret, salt = b"s" * 32, b"n" * 32
    return SealPair(secret=secret, salt=salt, role="core"), SealPair(secret=secret, salt=salt, role="plugin")


def test_an_offer_opens_for_its_recipient_and_context_only() -> None:
    key = X25519PrivateKey.generate()
    enc, secret = offer(key.public_key().public_bytes_raw(), b"context")
    assert accept(key, enc, b"context") == secret
    for wrong_key, wrong_enc, wrong_info in (
        (X25519PrivateKey.generate(), enc, b"context"),
        (key, enc[:-1] + bytes([enc[-1] ^ 1]), b"context"),
        (key, enc, b"another"),
        (key, b"", b"context"),
    ):
        with pytest.raises(Tampered):
            accept(wrong_key, wrong_enc, wrong_info)


@pytest.mark.parametrize("public", [b"", b"\0" * 32, b"x" * 31])
def test_an_unusable_recipient_key_is_refused(public: bytes) -> None:
    with pytest.raises(Misconfigured):
        offer(public, b"")


@pytest.mark.requirement("A4.3")
@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=20))
def test_records_of_both_directions_round_trip_in_order(records: list[tuple[bool, bytes]]) -> None:
    core, plugin = pair()
    for from_core, plaintext in records:
        sender, receiver = (core, plugin) if from_core else (plugin, core)
        assert receiver.open(sender.seal(plaintext, b"aad"), b"aad") == plaintext


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=20))
def test_a_record_written_to_its_place_is_the_record_that_would_have_been_made(
    records: list[tuple[bool, bytes]],
) -> None:
    (core, plugin), (same, _) = pair(), pair()
    for is_placed, plaintext in records:
        place = bytearray(len(plaintext) + 16)
        if is_placed:
            core.seal_into(plaintext, memoryview(place))
        else:
            place[:] = core.seal(plaintext)
        assert bytes(place) == same.seal(plaintext)
        assert plugin.open(bytes(place)) == plaintext


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), max_size=20), st.integers(min_value=0))
def test_a_record_opened_into_its_place_is_the_one_that_would_have_been_read(
    records: list[tuple[bool, bytes]], bit: int
) -> None:
    core, plugin = pair()
    for is_placed, plaintext in records:
        record, place = core.seal(plaintext), bytearray(len(plaintext))
        if is_placed:
            plugin.open_into(memoryview(record), memoryview(place))
        else:
            place[:] = plugin.open(record)
        assert place == plaintext
    good = core.seal(b"more")
    touched = bytearray(good)
    touched[bit // 8 % len(touched)] ^= 1 << bit % 8
    with pytest.raises(Tampered):
        plugin.open_into(memoryview(touched), memoryview(bytearray(4)))
    with pytest.raises(Tampered):  # nothing is believed after that, not even what was sent
        plugin.open_into(memoryview(good), memoryview(bytearray(4)))


@pytest.mark.requirement("A4.3")
@given(plaintext=st.binary(max_size=100), position=st.integers(min_value=0), bit=st.integers(0, 7))
def test_one_flipped_bit_is_always_noticed(plaintext: bytes, position: int, bit: int) -> None:
    core, plugin = pair()
    record = bytearray(core.seal(plaintext))
    record[position % len(record)] ^= 1 << bit
    with pytest.raises(Tampered):
        plugin.open(bytes(record))


@pytest.mark.threat("T-REPLAY")
@pytest.mark.parametrize("trick", ["replay", "reorder or drop", "shorten", "other data"])
def test_replayed_reordered_dropped_and_shortened_records_are_refused(trick: str) -> None:
    core, plugin = pair()
    first, second = core.seal(b"one"), core.seal(b"two")
    record = {"replay": first, "reorder or drop": second, "shorten": first[:-1], "other data": first}[trick]
    if trick == "replay":
        plugin.open(first)
    with pytest.raises(Tampered):
        plugin.open(record, b"other" if trick == "other data" else None)


@pytest.mark.threat("T-REPLAY")
def test_a_record_sent_back_to_its_sender_is_refused() -> None:
    core, _ = pair()
    with pytest.raises(Tampered):
        core.open(core.seal(b"one"))


def test_a_pair_trusts_nothing_after_one_broken_record() -> None:
    core, plugin = pair()
    good = core.seal(b"one")
    with pytest.raises(Tampered):
        plugin.open(b"broken" * 8)
    with pytest.raises(Tampered):
        plugin.open(good)


def test_another_nonce_of_the_receiver_makes_recorded_traffic_worthless() -> None:
    core, _ = pair()
    fresh = SealPair(secret=b"s" * 32, salt=b"m" * 32, role="plugin")
    with pytest.raises(Tampered):
        fresh.open(core.seal(b"one"))


@pytest.mark.interpreted
def test_an_epoch_ends_before_its_numbers_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "MAX_RECORDS", 2)
    core, plugin = pair()
    for _ in range(2):
        plugin.open(core.seal(b""))
    assert core.records == plugin.records == 2
    with pytest.raises(LocalProtocolError):
        core.seal(b"")
    with pytest.raises(Tampered):
        plugin.open(b"")


def test_short_secrets_and_salts_are_refused() -> None:
    with pytest.raises(LocalProtocolError):
        SealPair(secret=b"s", salt=b"n" * 32, role="core")
    with pytest.raises(LocalProtocolError):
        SealPair(secret=b"s" * 32, salt=b"", role="core")

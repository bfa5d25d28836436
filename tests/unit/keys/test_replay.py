from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.keys import Nonces, SeenProofs
from sekisho.keys.replay import PROOF_LIFE_S

NOW = 1_800_000_000.0


@pytest.mark.threat("T-TOKEN-STOLEN")
@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("12"), st.floats(0, 40)), max_size=30))
def test_an_id_is_admitted_once_as_long_as_its_proof_lives(steps: list[tuple[str, str, float]]) -> None:
    seen, last, now = SeenProofs(), dict[tuple[str, str], float](), NOW
    for jkt, jti, pause in steps:
        now += pause
        is_dead = now - last.get((jkt, jti), float("-inf")) >= PROOF_LIFE_S
        if seen.admit(jkt, jti, now):
            assert is_dead
            last[jkt, jti] = now
        else:
            assert now - last[jkt, jti] < 3 * PROOF_LIFE_S  # a quiet memory forgets late


def test_an_id_belongs_to_its_key() -> None:
    seen = SeenProofs()
    assert seen.admit("a", "bc", NOW)
    assert seen.admit("ab", "c", NOW)
    assert not seen.admit("a", "bc", NOW)


def test_a_full_memory_refuses_instead_of_forgetting() -> None:
    seen = SeenProofs(limit=3, share=9)
    assert [seen.admit("a", str(n), NOW) for n in range(4)] == [True, True, True, False]
    assert not seen.admit("a", "0", NOW)
    assert seen.admit("a", "9", NOW + PROOF_LIFE_S)


def test_one_key_cannot_take_the_room_of_the_others() -> None:
    seen = SeenProofs(limit=9, share=2)
    assert [seen.admit("a", str(n), NOW) for n in range(3)] == [True, True, False]
    assert seen.admit("b", "1", NOW)


def test_memory_is_given_back() -> None:
    seen = SeenProofs()
    for n in range(100):
        seen.admit("a", str(n), NOW)
    seen.admit("a", "x", NOW + PROOF_LIFE_S)
    seen.admit("a", "y", NOW + 2 * PROOF_LIFE_S)
    assert len(seen) == 2


def test_nonces_are_known_again_by_whoever_holds_the_secret() -> None:
    one, other, stranger = Nonces(b"a" * 32), Nonces(b"a" * 32), Nonces(b"b" * 32)
    nonce = one.current(NOW)
    assert other.is_fresh(nonce, NOW)
    assert other.is_fresh(nonce, NOW + 150)
    assert not other.is_fresh(nonce, NOW + 300)
    assert not stranger.is_fresh(nonce, NOW)
    assert not one.is_fresh("", NOW)
    assert not one.is_fresh("ü", NOW)
    assert nonce.isascii()
    assert nonce.isprintable()

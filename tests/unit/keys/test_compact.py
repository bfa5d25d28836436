from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey
from tests.issuing import Issuer, as_json, b64, forged

from sekisho.errors import Refused
from sekisho.keys.access_tokens import refused
from sekisho.keys.compact import ALGORITHMS, has_compact_form, read_compact, verify_compact
from sekisho.keys.jwk import read_public_jwk

NOW = 1_800_000_000.0
ISSUER = Issuer()
KEY = read_public_jwk(ISSUER.jwk())
TOKEN = ISSUER.token(NOW)


def accepts(token: str) -> bool:
    assert KEY is not None
    try:
        verify_compact(read_compact(token, refused), KEY, refused)
    except Refused as error:
        return error.code != "token_invalid"
    return True


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_accepted_algorithm_verifies_its_own_signature_and_no_other(algorithm: str) -> None:
    issuer = Issuer.of(algorithm)
    key = read_public_jwk(issuer.jwk())
    assert key is not None
    verify_compact(read_compact(issuer.token(NOW), refused), key, refused)
    other = read_public_jwk(Issuer.of(algorithm).jwk())
    assert other is not None
    with pytest.raises(Refused, match="signature"):
        verify_compact(read_compact(issuer.token(NOW), refused), other, refused)


@pytest.mark.threat("T-TOKEN-FORGED")
def test_no_signature_at_all_is_refused() -> None:
    header, payload, _ = TOKEN.split(".")
    for algorithm in ("none", "None", "NONE", ""):
        assert not accepts(f"{b64(as_json(ISSUER.header(alg=algorithm)))}.{payload}.")
        assert not accepts(f"{b64(as_json(ISSUER.header(alg=algorithm)))}.{payload}.{b64(b'x')}")
    assert not accepts(f"{header}.{payload}.")
    assert accepts(TOKEN)


@pytest.mark.threat("T-TOKEN-FORGED")
@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_our_knowledge_of_the_public_key_is_not_a_secret_to_sign_with(algorithm: str) -> None:
    public = ISSUER.key.as_dict(private=False)
    secrets = [as_json(public), as_json(ISSUER.jwk()), str(public["x"]).encode()]
    for secret in secrets:
        key = OctKey.import_key(secret)
        assert not accepts(forged(ISSUER.header(alg=algorithm), ISSUER.claims(NOW), key, algorithm))
        assert not accepts(forged(ISSUER.header(), ISSUER.claims(NOW), key, algorithm))


@pytest.mark.threat("T-TOKEN-FORGED")
def test_an_algorithm_of_another_kind_of_key_is_refused() -> None:
    for algorithm in ("RS256", "PS256", "ES384", "EdDSA"):
        other = Issuer.of(algorithm, kid=ISSUER.kid)
        assert not accepts(other.token(NOW))


@pytest.mark.threat("T-TOKEN-FORGED")
def test_one_rsa_key_is_held_to_the_algorithm_it_states() -> None:
    issuer = Issuer.of("RS256")
    stated, free = (read_public_jwk(issuer.jwk(**more)) for more in ({}, {"alg": None}))
    token = forged(issuer.header(alg="PS256"), issuer.claims(NOW), issuer.key, "PS256")
    assert stated is not None
    assert free is not None
    with pytest.raises(Refused):
        verify_compact(read_compact(token, refused), stated, refused)
    verify_compact(read_compact(token, refused), free, refused)


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_key_that_the_token_brings_along_is_not_followed() -> None:
    thief = Issuer(kid=ISSUER.kid)
    headers: tuple[dict[str, Any], ...] = (
        {"jwk": thief.jwk()},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/chain"},
        {"x5c": ["AAAA"]},
    )
    for header in headers:
        assert not accepts(thief.token(NOW, header))
        assert accepts(ISSUER.token(NOW, header))


@pytest.mark.threat("T-TOKEN-FORGED")
def test_what_is_marked_critical_is_refused_because_it_is_not_understood() -> None:
    headers: tuple[dict[str, Any], ...] = (
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
    )
    for header in headers:
        assert not accepts(ISSUER.token(NOW, header))
    assert accepts(ISSUER.token(NOW, {"unheard-of": 1}))


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_member_named_twice_is_refused_in_header_and_payload() -> None:
    good_header, good = as_json(ISSUER.header()), as_json(ISSUER.claims(NOW))
    twice = good[:-1] + b',"sub":"root"}'
    assert json.loads(twice)["sub"] == "root"
    assert not accepts(forged(good_header, twice, ISSUER.key, "ES256"))
    assert not accepts(forged(good_header[:-1] + b',"alg":"ES256"}', good, ISSUER.key, "ES256"))
    assert accepts(forged(good_header, good, ISSUER.key, "ES256"))


@pytest.mark.parametrize(
    "payload",
    [b"[]", b'"x"', b"{", b"\xff{}", b"\xef\xbb\xbf{}", b'{"exp":NaN}', b'{"a":' * 50 + b"1" + b"}" * 50],
)
def test_a_payload_that_is_no_strict_object_is_refused(payload: bytes) -> None:
    assert not accepts(forged(ISSUER.header(), payload, ISSUER.key, "ES256"))


def test_a_huge_payload_is_refused_before_its_signature_is_checked() -> None:
    assert not accepts(ISSUER.token(NOW, pad="x" * (16 << 10)))
    assert accepts(ISSUER.token(NOW, pad="x" * (7 << 10)))


def test_only_one_spelling_of_the_same_bytes_is_accepted() -> None:
    header, payload, signature = TOKEN.split(".")
    assert not accepts(TOKEN + "=")
    assert not accepts(f"{header}.{payload}.{signature}A")
    last = signature[-1]
    twin = {"A": "B", "Q": "R", "g": "h", "w": "x"}.get(last)
    if twin is not None:  # the last letter of 64 bytes carries two bits; its twins differ in the rest
        assert not accepts(TOKEN[:-1] + twin)
    assert not accepts(TOKEN.replace(".", ".\n", 1))


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.characters(codec="ascii"))
def test_one_changed_character_is_always_noticed(place: int, char: str) -> None:
    changed = TOKEN[:place] + char + TOKEN[place + 1 :]
    assert accepts(changed) == (changed == TOKEN)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    has_compact_form(text)
    assert not accepts(text)

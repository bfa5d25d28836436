from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import RSAKey
from tests.issuing import Issuer, b64

from sekisho.keys.jwk import read_public_jwk

EC = Issuer().jwk()
RSA = Issuer.of("RS256").jwk()


def test_each_kind_of_key_verifies_what_it_can() -> None:
    for kind, algorithms in (
        ("RS256", {"RS256", "PS256"}),
        ("ES256", {"ES256"}),
        ("ES384", {"ES384"}),
        ("EdDSA", {"EdDSA", "Ed25519"}),
    ):
        key = read_public_jwk(Issuer.of(kind).jwk(alg=None, use=None) | {"use": "sig"})
        assert key is not None
        assert key.algorithms == algorithms


def test_the_two_names_of_one_algorithm_are_one() -> None:
    for name in ("EdDSA", "Ed25519"):
        key = read_public_jwk(Issuer.of("EdDSA").jwk(alg=name))
        assert key is not None
        assert key.algorithms == {"EdDSA", "Ed25519"}


@pytest.mark.threat("T-TOKEN-FORGED")
@pytest.mark.parametrize("kind", ["ES256", "EdDSA", "RS256"])
def test_a_key_whose_private_part_is_published_proves_nothing(kind: str) -> None:
    issuer = Issuer.of(kind)
    private: dict[str, Any] = {**issuer.key.as_dict(private=True)}
    assert read_public_jwk(private) is None
    assert read_public_jwk(issuer.jwk()) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"},
        {"use": 1},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "HS256"},
        {"alg": "ES384"},
        {"alg": 5},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"crv": ["P-256"]},
        {"kty": "oct"},
        {"kty": None},
        {"kid": ""},
        {"kid": 7},
        {"kid": "k" * 257},
        {"x": "AAAA"},
        {"x": 5},
        {"x": None},
        {"x": EC["y"]},
        {"k": "c2VjcmV0"},
    ],
)
def test_a_key_that_is_not_for_this_is_ignored(changes: dict[str, Any]) -> None:
    assert read_public_jwk(EC | changes) is None
    assert read_public_jwk(EC) is not None


def test_a_key_that_would_be_slow_or_weak_is_ignored() -> None:
    weak = RSA | {"n": b64(b"\xff" * 128)}
    huge = RSA | {"n": b64(b"\xff" * 4096)}
    endless = RSA | {"n": "_" * 200_000}
    slow = RSA | {"e": b64(b"\xff" * 256)}
    one = RSA | {"e": b64(b"\x01")}
    assert [read_public_jwk(key) for key in (weak, huge, endless, slow, one)] == [None] * 5
    assert read_public_jwk(RSA) is not None


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    # the example of section 3.1
    key: dict[str, Any] = {
        "kty": "RSA",
        "n": (
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZ"
            "CiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJ"
            "ZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBn"
            "iIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
        ),
        "e": "AQAB",
        "alg": "RS256",
        "kid": "2011-04-29",
    }
    read = read_public_jwk(key)
    assert read is not None
    assert read.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert read.thumbprint == RSAKey.import_key({name: key[name] for name in ("kty", "n", "e")}).thumbprint()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(JSON | st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "use", "alg"]), JSON))
def test_whatever_stands_there_is_read_or_ignored(value: Any) -> None:
    read_public_jwk(value)
    if isinstance(value, dict):
        read_public_jwk(EC | value)
        read_public_jwk(RSA | value)

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sekisho.credentials.proofs import SigningKey, client_assertion, possession_proof
from sekisho.errors import Misconfigured, Refused


def _pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


P256 = _pem(ec.generate_private_key(ec.SECP256R1()))
RSA = _pem(rsa.generate_private_key(65537, 2048))
ED = _pem(ed25519.Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("pem", "kind", "algorithm"), [(P256, ECKey, "ES256"), (RSA, RSAKey, "RS256"), (ED, OKPKey, "Ed25519")]
)
def test_an_assertion_is_for_one_issuer_and_a_minute(pem: bytes, kind: Any, algorithm: str) -> None:
    text = client_assertion(
        SigningKey(pem), client_id="me", issuer="https://auth.example", supported=None, now=1000.5, jti="j"
    )
    token = jwt.decode(text, kind.import_key(pem), algorithms=[algorithm])
    assert token.claims == {
        "iss": "me",
        "sub": "me",
        "aud": "https://auth.example",
        "iat": 1000,
        "exp": 1060,
        "jti": "j",
    }


def test_the_algorithm_is_one_both_sides_know() -> None:
    key = SigningKey(RSA)
    assert key.algorithm_for(["RS256", "PS256"]) == "PS256"
    assert key.algorithm_for(["RS256"]) == "RS256"
    with pytest.raises(Refused):
        key.algorithm_for(["ES256", "none", "HS256"])


def test_a_proof_is_for_one_method_url_and_token() -> None:
    text = possession_proof(
        SigningKey(P256),
        method="POST",
        url="https://tools.example/mcp?session=1#x",
        now=5.0,
        jti="j",
        token="abc",
        nonce="n",
    )
    header = json.loads(base64.urlsafe_b64decode(text.split(".")[0] + "=="))
    claims = jwt.decode(text, ECKey.import_key(header["jwk"]), algorithms=["ES256"]).claims
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"abc").digest()).rstrip(b"=").decode()
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert "d" not in header["jwk"]
    assert claims == {
        "jti": "j",
        "htm": "POST",
        "htu": "https://tools.example/mcp",
        "iat": 5,
        "ath": digest,
        "nonce": "n",
    }


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"no key",
        _pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - the attack
        _pem(dsa.generate_private_key(1024)),  # noqa: S505 - the attack
        _pem(ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_a_key_that_is_weak_or_of_no_use_is_refused(pem: bytes) -> None:
    with pytest.raises(Misconfigured):
        SigningKey(pem)

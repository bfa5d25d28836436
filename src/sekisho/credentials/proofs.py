"""What we sign: assertions that authenticate the client (RFC 7523), and proofs of possession (RFC 9449).

Guarantees that an assertion is for one issuer, lives a minute and carries an id of its own; that a proof is for one
method and URL (without query), and for one token where there is one. Time and ids are arguments.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sekisho.errors import Misconfigured, Refused

__all__ = ["SigningKey", "client_assertion", "possession_proof"]

ASSERTION_LIFE_S: Final = 60
MIN_RSA_BITS: Final = 2048
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class SigningKey:
    """A private key and the algorithms it can sign with, best first."""

    def __init__(self, pem: bytes) -> None:
        try:
            private = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError) as error:
            raise Misconfigured(
                "key_unavailable", "the client's private key cannot be read as PEM"
            ) from error
        self._key: ECKey | OKPKey | RSAKey
        self.algorithms: tuple[str, ...]
        if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES:
            self._key, self.algorithms = ECKey.import_key(pem), (_CURVES[private.curve.name],)
        elif isinstance(private, ed25519.Ed25519PrivateKey):
            self._key, self.algorithms = OKPKey.import_key(pem), ("EdDSA", "Ed25519")
        elif isinstance(private, rsa.RSAPrivateKey) and private.key_size >= MIN_RSA_BITS:
            self._key, self.algorithms = RSAKey.import_key(pem), ("PS256", "RS256")
        else:
            raise Misconfigured("key_unavailable", "the client's private key is of a kind that is not used")

    @property
    def public(self) -> dict[str, Any]:
        """The public half as a JWK."""
        return dict(self._key.as_dict(private=False))

    def algorithm_for(self, supported: Sequence[str] | None) -> str:
        """The algorithm both sides know."""
        if supported is None:
            return self.algorithms[-1]  # RS256 and ES256 are what everybody knows
        for one in self.algorithms:
            if one in supported:
                return one
        raise Refused("authorization_failed", "the authorization server knows none of the key's algorithms")

    def sign(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A compact JWT."""
        return jwt.encode(header, claims, self._key, algorithms=[str(header["alg"])])


def client_assertion(
    key: SigningKey, *, client_id: str, issuer: str, supported: Sequence[str] | None, now: float, jti: str
) -> str:
    """Says who we are to one authorization server; the audience is its issuer, so that no other can use it."""
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
        "iat": int(now),
        "exp": int(now) + ASSERTION_LIFE_S,
        "jti": jti,
    }
    return key.sign({"alg": key.algorithm_for(supported), "typ": "JWT"}, claims)


def possession_proof(
    key: SigningKey, *, method: str, url: str, now: float, jti: str, token: str = "", nonce: str = ""
) -> str:
    """A DPoP proof for one request."""
    claims: dict[str, Any] = {
        "jti": jti,
        "htm": method,
        "htu": url.partition("?")[0].partition("#")[0],
        "iat": int(now),
    }
    if token:
        digest = hashlib.sha256(token.encode("ascii")).digest()
        claims["ath"] = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if nonce:
        claims["nonce"] = nonce
    header = {"typ": "dpop+jwt", "alg": key.algorithms[0], "jwk": key.public}
    return key.sign(header, claims)

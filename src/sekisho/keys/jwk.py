"""One public key in the form of RFC 7517: what it is, and which algorithms it may verify.

- Only keys that verify signatures: RSA of 2048 to 8192 bits with an ordinary exponent, P-256, P-384, Ed25519.
- Only the members that make the key are used; a member that is private means that somebody published a secret, and
  such a key proves nothing.
- A key that says `use`, `alg` or `key_ops` is held to it.

Judgement; no network. `jwks` holds sets of them, `dpop` reads one out of a proof.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final, TypeAlias

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sekisho.protocol import JsonObject, JsonValue

__all__ = ["PublicJwk", "read_public_jwk"]

MAX_KID_CHARS: Final = 256
MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A
MAX_RSA_BITS: Final = 8192  # the time of a verification grows with the square of the modulus
_EXPONENTS: Final = frozenset({3, 17, 65537})  # a huge exponent makes every verification slow
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_ALGORITHMS: Final = {
    ("RSA", None): frozenset({"RS256", "PS256"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
}

Key: TypeAlias = RSAKey | ECKey | OKPKey


class PublicJwk(msgspec.Struct, frozen=True):
    """A key that may verify signatures."""

    key: Key
    algorithms: frozenset[str]
    kid: str | None
    thumbprint: str
    """RFC 7638, SHA-256."""


def read_public_jwk(value: JsonValue) -> PublicJwk | None:
    """The key, or None when it is of a kind that is not used here, which RFC 7517 section 5 wants ignored."""
    if not isinstance(value, dict) or _PRIVATE & value.keys():
        return None
    kind, kid = value.get("kty"), value.get("kid")
    if not isinstance(kind, str) or kind not in _MEMBERS or not _is_kid(kid):
        return None
    algorithms = _algorithms(kind, value)
    members = {name: value.get(name) for name in _MEMBERS[kind]}
    texts = {name: text for name, text in members.items() if isinstance(text, str)}
    if not algorithms or len(texts) != len(members) or (kind == "RSA" and not _is_usual_rsa(texts)):
        return None
    try:
        key = _import(kind, texts)
    except (JoseError, ValueError):
        return None
    return PublicJwk(key, algorithms, kid if isinstance(kid, str) else None, key.thumbprint())


def _import(kind: str, members: dict[str, str]) -> Key:
    data: dict[str, str | list[str]] = {"kty": kind, **members}
    match kind:
        case "RSA":
            return RSAKey.import_key(data)
        case "EC":
            return ECKey.import_key(data)
        case _:
            return OKPKey.import_key(data)


def _is_kid(kid: JsonValue) -> bool:
    return kid is None or (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS)


def _algorithms(kind: str, value: JsonObject) -> frozenset[str]:
    curve = None if kind == "RSA" else value.get("crv")
    if not isinstance(curve, str | None) or value.get("use", "sig") != "sig":
        return frozenset()
    operations = value.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        return frozenset()
    fitting = _ALGORITHMS.get((kind, curve), frozenset())
    only = value.get("alg")
    if only is None:
        return fitting
    if only in ("EdDSA", "Ed25519"):  # two names of one algorithm
        return fitting & {"EdDSA", "Ed25519"}
    return fitting & {only} if isinstance(only, str) else frozenset()


def _is_usual_rsa(members: dict[str, str]) -> bool:
    modulus, exponent = _whole(members["n"]), _whole(members["e"])
    return MIN_RSA_BITS <= modulus.bit_length() <= MAX_RSA_BITS and exponent in _EXPONENTS


def _whole(text: str) -> int:
    if len(text) > MAX_RSA_BITS // 4:  # before a number of megabytes is made of it
        return 0
    try:
        return int.from_bytes(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True), "big")
    except (binascii.Error, ValueError):
        return 0

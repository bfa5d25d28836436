"""Signed tokens in the compact form of RFC 7515, read so that no two readers can disagree about them.

- Three parts of canonical base64url; header and payload are strict JSON objects (no duplicate keys, bounded).
- Only the asymmetric algorithms of `ALGORITHMS` exist here: not "none", and no HMAC, whose key could be our own
  public one. A key verifies with an algorithm of its own kind and curve only.
- A header that marks anything as critical is refused, because nothing is understood beyond RFC 7515; headers that
  bring or name a key (`jwk`, `jku`, `x5u`, `x5c`) are never followed: the caller says which key counts.

Judgement. What a payload must say is the business of `access_tokens` and `dpop`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Final

import msgspec
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from sekisho.errors import Refused, SekishoError
from sekisho.keys.jwk import PublicJwk
from sekisho.protocol import JsonLimits, JsonObject, parse_strict

__all__ = ["ALGORITHMS", "Compact", "Refuse", "has_compact_form", "read_compact", "verify_compact"]

ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519", "ES256", "ES384", "RS256", "PS256"})
MAX_SIGNATURE_BYTES: Final = 1024  # an RSA key of 8192 bits; more would only cost time
_LIMITS: Final = JsonLimits(max_bytes=16 << 10, max_depth=12, max_members=1024, max_string_bytes=8 << 10)
# RFC 9864 gives EdDSA over Ed25519 its own name; issuers still write the old one.
_MODELS: Final = {
    name: JWSRegistry.algorithms["Ed25519" if name == "EdDSA" else name] for name in sorted(ALGORITHMS)
}

Refuse = Callable[[str], Refused]
"""Makes the error of one kind of token, from the reason."""


class Compact(msgspec.Struct, frozen=True):
    """A token that can be read; nothing in it is believed yet."""

    header: JsonObject
    payload: JsonObject
    signed: bytes
    signature: bytes
    algorithm: str


def has_compact_form(token: str) -> bool:
    """True when a token claims to be one of these: three parts, the first an object."""
    return token.count(".") == 2 and token.startswith("ey")


def read_compact(token: str, refuse: Refuse) -> Compact:
    """Read a token without believing it; raises what `refuse` makes."""
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise refuse("it is not a signed token")
    header, payload = (_object(part, refuse) for part in parts[:2])
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise refuse("its algorithm is not accepted")
    if "crit" in header or "b64" in header:  # RFC 7515 section 4.1.11: not understood is refused
        raise refuse("its header demands what is not understood")
    signature = _decoded(parts[2], refuse)
    if len(signature) > MAX_SIGNATURE_BYTES:
        raise refuse("its signature is too long")
    return Compact(header, payload, f"{parts[0]}.{parts[1]}".encode("ascii"), signature, algorithm)


def verify_compact(token: Compact, key: PublicJwk, refuse: Refuse) -> None:
    """Return only when `key` signed exactly this header and payload."""
    if token.algorithm not in key.algorithms:
        raise refuse("its algorithm is not that of the key")
    model = _MODELS[token.algorithm]
    try:
        model.check_key(key.key)
        is_signed = model.verify(token.signed, token.signature, key.key)
    except (JoseError, ValueError) as error:
        raise refuse("its signature cannot be checked") from error
    if not is_signed:
        raise refuse("its signature is wrong")


def _object(part: str, refuse: Refuse) -> JsonObject:
    try:
        value = parse_strict(_decoded(part, refuse), _LIMITS)
    except SekishoError as error:
        raise refuse("it is not strict JSON") from error
    if not isinstance(value, dict):
        raise refuse("it is not an object")
    return value


def _decoded(part: str, refuse: Refuse) -> bytes:
    """Canonical base64url: a second spelling of the same bytes would be a second name for the same token."""
    try:
        data = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as error:
        raise refuse("it is not base64url") from error
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii") != part or not data:
        raise refuse("it is not base64url")
    return data

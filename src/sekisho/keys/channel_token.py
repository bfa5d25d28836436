"""The token a core shows a plugin server: what it may ask for, for a minute, from one certificate.

- Ed25519 only (RFC 9864 name), own `typ`, so that no other token of ours can stand in for it.
- Bound to issuer, audience and the certificate of the TLS connection (`cnf.x5t#S256`, RFC 8705).
- Lives at most 60 s and is accepted once: `ReplayWindow` remembers its `jti` until it is dead anyway.
- `ops` lists the operations; nothing is implied, and there is no wildcard.

Time and `jti` are arguments. The signature is verified before the replay window is touched, so strangers
cannot fill it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from sekisho.errors import LocalProtocolError, Misconfigured, Refused
from sekisho.keys.spiffe import SpiffeId

__all__ = ["MAX_LIFE_S", "ChannelClaims", "ReplayWindow", "Signer", "sign", "verify"]

MAX_LIFE_S: Final = 60
CLOCK_SKEW_S: Final = 5  # core and plugin server may run on two machines
MAX_TOKEN_CHARS: Final = 1 << 16
MAX_REMEMBERED: Final = 100_000  # ids of live tokens; one core renews twice a minute, so this is never near
_TYP: Final = "sekisho-channel+jwt"
_ALG: Final = "Ed25519"


class Signer(Protocol):
    """Who signs; `store.Identity` is one."""

    @property
    def spiffe(self) -> SpiffeId: ...
    @property
    def token_private(self) -> Ed25519PrivateKey: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelClaims:
    """What a verified token grants."""

    ops: frozenset[str]
    jti: str
    exp: float


class ReplayWindow:
    """Remembers token ids until they expire; when full it refuses: forgetting would admit a replay."""

    __slots__ = ("_expiry", "_limit")

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._expiry: dict[str, float] = {}
        self._limit = limit

    def admit(self, jti: str, exp: float, now: float) -> bool:
        """True the first time an id is shown while its token lives."""
        if jti in self._expiry:
            return False
        if len(self._expiry) >= self._limit:
            self._expiry = {seen: until for seen, until in self._expiry.items() if until > now}
            if len(self._expiry) >= self._limit:
                return False
        self._expiry[jti] = exp
        return True

    def __len__(self) -> int:
        return len(self._expiry)


def sign(
    identity: Signer,
    audience: SpiffeId,
    ops: Sequence[str] | frozenset[str],
    *,
    cert_x5t: str,
    now: float,
    jti: str,
    life_s: int = MAX_LIFE_S,
) -> str:
    """A token of `identity` for `audience`, usable only over the connection of the certificate `cert_x5t`."""
    if not 0 < life_s <= MAX_LIFE_S or not jti:
        raise LocalProtocolError("internal", "a channel token lives at most a minute and has an id")
    issued = int(now)
    claims = {
        "iss": identity.spiffe.uri,
        "sub": identity.spiffe.uri,
        "aud": audience.uri,
        "iat": issued,
        "nbf": issued,
        "exp": issued + life_s,
        "jti": jti,
        "cnf": {"x5t#S256": cert_x5t},
        "ops": sorted(ops),
    }
    key = OKPKey.import_key(identity.token_private)
    token = jwt.encode({"alg": _ALG, "typ": _TYP}, claims, key, algorithms=[_ALG])
    if len(token) > MAX_TOKEN_CHARS:
        raise Misconfigured("config_invalid", "too many allowed operations for one channel token")
    return token


def verify(
    token: str,
    public_key: bytes,
    *,
    issuer: SpiffeId,
    audience: SpiffeId,
    x5t: str,
    now: float,
    replay: ReplayWindow,
) -> ChannelClaims:
    """The claims of a token made for us, now, over this connection, not seen before; raises `Refused`."""
    claims = _signed_claims(token, public_key)
    if claims.iss != issuer.uri or claims.sub != issuer.uri:
        raise _refused("it was issued by someone else")
    if claims.aud != audience.uri:
        raise _refused("it is meant for someone else")
    if claims.cnf.x5t != x5t:
        raise _refused("it belongs to another certificate")
    if claims.iat > now + CLOCK_SKEW_S or claims.nbf > now + CLOCK_SKEW_S:
        raise _refused("it is not valid yet")
    if claims.exp <= now:
        raise _refused("it has expired")
    if claims.exp - claims.iat > MAX_LIFE_S:
        raise _refused("it lives too long")
    if not claims.jti or not replay.admit(claims.jti, claims.exp, now):
        raise _refused("it was used before")
    return ChannelClaims(ops=frozenset(claims.ops), jti=claims.jti, exp=claims.exp)


class _Confirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    x5t: str = msgspec.field(name="x5t#S256")


class _Claims(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    iss: str
    sub: str
    aud: str
    iat: int
    nbf: int
    exp: int
    jti: str
    cnf: _Confirmation
    ops: list[str]


def _signed_claims(token: str, public_key: bytes) -> _Claims:
    if len(token) > MAX_TOKEN_CHARS:
        raise _refused("it is too long")
    try:
        key = OKPKey.import_key(Ed25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        raise Misconfigured("key_unavailable", "the issuer's token key is not 32 bytes of Ed25519") from error
    try:
        decoded = jwt.decode(token, key, algorithms=[_ALG])
        claims = msgspec.convert(decoded.claims, _Claims)
    except (JoseError, ValueError) as error:  # msgspec.ValidationError is a ValueError
        raise _refused("its form or signature is wrong") from error
    if decoded.header != {"alg": _ALG, "typ": _TYP}:
        raise _refused("it is another kind of token")
    return claims


def _refused(why: str) -> Refused:
    return Refused("token_not_accepted", f"the channel token is not accepted: {why}")

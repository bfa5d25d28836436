"""What an access token must say before its client is believed: RFC 9068, plain JWTs, and introspection answers.

Rules, each of which refuses:
- the issuer is exactly the one whose key signed it, or who answered for it;
- the audience names this gateway, or the endpoint that is being called: a token for another server, or for another
  endpoint of this one, opens nothing here (RFC 8707);
- it is alive, with five seconds for two clocks that disagree;
- it is an access token: an ID token, a logout token or a refresh token of the same issuer is none;
- it names a client, in characters that cannot disturb a log or a rule;
- what it is bound to is something this gateway can check.

Judgement: time is an argument, the signature was checked before (`compact`). One function reads claims, whether a JWT
or an introspection answer carries them, so that neither can be weaker.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

import msgspec

from sekisho.errors import Refused
from sekisho.keys.compact import ALGORITHMS, Compact
from sekisho.keys.principal import Bound, Principal
from sekisho.protocol import JsonObject, JsonValue

__all__ = ["CLOCK_SKEW_S", "IssuerRules", "check_kind", "judge_claims", "refused", "stated_issuer"]

CLOCK_SKEW_S: Final = 5
MAX_SCOPES: Final = 256  # each is compared and logged
_NAME: Final = re.compile(
    r"[\x21-\x7e]{1,255}"
)  # RFC 7519 says 255 ASCII characters are enough for a subject
_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")  # RFC 6749 section 3.3
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9_-]{43}")
_AT_JWT: Final = frozenset({"at+jwt", "application/at+jwt"})
_JWT: Final = frozenset({"jwt", "application/jwt"})
_ID_TOKEN_CLAIMS: Final = frozenset({"at_hash", "c_hash", "s_hash", "events"})
_OTHER_KINDS: Final = frozenset(
    {"id", "refresh", "offline", "logout"}
)  # Keycloak writes them into the payload


class IssuerRules(msgspec.Struct, frozen=True, kw_only=True):
    """One authorization server, as far as its tokens are judged."""

    name: str
    """Its alias here: prefix of its clients' names."""
    issuer: str
    """Its identifier, exactly as tokens state it."""
    audiences: frozenset[str] = frozenset()
    """What it writes into `aud` for the whole gateway, beside the gateway's own URL."""
    algorithms: frozenset[str] = ALGORITHMS
    client_claim: str = "sub"
    accepts_untyped: bool = False
    """Some issuers leave `typ` out."""
    is_asked: bool = False
    """True when its tokens are introspected, false when they are JWTs verified here."""


def refused(why: str) -> Refused:
    """The refusal of an access token."""
    return Refused("token_invalid", f"the access token is not accepted: {why}")


def stated_issuer(payload: JsonObject) -> str | None:
    """Whose token it claims to be; only good for choosing the keys that must then have signed it."""
    issuer = payload.get("iss")
    return issuer if isinstance(issuer, str) else None


def check_kind(token: Compact, rules: IssuerRules) -> None:
    """Refuse a JWT of this issuer that was made for another purpose."""
    if token.algorithm not in rules.algorithms:
        raise refused("its algorithm is not accepted")
    typ = token.header.get("typ")
    kind = typ.lower() if isinstance(typ, str) else typ
    if kind in _AT_JWT:
        return
    if kind not in _JWT and not (kind is None and rules.accepts_untyped):
        raise refused("it is another kind of token")
    inner = token.payload.get("typ")
    if token.payload.keys() & _ID_TOKEN_CLAIMS or (isinstance(inner, str) and inner.lower() in _OTHER_KINDS):
        raise refused("it is another kind of token")


def judge_claims(
    claims: JsonObject,
    rules: IssuerRules,
    audiences: Collection[str],
    now: float,
    *,
    expires_by: float | None = None,
) -> Principal:
    """The client that these claims name; raises `Refused`.

    Args:
        claims: Of a JWT whose signature was checked, or of an introspection answer.
        rules: Whose they are.
        audiences: The URLs of this gateway that the token may be for, at the endpoint called.
        now: Unix time in seconds.
        expires_by: When the claims themselves are too old to be believed; a JWT without `exp` never is.
    """
    if claims.get("iss") != rules.issuer and (expires_by is None or "iss" in claims):
        raise refused("it comes from another issuer")
    if not any(one in audiences or one in rules.audiences for one in _texts(claims.get("aud"), "aud")):
        raise refused("it is meant for someone else")
    expires_at = _check_times(claims, now, expires_by)
    subject = claims.get(rules.client_claim)
    if not isinstance(subject, str) or not _NAME.fullmatch(subject):
        raise refused(f"its {rules.client_claim} names no client")
    return Principal(
        client=f"{rules.name}:{subject}",
        scopes=_scopes(claims),
        issuer=rules.name,
        expires_at=expires_at,
        bound=_bound(claims),
    )


def _check_times(claims: JsonObject, now: float, expires_by: float | None) -> float:
    expiry = _instant(claims, "exp")
    ends = expires_by if expiry is None else expiry
    if ends is None:
        raise refused("it never expires")
    if ends + CLOCK_SKEW_S <= now:
        raise refused("it has expired")
    for name in ("nbf", "iat"):
        instant = _instant(claims, name)
        if instant is not None and instant - CLOCK_SKEW_S > now:
            raise refused("it is not valid yet")
    return ends


def _instant(claims: JsonObject, name: str) -> float | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1 << 53:
        raise refused(f"its {name} is no time")
    return float(value)


def _scopes(claims: JsonObject) -> frozenset[str]:
    """`scope` is one string (RFC 9068), `scp` a string or a list (Entra, Okta); both together are both meant."""
    scopes: set[str] = set()
    for name in ("scope", "scp"):
        value = claims.get(name)
        if value is None:
            continue
        found = value.split(" ") if isinstance(value, str) else _texts(value, name)
        scopes.update(one for one in found if one)
    if len(scopes) > MAX_SCOPES or not all(_SCOPE.fullmatch(one) for one in scopes):
        raise refused("its scopes cannot be read")
    return frozenset(scopes)


def _texts(value: JsonValue, name: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise refused(f"its {name} cannot be read")
    texts = [one for one in value if isinstance(one, str)]
    if len(texts) != len(value):
        raise refused(f"its {name} cannot be read")
    return texts


def _bound(claims: JsonObject) -> Bound | None:
    """A binding that is not understood is not a token without binding."""
    cnf = claims.get("cnf")
    if cnf is None and "cnf" not in claims:
        return None
    if not isinstance(cnf, dict) or not cnf or not cnf.keys() <= {"x5t#S256", "jkt"}:
        raise refused("it is bound to something that cannot be checked here")
    if not all(isinstance(one, str) and _THUMBPRINT.fullmatch(one) for one in cnf.values()):
        raise refused("it is bound to something that cannot be checked here")
    x5t, jkt = cnf.get("x5t#S256"), cnf.get("jkt")
    return Bound(x5t if isinstance(x5t, str) else None, jkt if isinstance(jkt, str) else None)

"""Opaque tokens: asking their issuer what they are (RFC 7662), and how long an answer is believed.

- A token is asked about once at a time; who shows the same one meanwhile waits for the same answer.
- "Active" is believed for 30 seconds or until the token expires, "not active" for five; both are kept under a hash of
  the token, in bounded tables, and a flood of invented tokens is turned away once `MAX_ASKING` questions are open.
- An issuer that does not answer is left alone for a second; its clients are told to try again.

The answer's claims are judged by `access_tokens`, like those of a JWT: who says "active" has not yet said for whom.
Knows no network: `Ask` does, and calls back later. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote_plus, urlencode

import msgspec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from sekisho.errors import Misconfigured, SekishoError, Unavailable
from sekisho.keys.issuer_keys import Fetched
from sekisho.keys.memo import Memo
from sekisho.protocol import JsonLimits, JsonObject, parse_strict

__all__ = [
    "ACTIVE_S",
    "Answer",
    "Ask",
    "Introspections",
    "assertion",
    "basic_credentials",
    "question",
    "read_introspection",
]

ACTIVE_S: Final = 30.0  # how long a revoked token still opens the gate
INACTIVE_S: Final = 5.0
PAUSE_S: Final = 1.0
MAX_ASKING: Final = 64
MAX_WAITING: Final = 1024
MAX_KEPT: Final = 10_000
ASSERTION_LIFE_S: Final = 60
MAX_ANSWER_BYTES: Final = 64 << 10
_LIMITS: Final = JsonLimits(max_bytes=MAX_ANSWER_BYTES, max_depth=12, max_members=1024)

Ask = Callable[[str, Callable[[Fetched], None]], None]


class Answer(msgspec.Struct, frozen=True):
    """What the issuer said: claims, or None for "not active"; and until when it is believed."""

    claims: JsonObject | None
    until: float


class Introspections:
    """Questions to one issuer."""

    __slots__ = ("_active", "_ask", "_asking", "_clock", "_inactive", "_quiet_until", "_waiting")

    def __init__(self, ask: Ask, clock: Callable[[], float]) -> None:
        self._ask = ask
        self._clock = clock
        self._active: Memo[bytes, Answer] = Memo(MAX_KEPT)
        self._inactive: Memo[bytes, Answer] = Memo(MAX_KEPT)
        self._asking: dict[bytes, list[Callable[[Fetched | Answer], None]]] = {}
        self._waiting = 0
        self._quiet_until = float("-inf")

    def find(self, mark: bytes, now: float) -> Answer | None:
        """What is known of the token with this hash."""
        return self._active.find(mark, now) or self._inactive.find(mark, now)

    def ask(self, token: str, mark: bytes, then: Callable[[Fetched | Answer], None], now: float) -> None:
        """Ask, or join those who wait; raises Unavailable when there is no use or no room."""
        if now < self._quiet_until:
            raise Unavailable("issuer_unavailable", "the token's issuer did not answer a moment ago")
        waiting = self._asking.get(mark)
        if self._waiting >= MAX_WAITING or (waiting is None and len(self._asking) >= MAX_ASKING):
            raise Unavailable("busy", "too many tokens are being asked about")
        self._waiting += 1
        if waiting is not None:
            waiting.append(then)
            return
        self._asking[mark] = [then]
        self._ask(token, lambda fetched: self._answered(mark, fetched))

    def forget(self) -> None:
        """Believe nothing that was said before."""
        self._active.clear()
        self._inactive.clear()

    def _answered(self, mark: bytes, fetched: Fetched) -> None:
        now = self._clock()
        outcome = read_introspection(fetched, now)
        if isinstance(outcome, Answer):
            table = self._inactive if outcome.claims is None else self._active
            table.put(mark, outcome, outcome.until, now)
        elif isinstance(
            fetched, Unavailable
        ):  # nobody is there; an odd answer to one token silences nobody else
            self._quiet_until = now + PAUSE_S
        waiting = self._asking.pop(mark, [])
        self._waiting -= len(waiting)
        for then in waiting:
            then(outcome)


def read_introspection(fetched: Fetched, now: float) -> Answer | SekishoError:
    """What an issuer's answer says, or why it says nothing."""
    if isinstance(fetched, SekishoError):
        return fetched
    try:
        value = parse_strict(fetched, _LIMITS)
    except SekishoError:
        value = None
    if not isinstance(value, dict) or not isinstance(value.get("active"), bool):
        return Unavailable("issuer_unavailable", "the token's issuer gave an answer that cannot be read")
    if value["active"] is not True:
        return Answer(None, now + INACTIVE_S)
    return Answer(value, now + ACTIVE_S)


def question(token: str, client_id: str = "", assertion_text: str = "") -> bytes:
    """The form that asks about a token."""
    fields = {"token": token, "token_type_hint": "access_token"}
    if assertion_text:
        fields |= {
            "client_id": client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion_text,
        }
    return urlencode(fields).encode("ascii")


def basic_credentials(client_id: str, secret: str) -> str:
    """The user and password of `client_secret_basic` before base64 (RFC 6749 section 2.3.1)."""
    return f"{quote_plus(client_id)}:{quote_plus(secret)}"


def assertion(key_pem: bytes, client_id: str, audience: str, now: float, jti: str) -> str:
    """A signed statement that we are `client_id` (RFC 7523), good for a minute and for this issuer."""
    claims: dict[str, object] = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": jti,
        "iat": int(now),
        "exp": int(now) + ASSERTION_LIFE_S,
    }
    try:
        native = load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError) as error:
        raise Misconfigured("key_unavailable", "the client key of an issuer cannot be read") from error
    key: OKPKey | ECKey | RSAKey
    match native:
        case Ed25519PrivateKey():
            algorithm, key = "Ed25519", OKPKey.import_key(native)
        case EllipticCurvePrivateKey():
            algorithm, key = "ES256", ECKey.import_key(native)
        case RSAPrivateKey():
            algorithm, key = "PS256", RSAKey.import_key(native)
        case _:
            raise Misconfigured("key_unavailable", "the client key of an issuer is not Ed25519, P-256 or RSA")
    try:
        return jwt.encode({"alg": algorithm}, claims, key, algorithms=[algorithm])
    except JoseError as error:
        raise Misconfigured("key_unavailable", "the client key of an issuer cannot sign") from error

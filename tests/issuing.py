"""An authorization server for tests: it signs for real, with keys of every accepted kind, and can be told to misbehave.

`Issuer` makes tokens and documents; `Holder` is a client with a key of its own, who makes DPoP proofs. `forged` signs
whatever it is given, well-formed or not, so that attacks need no library that would refuse to make them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

ISSUER: Final = "https://login.example.com/realms/a"
BASE: Final = "https://gate.example.com"
Key = RSAKey | ECKey | OKPKey | OctKey


def b64(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_json(value: object) -> bytes:
    """The shortest JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def forged(
    header: Mapping[str, Any] | bytes, payload: Mapping[str, Any] | bytes, key: Key, sign_as: str
) -> str:
    """A token over exactly this header and payload, signed with the algorithm `sign_as`, whatever the header says."""
    parts = [one if isinstance(one, bytes) else as_json(one) for one in (header, payload)]
    signed = ".".join(b64(one) for one in parts)
    model = JWSRegistry.algorithms["Ed25519" if sign_as == "EdDSA" else sign_as]
    return f"{signed}.{b64(model.sign(signed.encode(), key))}"


def new_key(algorithm: str) -> Key:
    """A fresh private key for an algorithm."""
    match algorithm:
        case "EdDSA" | "Ed25519":
            return OKPKey.generate_key("Ed25519")
        case "ES256":
            return ECKey.generate_key("P-256")
        case "ES384":
            return ECKey.generate_key("P-384")
        case _:
            return RSAKey.generate_key(2048)


@dataclass
class Issuer:
    """One authorization server."""

    algorithm: str = "ES256"
    issuer: str = ISSUER
    kid: str = "k1"
    key: Key = field(default_factory=lambda: new_key("ES256"))

    @classmethod
    def of(cls, algorithm: str, **given: Any) -> Issuer:
        """With a key of the right kind."""
        return cls(algorithm=algorithm, key=new_key(algorithm), **given)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """The public key as it is published."""
        return {
            **self.key.as_dict(private=False),
            "kid": self.kid,
            "use": "sig",
            "alg": self.algorithm,
        } | changes

    def jwks(self, *more: Mapping[str, Any]) -> bytes:
        """The key set document."""
        return as_json({"keys": [self.jwk(), *more]})

    def claims(self, now: float, **changes: Any) -> dict[str, Any]:
        """Good claims, changed; None removes one."""
        good = {
            "iss": self.issuer,
            "aud": f"{BASE}/mcp",
            "sub": "alice",
            "client_id": "app",
            "iat": int(now),
            "exp": int(now) + 600,
            "jti": "t1",
            "scope": "mcp tools",
        }
        return {name: value for name, value in (good | changes).items() if value is not None}

    def header(self, **changes: Any) -> dict[str, Any]:
        """A good header, changed; None removes a member."""
        good = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.kid}
        return {name: value for name, value in (good | changes).items() if value is not None}

    def token(self, now: float, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """An access token with some claims changed."""
        return forged(self.header(**(header or {})), self.claims(now, **changes), self.key, self.algorithm)


@dataclass
class Holder:
    """A client that proves possession."""

    algorithm: str = "ES256"
    key: Key = field(default_factory=lambda: new_key("ES256"))
    count: int = 0

    @property
    def jkt(self) -> str:
        """What a token is bound to."""
        return self.key.thumbprint()

    def proof(self, token: str, now: float, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """A proof for a POST to /mcp, changed; None removes a member."""
        self.count += 1
        claims = {
            "htm": "POST",
            "htu": f"{BASE}/mcp",
            "iat": int(now),
            "jti": f"p{self.count}",
            "ath": b64(hashlib.sha256(token.encode()).digest()),
        } | changes
        usual: dict[str, Any] = {
            "typ": "dpop+jwt",
            "alg": self.algorithm,
            "jwk": self.key.as_dict(private=False),
        }
        head = usual | dict(header or {})
        return forged(
            {name: value for name, value in head.items() if value is not None},
            {name: value for name, value in claims.items() if value is not None},
            self.key,
            self.algorithm,
        )


@dataclass
class Reach:
    """`Hands` without a network: answers are given when the test says so."""

    documents: dict[str, bytes | Exception] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)
    answer: Callable[[str], Any] = field(default=lambda token: as_json({"active": False}))

    def fetch_keys(self, issuer: str, then: Callable[[Any], None], /) -> None:
        """Remember who asks for keys."""
        self.asked.append((issuer, "keys"))
        self.waiting.append(lambda: then(self.documents[issuer]))

    def introspect(self, issuer: str, token: str, then: Callable[[Any], None], /) -> None:
        """Remember who asks about a token."""
        self.asked.append((issuer, token))
        self.waiting.append(lambda: then(self.answer(token)))

    def deliver(self) -> None:
        """Everything that is on its way arrives."""
        waiting, self.waiting = self.waiting, []
        for one in waiting:
            one()

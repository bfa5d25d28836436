"""What keeps a DPoP proof from being used twice: the ids that were seen, and nonces of our own.

`SeenProofs` remembers an id for at least `PROOF_LIFE_S`; when it is full it refuses, because forgetting would admit a
replay, and no one key may fill more than its share. `Nonces` are stateless: any worker that holds the secret knows
them again. Time is an argument.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import Counter
from typing import Final, Protocol

__all__ = ["PROOF_LIFE_S", "Nonces", "Replay", "SeenProofs"]

PROOF_LIFE_S: Final = 121.0  # a proof is accepted from a minute before its `iat` to a minute after it
MAX_SEEN: Final = 1_000_000  # in each half; about 85 MB
MAX_SEEN_OF_KEY: Final = 250_000  # two thousand calls a second; one client must not shut out the others
NONCE_S: Final = 150.0  # a nonce is good for one to two of these


class Replay(Protocol):
    """Remembers proofs; several processes need one that they share."""

    def admit(self, jkt: str, jti: str, now: float) -> bool:
        """True the first time the holder of key `jkt` shows the id `jti`, as long as a proof lives."""


class SeenProofs:
    """A `Replay` of one process: two generations, the elder dropped whole."""

    __slots__ = ("_born", "_elder", "_limit", "_of_key", "_share", "_younger")

    def __init__(self, limit: int = MAX_SEEN, share: int = MAX_SEEN_OF_KEY) -> None:
        self._limit = limit
        self._share = share
        self._younger: set[bytes] = set()
        self._elder: set[bytes] = set()
        self._of_key: Counter[str] = Counter()
        self._born = float("-inf")

    def admit(self, jkt: str, jti: str, now: float) -> bool:
        """True the first time; False for a replay, and when there is no room to remember."""
        if now - self._born >= PROOF_LIFE_S:
            # what the elder half held is dead; if nobody came for two lives, so is the younger
            self._elder = self._younger if now - self._born < 2 * PROOF_LIFE_S else set()
            self._younger, self._of_key, self._born = set(), Counter(), now
        # the id is the client's choice and may be long; a length keeps two pairs from meeting
        mark = hashlib.blake2b(f"{len(jkt)}:{jkt}{jti}".encode(), digest_size=16).digest()
        if mark in self._younger or mark in self._elder:
            return False
        if len(self._younger) >= self._limit or self._of_key[jkt] >= self._share:
            return False
        self._younger.add(mark)
        self._of_key[jkt] += 1
        return True

    def __len__(self) -> int:
        return len(self._younger) + len(self._elder)


class Nonces:
    """Nonces for DPoP (RFC 9449 section 8): a time, and our seal under it."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def current(self, now: float) -> str:
        """What the next proof has to carry."""
        return self._of(int(now // NONCE_S))

    def is_fresh(self, nonce: str, now: float) -> bool:
        """True for the nonce of this period and of the one before."""
        period = int(now // NONCE_S)
        given = nonce.encode()
        return any(hmac.compare_digest(given, self._of(one).encode()) for one in (period, period - 1))

    def _of(self, period: int) -> str:
        stamp = period.to_bytes(8, "big")
        seal = hmac.digest(self._secret, b"sekisho/dpop-nonce/1\x00" + stamp, "sha256")[:18]
        return base64.urlsafe_b64encode(seal).decode("ascii")

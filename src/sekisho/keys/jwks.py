"""An issuer's key set (RFC 7517 section 5): which key a token names.

Guarantees a bounded set: a document with more keys than anybody needs is refused as a whole, since taking a part of it
would let whoever fills it choose the part. A token without `kid` is verified only when one key alone fits. Judgement;
`issuer_keys` keeps the set of an issuer up to date.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import SekishoError, Unavailable
from sekisho.keys.jwk import PublicJwk, read_public_jwk
from sekisho.protocol import JsonLimits, parse_strict

__all__ = ["KeySet", "read_key_set"]

MAX_KEYS: Final = 64  # issuers publish two to ten; thousands cost memory and the time to read each
MAX_KEY_SET_BYTES: Final = 256 << 10  # a key with its certificate chain takes some KiB
_LIMITS: Final = JsonLimits(max_bytes=MAX_KEY_SET_BYTES, max_depth=8, max_members=4096)


class KeySet:
    """The keys of one document."""

    __slots__ = ("_by_kid", "_keys")

    def __init__(self, keys: tuple[PublicJwk, ...]) -> None:
        self._keys = keys
        self._by_kid: dict[str, list[PublicJwk]] = {}
        for key in keys:
            if key.kid is not None:
                self._by_kid.setdefault(key.kid, []).append(key)

    def find(self, kid: str | None, algorithm: str) -> PublicJwk | None:
        """The one key that a token means; None when there is none, or when it could be one of several."""
        candidates = self._keys if kid is None else self._by_kid.get(kid, ())
        fitting = [key for key in candidates if algorithm in key.algorithms]
        return fitting[0] if len(fitting) == 1 else None

    @property
    def thumbprints(self) -> frozenset[tuple[str | None, str]]:
        """What tells two sets apart: names and keys."""
        return frozenset((key.kid, key.thumbprint) for key in self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def read_key_set(document: bytes) -> KeySet:
    """Read a key set; raises Unavailable when the issuer publishes something else."""
    try:
        value = parse_strict(document, _LIMITS)
    except SekishoError as error:
        raise _unusable("is not strict JSON, or is too large") from error
    keys = value.get("keys") if isinstance(value, dict) else None
    if not isinstance(keys, list):
        raise _unusable("holds no list of keys")
    if len(keys) > MAX_KEYS:
        raise _unusable(f"has more than {MAX_KEYS} keys")
    found = KeySet(tuple(key for key in map(read_public_jwk, keys) if key is not None))
    if not len(found):
        raise _unusable("holds no key that could verify a token")
    return found


def _unusable(what: str) -> Unavailable:
    return Unavailable("issuer_unavailable", f"the issuer's key set {what}")

"""Bearer tokens of clients: opaque, 256 bits, kept only as hashes.

Guarantees that a leaked token book opens nothing (it holds SHA-256 of random 256-bit values) and that
looking a token up takes no longer for a nearly right one: what is compared is a hash, which an attacker cannot
steer (SHA-256; for a header seen before, Python's own, keyed afresh in every process). Knows no files; `store`
writes the token file and the book.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from sekisho.errors import Misconfigured, Refused

__all__ = ["TokenBook", "is_static_token", "new_token", "refuse_query_token", "token_hash"]

MAX_KNOWN: Final = 10_000  # one client may write "Bearer" in 64 ways

_TOKEN: Final = re.compile(r"sk-[A-Za-z0-9_-]{43}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_IN_QUERY: Final = re.compile(r"[?&;]access_token(?:=|&|;|\Z)", re.IGNORECASE)


def new_token() -> str:
    """A fresh token: `sk-` and 43 base64url characters (256 random bits)."""
    return "sk-" + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What the book keeps of a token; plain SHA-256 is enough because the token is random, not chosen."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_static_token(token: str) -> bool:
    """True for the form of our own tokens, which no issuer is ever asked about."""
    return _TOKEN.fullmatch(token) is not None


def refuse_query_token(target: str) -> None:
    """Refuse a request that carries its token in the URL, where proxies and logs keep it (RFC 6750 section 2.3)."""
    if "?" in target and _IN_QUERY.search(unquote_plus(target)):
        raise Refused("token_in_query", "a token was sent in the URL; it may be known to others now")


class TokenBook:
    """Which client a token belongs to, by hash."""

    __slots__ = ("_clients", "_known")

    def __init__(self, clients: Mapping[str, str]) -> None:
        for digest, client in clients.items():
            if not _HASH.fullmatch(digest) or not client:
                raise Misconfigured("key_unavailable", f"the token book's entry for {client!r} is not a hash")
        self._clients = dict(clients)
        # Headers that were checked, for the life of this book; only valid ones, so strangers cannot fill it.
        self._known: dict[str, str] = {}

    def identify(self, header: str | None) -> str:
        """The client whose token stands in this `Authorization` value; raises `Refused` otherwise."""
        if header is None or not header:
            raise Refused("token_missing", "the request carries no token")
        known = self._known.get(header)
        if known is not None:
            return known
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
            raise Refused("token_invalid", "the Authorization header holds no token of this gateway")
        client = self._clients.get(token_hash(token))
        if client is None:
            raise Refused("token_invalid", "the token is not known here")
        if len(self._known) < MAX_KNOWN:
            self._known[header] = client
        return client

    def knows_same(self, other: TokenBook) -> bool:
        """True when both let in the same tokens, under the same names."""
        return self._clients == other._clients

    def __len__(self) -> int:
        return len(self._clients)

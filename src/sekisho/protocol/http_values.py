"""What HTTP/1.1 comes to: limits, heads and whole requests, as values.

Readers of bytes stand in `http_head` and `http1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

__all__ = ["MAX_HEADERS", "Head", "HttpLimits", "HttpRequest", "KeptHead"]

MAX_HEADERS: Final = 100  # thousands of tiny headers cost more than their bytes


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How large one message may be."""

    max_head_bytes: int = 32 << 10
    max_body_bytes: int = 10 << 20
    max_headers: int = MAX_HEADERS


class Head(msgspec.Struct, frozen=True):
    """What a head says. `length` is that of the body, None when it comes in chunks."""

    method: str
    target: str
    headers: Mapping[str, str]
    keep_alive: bool
    is_old: bool
    """True for HTTP/1.0, whose clients do not read chunks."""
    length: int | None


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One whole request. Header names are lower-case; values carry no outer blanks and are Latin-1.

    `speaks_chunks` is False for HTTP/1.0, whose clients do not know chunked answers.
    `head` is the exact head of a request that a `HeadMemo` may keep, else empty; `note` is what was kept with it.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""
    keep_alive: bool = True
    speaks_chunks: bool = True
    head: bytes = b""
    note: object = None


class KeptHead(msgspec.Struct, frozen=True):
    """What a kept head says, and how long the body behind it is."""

    target: str
    headers: Mapping[str, str]
    length: int
    note: object

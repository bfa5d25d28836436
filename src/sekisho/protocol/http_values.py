"""What HTTP/1.1 comes to: limits, heads and whole requests, as values.

Readers of bytes stand in `http_head` and `http1`. Every attribute is final, and cannot be changed where this is compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["MAX_HEADERS", "Head", "HttpLimits", "HttpRequest", "KeptHead"]

MAX_HEADERS: Final = 100  # thousands of tiny headers cost more than their bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """How large one message may be."""

    max_head_bytes: int = 32 << 10
    max_body_bytes: int = 10 << 20
    max_headers: int = MAX_HEADERS


class Head:  # noqa: PLW1641  # it holds dictionaries, so it has no hash
    """What a head says. `length` is that of the body, None when it comes in chunks.

    `is_old` is True for HTTP/1.0, whose clients do not read chunks.
    """

    __slots__ = ("headers", "is_old", "keep_alive", "length", "method", "target")

    def __init__(
        self,
        *,
        method: str,
        target: str,
        headers: dict[str, str],
        keep_alive: bool,
        is_old: bool,
        length: int | None,
    ) -> None:
        self.method: Final = method
        self.target: Final = target
        self.headers: Final = headers
        self.keep_alive: Final = keep_alive
        self.is_old: Final = is_old
        self.length: Final = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Head) and self._all() == other._all()

    def _all(self) -> tuple[object, ...]:
        return (self.method, self.target, self.headers, self.keep_alive, self.is_old, self.length)


class HttpRequest:  # noqa: PLW1641  # it holds dictionaries, so it has no hash
    """One whole request. Header names are lower-case; values carry no outer blanks and are Latin-1.

    `speaks_chunks` is False for HTTP/1.0, whose clients do not know chunked answers.
    `head` is the exact head of a request that a `HeadMemo` may keep, else empty; `note` is what was kept with it.
    """

    __slots__ = ("body", "head", "headers", "keep_alive", "method", "note", "speaks_chunks", "target")

    def __init__(
        self,
        *,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes = b"",
        keep_alive: bool = True,
        speaks_chunks: bool = True,
        head: bytes = b"",
        note: object = None,
    ) -> None:
        self.method: Final = method
        self.target: Final = target
        self.headers: Final = headers
        self.body: Final = body
        self.keep_alive: Final = keep_alive
        self.speaks_chunks: Final = speaks_chunks
        self.head: Final = head
        self.note: Final = note

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HttpRequest) and self._all() == other._all()

    def _all(self) -> tuple[object, ...]:
        said = (self.method, self.target, self.headers, self.body)
        return (*said, self.keep_alive, self.speaks_chunks, self.head, self.note)


class KeptHead:
    """What a kept head says, and how long the body behind it is."""

    __slots__ = ("headers", "length", "note", "target")

    def __init__(self, target: str, headers: dict[str, str], length: int, note: object) -> None:
        self.target: Final = target
        self.headers: Final = headers
        self.length: Final = length
        self.note: Final = note

"""What the bytes of HTTP/1.1 responses tell, as values. Reading them is `http_response`'s and `whole_answers`' matter."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

__all__ = ["BodyChunk", "HttpResponse", "ResponseEnd", "ResponseEvent", "ResponseHead"]

EVENT_STREAM: Final = "text/event-stream"


class ResponseHead(msgspec.Struct, frozen=True, kw_only=True):
    """Status and headers; names are lower-case."""

    status: int
    headers: dict[str, str]
    keep_alive: bool

    @property
    def is_event_stream(self) -> bool:
        """True when the body is a stream of server-sent events."""
        return self._media_type == EVENT_STREAM

    @property
    def is_json(self) -> bool:
        """True when the body is one JSON text."""
        return self._media_type == "application/json"

    @property
    def _media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class BodyChunk(msgspec.Struct, frozen=True):
    """Some bytes of the body."""

    data: bytes


class ResponseEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The response is complete."""

    keep_alive: bool


ResponseEvent: TypeAlias = ResponseHead | BodyChunk | ResponseEnd


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """One whole response."""

    status: int
    headers: dict[str, str]
    body: bytes
    keep_alive: bool

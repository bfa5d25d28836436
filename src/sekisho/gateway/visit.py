"""One request being answered: what is known of it so far, and how its answer is written.

Guarantees one answer for each request, as plain JSON, or as an event stream once a progress notification went out
before it; with the HTTP status, headers and body that the client's era expects. Decides nothing: what to answer is the
door's business, and how bytes leave is the guest's.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from sekisho.errors import LocalProtocolError, RateLimited, SekishoError
from sekisho.gateway import answers
from sekisho.protocol import PluginName, error_bytes, response_bytes, result_bytes

__all__ = ["Guest", "Visit"]

_encode: Final = msgspec.json.Encoder().encode


class Guest(Protocol):
    """The connection that a request came by."""

    client: str | None
    """Who was last seen on it."""

    def admit(self, client: str) -> bool:
        """Take note of who speaks; False when this client has too many connections."""

    def begin(self, data: bytes) -> bool:
        """Send a piece of an answer; False when the client does not keep up, and then nothing was sent."""

    def answer(self, data: bytes) -> None:
        """Send the whole answer, or its last piece."""


class Visit(msgspec.Struct):
    """Filled in as the request is understood, so that a refusal says all that is known."""

    call_id: str
    now: float
    guest: Guest
    authorization: str | None
    keep_alive: bool
    client: str | None = None
    endpoint: PluginName | None = None
    request_id: int | str | None = None
    modern: bool = False
    key: tuple[str, str, int | str] | None = None
    progress_token: int | str | None = None
    is_streaming: bool = False

    @property
    def known_client(self) -> str:
        """Who asks; there is nobody before the token was checked."""
        if self.client is None:
            raise LocalProtocolError("internal", "nobody was identified yet")
        return self.client

    def accept(self) -> None:
        """Answer a message that has no answer of its own."""
        self.guest.answer(response_bytes(202, b"", close=not self.keep_alive))

    def end_session(self) -> None:
        """Answer a DELETE."""
        self.guest.answer(response_bytes(204, b"", close=not self.keep_alive))

    def open_session(self, ticket: str, result: bytes) -> None:
        """Answer an initialize."""
        headers = (("Mcp-Session-Id", ticket),)
        body = result_bytes(self._ident, result)
        self.guest.answer(response_bytes(200, body, headers=headers, close=not self.keep_alive))

    def give(self, result: bytes) -> None:
        """Answer with a result that already says what the era wants."""
        if self.keep_alive:
            self.guest.answer(answers.response(self._ident, result))
        else:
            body = result_bytes(self._ident, result)
            self.guest.answer(response_bytes(200, body, close=True))

    def give_call(self, result: bytes) -> None:
        """Answer with the result of a tool."""
        if self.is_streaming:
            said = result_bytes(self._ident, answers.call_result(result, modern=self.modern))
            self.guest.answer(answers.last_event(said))
        elif self.keep_alive:
            self.guest.answer(answers.response(self._ident, result, is_call=self.modern))
        else:
            self.give(answers.call_result(result, modern=self.modern))

    def note(self, progress: list[bytes]) -> None:
        """Pass on how far the call is, under the client's own token; it is dropped for a client that lags behind."""
        if self.progress_token is None:
            return
        said = answers.progress_events(_encode(self.progress_token), progress)
        if self.guest.begin(said if self.is_streaming else answers.STREAM_HEAD + said):
            self.is_streaming = True

    def refuse(self, error: SekishoError) -> None:
        """Answer with an error."""
        body = error_bytes(self.request_id, error, call_id=self.call_id)
        if self.is_streaming:
            self.guest.answer(answers.last_event(body))
            return
        status = error.info.http_status
        if not self.modern and self.request_id is not None and error.code in _GONE_CODES:
            status = 200  # to a legacy client 404 means that its session is gone
        headers: list[tuple[str, str]] = []
        if status == 401:
            headers.append(("WWW-Authenticate", 'Bearer realm="sekisho"'))
        if status == 405:
            headers.append(("Allow", "POST, DELETE"))
        if isinstance(error, RateLimited):
            headers.append(("Retry-After", str(max(1, round(error.retry_after_s + 0.5)))))
        self.guest.answer(response_bytes(status, body, headers=headers, close=not self.keep_alive))

    @property
    def _ident(self) -> int | str:
        if self.request_id is None:
            raise LocalProtocolError("internal", "a result needs the id of its request")
        return self.request_id


_GONE_CODES: Final = frozenset({"method_unknown", "plugin_unknown"})

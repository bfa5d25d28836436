"""One MCP session with one plugin: handshake, listing, calls. Bytes in, bytes out; the transport is somebody else's.

Guarantees that a plugin's answer reaches exactly the call it belongs to: every request upstream has an id of ours, never
the client's; answers to unknown ids, unreadable lines and unasked-for messages are counted and dropped. A plugin's own
requests are answered here: `ping` and `roots/list` (from policy), everything else is refused as unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from sekisho import __version__
from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.protocol import (
    LEGACY,
    JsonLimits,
    Notification,
    Request,
    Response,
    error_bytes,
    notification_bytes,
    parse_message,
    request_bytes,
    result_bytes,
)

__all__ = ["Counters", "PluginSession", "Waiter"]

Waiter = Callable[[bytes | SekishoError], None]

MAX_PAGES = 100  # a server that always offers another page must not keep us listing for ever
MAX_ITEMS = 5_000


@dataclass(slots=True)
class Counters:
    """What the plugin did that it should not have."""

    garbage: int = 0
    unknown_answers: int = 0
    refused_requests: int = 0


class _Failure(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Initialized(msgspec.Struct, rename="camel"):
    protocol_version: str
    capabilities: msgspec.Raw
    server_info: msgspec.Raw
    instructions: str | None = None


@dataclass(slots=True)
class PluginSession:
    """The state of the session. `send` writes one message; `on_list_changed` hears of changed definitions."""

    send: Callable[[bytes], None]
    limits: JsonLimits
    roots: Sequence[tuple[str, str]] = ()
    on_list_changed: Callable[[], None] = lambda: None
    on_version: Callable[[str], None] = lambda version: None
    counters: Counters = field(default_factory=Counters)
    _waiting: dict[int, Waiter] = field(default_factory=dict)
    _next_id: int = 1

    def request(self, method: str, params: bytes | None, waiter: Waiter) -> int:
        """Send a request; `waiter` hears the raw result or an error, exactly once."""
        ident = self._next_id
        self._next_id += 1
        self._waiting[ident] = waiter
        self.send(request_bytes(ident, method, params))
        return ident

    def call_tool(self, tool: str, arguments: bytes, waiter: Waiter) -> int:
        """Call a tool; the waiter receives the bytes of the result object."""
        params = b'{"name":' + msgspec.json.encode(tool) + b',"arguments":' + arguments + b"}"
        return self.request("tools/call", params, waiter)

    def cancel(self, ident: int, reason: str) -> None:
        """Tell the plugin that nobody waits any more; its answer will be dropped."""
        if self._waiting.pop(ident, None) is not None:
            params = msgspec.json.encode({"requestId": ident, "reason": reason})
            self.send(notification_bytes("notifications/cancelled", params))

    def fail_all(self, error: SekishoError) -> None:
        """The transport is gone: everybody who waits hears it."""
        waiting, self._waiting = self._waiting, {}
        for waiter in waiting.values():
            waiter(error)

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        """One request cannot be answered."""
        waiter = self._waiting.pop(ident, None) if isinstance(ident, int) else None
        if waiter is not None:
            waiter(error)

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def receive(self, line: bytes) -> None:
        """Take one message from the plugin. Never raises: what cannot be read is counted."""
        if not line.strip():
            return
        try:
            message = parse_message(line, self.limits)
        except SekishoError:
            self.counters.garbage += 1
            return
        match message:
            case Response():
                self._answered(message)
            case Request():
                self._asked(message)
            case Notification():
                if message.method.endswith("/list_changed"):
                    self.on_list_changed()

    def _answered(self, response: Response) -> None:
        waiter = self._waiting.pop(response.id, None) if isinstance(response.id, int) else None
        if waiter is None:
            self.counters.unknown_answers += 1
            return
        if bytes(response.error):
            waiter(_as_tool_error(bytes(response.error)))
        else:
            waiter(bytes(response.result))

    def _asked(self, request: Request) -> None:
        match request.method:
            case "ping":
                self.send(result_bytes(request.id, b"{}"))
            case "roots/list":
                roots = [{"uri": uri, "name": name} for uri, name in self.roots]
                self.send(result_bytes(request.id, msgspec.json.encode({"roots": roots})))
            case _:
                self.counters.refused_requests += 1
                error = RemoteProtocolError("method_unknown", "plugins may not ask for this")
                self.send(error_bytes(request.id, error))

    def initialize_params(self) -> bytes:
        """The parameters of our `initialize`."""
        return msgspec.json.encode(
            {
                "protocolVersion": LEGACY[0],
                "capabilities": {"roots": {"listChanged": False}} if self.roots else {},
                "clientInfo": {"name": "sekisho", "version": __version__},
            }
        )

    @staticmethod
    def read_initialized(result: bytes) -> _Initialized:
        """Check the answer to `initialize`."""
        try:
            answer = msgspec.json.decode(result, type=_Initialized)
        except msgspec.MsgspecError as error:
            raise RemoteProtocolError(
                "plugin_protocol", "the plugin's initialize answer is malformed"
            ) from error
        if bytes(answer.capabilities)[:1] != b"{" or bytes(answer.server_info)[:1] != b"{":
            raise RemoteProtocolError("plugin_protocol", "the plugin's initialize answer is malformed")
        if answer.protocol_version not in LEGACY:
            raise RemoteProtocolError("plugin_protocol", "the plugin speaks no supported protocol version")
        return answer


def _as_tool_error(error: bytes) -> bytes | SekishoError:
    """A JSON-RPC error of the plugin becomes a tool result marked as error: its text is data, never our own words."""
    try:
        failure = msgspec.json.decode(error, type=_Failure)
    except msgspec.MsgspecError:
        return RemoteProtocolError("plugin_protocol", "the plugin sent a malformed error")
    text = f"plugin error {failure.code}: {failure.message}"
    return msgspec.json.encode({"content": [{"type": "text", "text": text}], "isError": True})


def read_page(result: bytes, member: str) -> tuple[list[msgspec.Raw], str | None]:
    """The items and the next cursor of one page of a list."""
    try:
        page = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
        items = msgspec.json.decode(page.get(member, msgspec.Raw(b"[]")), type=list[msgspec.Raw])
        cursor = msgspec.json.decode(page.get("nextCursor", msgspec.Raw(b"null")), type=str | None)
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError("plugin_protocol", f"the plugin's list of {member} is malformed") from error
    return items, cursor

"""One MCP session with one plugin: handshake, listing, calls. Bytes in, bytes out; the transport is somebody else's.

Guarantees that a plugin's answer reaches exactly the call it belongs to: every request upstream has an id of ours, never
the client's; answers to unknown ids, unreadable lines and unasked-for messages are counted and dropped. A plugin's own
requests are answered here: `ping` and `roots/list` (from policy), everything else is refused as unknown.

Answers and progress are read on a short way that is exactly as strict as `parse_message`: the members found, written
out again without blanks, are as long as the line, so none was named twice, unknown or spelled with escapes. Whatever
does not fit goes the long way. Notes and large answers have a shorter way still, which `usual` explains; what we asked
for ourselves, and therefore read ourselves, does not take it.

A call that wants to know its progress gets a progress token of ours, the id of its request; a plugin's notes to other
tokens, or beyond a bound, are dropped and counted. Notes of one call that arrive together are passed on together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from sekisho import __version__
from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.plugin_server.usual import LARGE_BYTES, find_answer, read_note
from sekisho.protocol import (
    LEGACY,
    JsonLimits,
    Notification,
    Request,
    Response,
    check_text,
    decode_distinct,
    error_bytes,
    notification_bytes,
    parse_message,
    request_bytes,
    result_bytes,
)

__all__ = ["Counters", "PluginSession", "Waiter"]

Waiter = Callable[[bytes | SekishoError], None]
Note = Callable[[Sequence[bytes]], None]

MAX_NOTES = 1_000  # per call; a plugin that counts every byte must not drown its caller
MAX_HEADS = 5_000


@dataclass(slots=True)
class Counters:
    """What the plugin did that it should not have."""

    garbage: int = 0
    unknown_answers: int = 0
    refused_requests: int = 0
    ignored_notifications: int = 0
    dropped_notes: int = 0


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """What nearly every line of a plugin is: an answer to us, or a notification."""

    jsonrpc: Literal["2.0"]
    id: int = -1
    method: str = ""
    result: msgspec.Raw = msgspec.Raw()
    params: msgspec.Raw = msgspec.Raw()


_ANSWER_BYTES = len('{"jsonrpc":"2.0","id":,"result":}')
_NOTIFICATION_BYTES = len('{"jsonrpc":"2.0","method":"","params":}')
_PROGRESS = "notifications/progress"
_lines = msgspec.json.Decoder(_Line)
_encode = msgspec.json.Encoder().encode
_NOBODY: tuple[Note, int] = (lambda notes: None, 0)


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
    has_room: Callable[[], bool] = lambda: True
    counters: Counters = field(default_factory=Counters)
    _waiting: dict[int, Waiter] = field(default_factory=dict)
    _notes: dict[int, tuple[Note, int]] = field(
        default_factory=dict
    )  # by token: who hears, and how many still
    _heads: dict[str, bytes] = field(default_factory=dict)  # by tool, which the core's token has named
    _asked_by_us: set[int] = field(default_factory=set)  # whose answers nobody reads after us
    _next_id: int = 1

    def request(self, method: str, params: bytes | None, waiter: Waiter) -> int:
        """Send a request; `waiter` hears the raw result or an error, exactly once."""
        ident = self._next_id
        self._next_id += 1
        self._waiting[ident] = waiter
        self._asked_by_us.add(ident)
        self.send(request_bytes(ident, method, params))
        return ident

    def call_tool(self, tool: str, arguments: bytes, waiter: Waiter, note: Note | None = None) -> int:
        """Call a tool; the waiter receives the bytes of the result object, `note` each progress before it."""
        head = self._heads.get(tool) or self._new_head(tool)
        ident = self._next_id
        self._next_id = ident + 1
        self._waiting[ident] = waiter
        if note is None:
            tail = b"}}"
        else:
            self._notes[ident] = (note, MAX_NOTES)
            tail = b',"_meta":{"progressToken":%d}}}' % ident
        self.send(b'{"jsonrpc":"2.0","id":%d%b%b%b' % (ident, head, arguments, tail))
        return ident

    def _new_head(self, tool: str) -> bytes:
        if len(self._heads) >= MAX_HEADS:
            self._heads.clear()
        head = b',"method":"tools/call","params":{"name":' + _encode(tool) + b',"arguments":'
        self._heads[tool] = head
        return head

    def is_waiting(self, ident: int | str) -> bool:
        """True while somebody waits for the answer to this request."""
        return ident in self._waiting

    def cancel(self, ident: int, reason: str) -> None:
        """Tell the plugin that nobody waits any more; its answer will be dropped."""
        if self._pop(ident) is not None:
            params = msgspec.json.encode({"requestId": ident, "reason": reason})
            self.send(notification_bytes("notifications/cancelled", params))

    def fail_all(self, error: SekishoError) -> None:
        """The transport is gone: everybody who waits hears it."""
        waiting, self._waiting = self._waiting, {}
        self._notes.clear()
        self._asked_by_us.clear()
        for waiter in waiting.values():
            waiter(error)

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        """One request cannot be answered."""
        waiter = self._pop(ident)
        if waiter is not None:
            waiter(error)

    def _pop(self, ident: int | str | None) -> Waiter | None:
        if not isinstance(ident, int):
            return None
        if self._notes:
            self._notes.pop(ident, None)
        if self._asked_by_us:
            self._asked_by_us.discard(ident)
        return self._waiting.pop(ident, None)

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def receive_all(self, lines: Sequence[bytes]) -> None:
        """Take messages that arrived together, in order."""
        noted: int | None = None
        notes: list[bytes] = []
        for line in lines:
            note = read_note(line, self.limits)
            if notes and (note is None or note[0] != noted):
                self._pass_on(noted, notes)
                notes = []
            if note is None:
                self.receive(line)
            else:
                noted = note[0]
                notes.append(note[1])
        if notes:
            self._pass_on(noted, notes)

    def receive(self, line: bytes) -> None:
        """Take one message from the plugin. Never raises: what cannot be read is counted."""
        if len(line) >= LARGE_BYTES and self._receive_large(line):
            return
        try:
            check_text(line, self.limits)
            read = _lines.decode(line)
        except (SekishoError, msgspec.DecodeError, UnicodeError, RecursionError):
            self._receive_slowly(line)
            return
        if read.result:
            result = bytes(read.result)
            if (
                read.id >= 0
                and len(line) == _ANSWER_BYTES + len(str(read.id)) + len(result)
                and result[:1] == b"{"
            ):
                self._answered(read.id, result)
                return
        elif read.method == _PROGRESS:
            params = bytes(read.params)
            if len(line) == _NOTIFICATION_BYTES + len(_PROGRESS) + len(params) and params[:1] == b"{":
                self._progressed(read.params)
                return
        self._receive_slowly(line)

    def _receive_large(self, line: bytes) -> bool:
        """True if the line was a large answer to a call, within the limit."""
        found = find_answer(line) if len(line) <= self.limits.max_bytes else None
        if found is None or found[0] in self._asked_by_us:
            return False
        ident, start, end = found
        self._answered(ident, line[start:end])
        return True

    def _receive_slowly(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = parse_message(line, self.limits)
        except SekishoError:
            self.counters.garbage += 1
            return
        match message:
            case Response():
                failure = bytes(message.error)
                self._answered(message.id, _as_tool_error(failure) if failure else bytes(message.result))
            case Request():
                self._asked(message)
            case Notification(method=method):
                if method.endswith("/list_changed"):
                    self.on_list_changed()
                elif method == _PROGRESS:
                    self._progressed(message.params)
                else:
                    self.counters.ignored_notifications += 1

    def _answered(self, ident: int | str | None, answer: bytes | SekishoError) -> None:
        waiter = self._pop(ident)
        if waiter is None:
            self.counters.unknown_answers += 1
        else:
            waiter(answer)

    def _progressed(self, params: msgspec.Raw) -> None:
        """Pass on what a plugin says of a call's progress, without the token, which is ours and not the client's."""
        try:
            members, _ = decode_distinct(bytes(params))
        except SekishoError:
            members = None
        token = members.pop("progressToken", None) if isinstance(members, dict) else None
        # a bool is an int to Python, and True would be call 1
        self._pass_on(token if type(token) is int else None, [_encode(members)])

    def _pass_on(self, token: int | None, notes: Sequence[bytes]) -> None:
        """To whoever wants to hear of this token, as long as it does not hear too much."""
        note, left = _NOBODY if token is None else self._notes.get(token, _NOBODY)
        if token is not None and left:
            self._notes[token] = (note, max(left - len(notes), 0))
            note(notes[:left])
        self.counters.dropped_notes += max(len(notes) - left, 0)

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

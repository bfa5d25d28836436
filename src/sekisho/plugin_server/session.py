"""One MCP session with one plugin, of either era: requests, answers, notes. The transport is somebody else's.

Guarantees that a plugin's answer reaches exactly the call it belongs to: every request upstream has an id of ours, never
the client's; answers to unknown ids, unreadable lines and unasked-for messages are counted and dropped. A plugin's own
`ping` and `roots/list` (from policy) are answered here; its other requests and notifications are the listener's, and
without one they are refused or counted.

Answers and progress are read on a short way that is exactly as strict as `parse_message`: the members found, written
out again without blanks, are as long as the line, so none was named twice, unknown or spelled with escapes. Whatever
does not fit goes the long way. Notes and large answers have a shorter way still, which `usual` explains; what we asked
for ourselves, and therefore read ourselves, does not take it.

A call that wants to know its progress gets a progress token of ours, the id of its request; a plugin's notes to other
tokens, or beyond a bound, are dropped and counted. Notes of one call that arrive together are passed on together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.plugin_server.answers import (
    Answer,
    Counters,
    Listener,
    Note,
    RpcError,
    TakeLarge,
    Waiter,
    read_error,
)
from sekisho.plugin_server.call_words import CallWords
from sekisho.plugin_server.envelopes import read_line
from sekisho.plugin_server.era import OWN_STAMP, Stamp, stamped
from sekisho.plugin_server.progress import Progress
from sekisho.plugin_server.roots import roots_bytes
from sekisho.plugin_server.transport import Transport
from sekisho.plugin_server.usual import LARGE_BYTES, find_answer, notes_alike, read_notes
from sekisho.protocol import (
    BATCHES,
    MODERN,
    JsonLimits,
    Notification,
    Request,
    Response,
    check_text,
    error_bytes,
    notification_bytes,
    parse_message,
    place_of,
    request_bytes,
    result_bytes,
    split_batch,
)

__all__ = ["Answer", "PluginSession", "RpcError", "Waiter"]

MAX_BATCH_MESSAGES: Final = 256  # what a plugin says at once is read in one turn of the loop
_ANSWER_BYTES: Final = len('{"jsonrpc":"2.0","id":,"result":}')
_NOTIFICATION_BYTES: Final = len('{"jsonrpc":"2.0","method":"","params":}')
_PROGRESS: Final = "notifications/progress"
_encode: Final = msgspec.json.Encoder().encode


class PluginSession:
    """The state of the session; `attach` gives it its transport. `on_list_changed` hears of changed definitions.

    Attributes:
        may_ask: What the operator lets this plugin ask of clients; a legacy plugin is told so in the handshake.
        on_reopened: Hears that the server forgot the session and another stands: what it was asked before is gone.
        modern: True once both sides agreed on a revision without handshake.
    """

    def __init__(
        self,
        *,
        limits: JsonLimits,
        roots: Sequence[tuple[str, str]] = (),
        may_ask: tuple[str, ...] = (),
        on_list_changed: Callable[[], None] = lambda: None,
        modern: bool = False,
    ) -> None:
        self.limits = limits
        self.roots = roots
        self.may_ask = may_ask
        self.on_list_changed = on_list_changed
        self.on_reopened: Callable[[], None] = lambda: None
        self.listener: Listener | None = None
        self.counters = Counters()
        self.modern = modern
        self.send: Callable[[bytes], None] = lambda message: None
        self._send_call: Callable[[bytes, int, bytes], None] = lambda message, ident, words: None
        self.has_room: Callable[[], bool] = lambda: True
        self.transport: Transport | None = None
        self._words = CallWords(has_roots=bool(roots))
        self._progress = Progress(self.counters)
        self._waiting: dict[int, Waiter] = {}
        self._takes_batches = False
        self._asked_by_us: set[int] = set()  # whose answers nobody reads after us
        self._next_id = 1

    def attach(self, transport: Transport) -> None:
        """From now on messages leave by this transport."""
        self.transport = transport
        self.send = transport.send
        self._send_call = transport.send
        self.has_room = transport.has_room

    def agree(self, version: str) -> None:
        """The revision both sides speak from now on."""
        self.modern = version in MODERN
        self._takes_batches = version == BATCHES
        self._words.agree(modern=self.modern)
        if self.transport is not None:
            self.transport.use_version(version)

    def request(
        self,
        method: str,
        params: Mapping[str, object] | None,
        waiter: Waiter,
        *,
        stamp: Stamp = OWN_STAMP,
        modern: bool | None = None,
        note: Note | None = None,
        is_ours: bool = True,
    ) -> int:
        """Send a request; `waiter` hears the raw result or an error, exactly once.

        Args:
            modern: in which era it is written, where that is not yet agreed on.
            is_ours: we read the answer ourselves; else it is passed on to somebody who reads it.
        """
        ident = self._next_id
        self._next_id = ident + 1
        self._waiting[ident] = waiter
        if is_ours:
            self._asked_by_us.add(ident)
        if note is not None:
            self._progress.expect(ident, note)
        self.send(
            request_bytes(
                ident,
                method,
                stamped(
                    params,
                    stamp,
                    modern=self.modern if modern is None else modern,
                    token=None if note is None else ident,
                    has_roots=bool(self.roots),
                ),
            )
        )
        return ident

    def call_tool(
        self,
        tool: str,
        arguments: bytes,
        waiter: Waiter,
        note: Note | None = None,
        tails: tuple[bytes, bytes] | None = None,
    ) -> int:
        """Call a tool; the waiter receives the bytes of the result object, `note` each progress before it.

        Args:
            tails: How the message ends for this client, from `tails_of`.
        """
        head = self._words.head_of(tool)
        ident = self._next_id
        self._next_id = ident + 1
        self._waiting[ident] = waiter
        plain, noted = tails or self._words.plain
        if note is None:
            tail = plain
        else:
            self._progress.expect(ident, note)
            tail = noted % ident
        self._send_call(b'{"jsonrpc":"2.0","id":%d%b%b%b' % (ident, head, arguments, tail), ident, head)
        return ident

    def tails_of(self, stamp: Stamp) -> tuple[bytes, bytes]:
        """What ends a tool call with this stamp, without and with progress; good for this session."""
        return self._words.tails_of(stamp)

    def waiter_of(self, ident: int) -> Waiter | None:
        """Who waits for the answer to this request."""
        return self._waiting.get(ident)

    def hand_over(self, ident: int, waiter: Waiter, note: Note) -> None:
        """From now on somebody else waits for the answer to this request, and hears its progress if anybody did."""
        if ident in self._waiting:
            self._waiting[ident] = waiter
            self._progress.hand_over(ident, note)

    def is_waiting(self, ident: int | str) -> bool:
        """True while somebody waits for the answer to this request."""
        return ident in self._waiting

    def cancel(self, ident: int, reason: str) -> None:
        """Tell the plugin that nobody waits any more; its answer will be dropped."""
        if self._pop(ident) is None:
            return
        has_streams = self.transport is not None and self.transport.has_streams
        if not (self.modern and has_streams):  # there the closed stream says it, and nothing else may
            params = msgspec.json.encode({"requestId": ident, "reason": reason})
            self.send(notification_bytes("notifications/cancelled", params))
        if self.transport is not None:
            self.transport.withdraw(ident)

    def forget(self, ident: int) -> None:
        """Nobody waits for this request any more, and the plugin need not know; its answer will be dropped."""
        if self._pop(ident) is not None and self.transport is not None:
            self.transport.withdraw(ident)

    def answer_plugin(self, ident: int | str, result: bytes) -> None:
        """Answer what the plugin asked; `result` is one line of JSON."""
        self.send(result_bytes(ident, result))

    def refer_plugin(self, ident: int | str, error: bytes) -> None:
        """Answer what the plugin asked with a JSON-RPC error of the client's; one line of JSON."""
        self.send(b'{"jsonrpc":"2.0","id":%b,"error":%b}' % (_encode(ident), error))

    def refuse_plugin(self, ident: int | str, error: SekishoError) -> None:
        """Refuse what the plugin asked."""
        self.counters.refused_requests += 1
        self.send(error_bytes(ident, error))

    def roots_result(self) -> bytes:
        """What `roots/list` is answered with where no client is asked."""
        return roots_bytes(self.roots)

    def fail_all(self, error: SekishoError) -> None:
        """The transport is gone: everybody who waits hears it."""
        waiting, self._waiting = self._waiting, {}
        self._progress.clear()
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
        self._progress.drop(ident)
        if self._asked_by_us:
            self._asked_by_us.discard(ident)
        return self._waiting.pop(ident, None)

    @property
    def in_flight(self) -> int:
        """Requests without an answer."""
        return len(self._waiting)

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        """Take messages that arrived together, in order; `of` is our request on whose stream they came."""
        at = 0
        while at < len(lines):
            count = notes_alike(lines, at)
            if not count:
                self.receive(lines[at], of)
                at += 1
                continue
            found = read_notes(lines[at : at + count], self.limits)
            if found is not None:
                self._progress.pass_on(found[0], found[1], count)
            else:
                for line in lines[at : at + count]:
                    self.receive(line, of)
            at += count

    def receive(self, line: bytes, of: int | None = None) -> None:
        """Take one message from the plugin. Never raises: what cannot be read is counted."""
        if len(line) >= LARGE_BYTES and self._take_large(line, len(line)):
            return
        try:
            check_text(line, self.limits)
            read = read_line(line)
        except (SekishoError, msgspec.DecodeError, UnicodeError, RecursionError):
            self._receive_slowly(line, of)
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
                self._progress.read(params)
                return
        self._receive_slowly(line, of)

    def receive_large(self, place: memoryview, size: int) -> bool:
        """Take a message that may be a large answer to a call, from where it lies; False if it is none."""
        return size >= LARGE_BYTES and self._take_large(place_of(place), size)

    def _take_large(self, line: bytes | bytearray, size: int) -> bool:
        found = find_answer(line, size) if size <= self.limits.max_bytes else None
        if found is None or found[0] in self._asked_by_us:
            return False
        ident, start, end = found
        # asking whether it is a `LargeWaiter` would take the interpreter longer than all else here
        take_large: TakeLarge | None = getattr(self._waiting.get(ident), "take_large", None)
        if take_large is not None:
            self._pop(ident)
            take_large(line, start, end)
        else:
            self._answered(ident, bytes(memoryview(line)[start:end]))
        return True

    def _receive_slowly(self, line: bytes, of: int | None = None) -> None:
        if not line.strip():
            return
        try:
            message = parse_message(line, self.limits)
        except SekishoError as error:
            if error.code != "batch_refused" or not self._takes_batches:
                self.counters.garbage += 1
            else:
                self._receive_batch(line, of)
            return
        match message:
            case Response():
                failure = bytes(message.error)
                self._answered(message.id, read_error(failure) if failure else bytes(message.result))
            case Request():
                self._asked(message, of)
            case Notification(method=method):
                if method.endswith("/list_changed"):
                    self.on_list_changed()
                elif method == _PROGRESS:
                    self._progress.read(bytes(message.params))
                elif self.listener is not None:
                    self.listener.told(message, of)
                else:
                    self.counters.ignored_notifications += 1

    def _receive_batch(self, line: bytes, of: int | None) -> None:
        """A plugin of 2025-03-26 may send several messages at once: each is taken as if it had come alone."""
        try:
            texts = split_batch(line, self.limits, most=MAX_BATCH_MESSAGES)
        except SekishoError:
            self.counters.garbage += 1
            return
        for text in texts:
            if text[:1] == b"[":
                self.counters.garbage += 1
            else:
                self.receive(text, of)

    def _answered(self, ident: int | str | None, answer: Answer) -> None:
        waiter = self._pop(ident)
        if waiter is None:
            self.counters.unknown_answers += 1
            if self.listener is not None:
                self.listener.answered_late(ident)
        else:
            waiter(answer)

    def _asked(self, request: Request, of: int | None) -> None:
        if request.method == "ping":
            self.answer_plugin(request.id, b"{}")
        elif request.method == "roots/list" and (self.listener is None or "roots" not in self.may_ask):
            self.answer_plugin(request.id, self.roots_result())
        elif self.listener is None or self.modern:  # a modern plugin asks in its answers, never by itself
            self.refuse_plugin(
                request.id, RemoteProtocolError("method_unknown", "plugins may not ask for this")
            )
        else:
            self.listener.asked(request, of)

"""Between a client on standard input and output and a gateway over Streamable HTTP: what each message needs on its way.

Guarantees
- a message goes on as it is; what HTTP wants besides it (session, headers) is made from the message alone;
- every request of the client ends in one answer, unless the client withdrew it; a gateway that is away, or was
  restarted, is said so in the answer, and later requests reach it again;
- a batch of 2025-03-26 is taken apart: each message goes its own way, and the answers come back together;
- `initialize` begins a new session, and whatever follows it waits for its answer. A session that the gateway forgot is
  opened again and told once more what the client set in it; where that fails, requests are refused until the client
  initializes;
- a message of the newer era says everything itself and belongs to no session; what its client withdraws ends with its
  stream. Arguments that a tool wants repeated in headers are known from the lists that passed, or looked up when the
  gateway misses them.

Holds a bounded number of requests, within bounded memory. Decides nothing about them: the gateway does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from sekisho.assembly.relay_batches import Batches, read_batch
from sekisho.assembly.relay_requests import (
    Answer,
    Asked,
    InFlight,
    OwnRequests,
    Sender,
    error_code,
    read_params,
)
from sekisho.assembly.relay_settings import SessionSettings
from sekisho.assembly.relay_tools import ToolLists
from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.protocol import (
    JsonLimits,
    Message,
    Notification,
    Request,
    Response,
    encode_header,
    error_bytes,
    parse_message,
)

__all__ = ["Carrier", "Relay"]

_HEADER_MISMATCH: Final = -32020
_AWAY: Final = frozenset({"plugin_exited", "plugin_protocol", "plugin_unavailable"})  # as `Upstream` says it


class Carrier(Sender, Protocol):
    """One session at the gateway, or what needs none (`plugin_server.Upstream`)."""

    def use_version(self, version: str) -> None:
        """The revision of the session."""

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        """The tools whose arguments are repeated in headers."""


class _Initialized(msgspec.Struct, rename="camel"):
    protocol_version: str


class _Cancelled(msgspec.Struct, rename="camel"):
    request_id: int | str


class Relay:
    """One client and its gateway; hears both.

    Args:
        open_carrier: makes a carrier for one session, or for messages without one.
        close_carrier: ends one, and its session with it.
        write: gives the client one message.
        say: one line for whoever looks for what went wrong.
    """

    def __init__(
        self,
        *,
        open_carrier: Callable[[Relay], Carrier],
        close_carrier: Callable[[Carrier], None],
        write: Callable[[bytes], None],
        say: Callable[[str], None],
        limits: JsonLimits,
    ) -> None:
        self._open_carrier = open_carrier
        self._close_carrier = close_carrier
        self._write = write
        self._say = say
        self._limits = limits
        self._plain = open_carrier(self)
        self._session: Carrier | None = None
        self._is_forgotten = False
        self._opening: int | str | None = None
        self._waiting: deque[tuple[Message, bytes]] = deque()
        self._asked = InFlight()
        self._own = OwnRequests()
        self._settings = SessionSettings()
        self._tools = ToolLists()
        self._batches = Batches(write)
        self._version: str | None = None
        self._is_away = False
        self._quiet = asyncio.Event()

    async def wait_idle(self) -> None:
        """Return when no answer is due."""
        self._look_idle()
        await self._quiet.wait()

    def leave(self) -> None:
        """Nobody waits for anything any more."""
        self._asked.clear()
        self._own.clear()
        self._waiting.clear()
        self._batches.clear()

    def _look_idle(self) -> None:
        if self._asked.is_idle and not self._waiting:
            self._quiet.set()
        else:
            self._quiet.clear()

    # the client's words

    def take(self, line: bytes) -> None:
        """One message of the client."""
        try:
            message = parse_message(line, self._limits)
        except SekishoError as error:
            if error.code == "batch_refused":
                self._take_batch(line)
            else:
                self._refuse_line(error)
            return
        self._take_message(message, line)

    def _take_batch(self, line: bytes) -> None:
        """Several messages at once."""
        version = None if self._opening is not None else self._version
        try:
            found = read_batch(line, self._limits, version, _is_modern)
            idents = [message.id for message, _ in found if isinstance(message, Request)]
            if any(ident in self._asked for ident in idents):
                raise RemoteProtocolError(
                    "message_invalid", "a request with an id of this batch is in flight"
                )
        except SekishoError as error:
            self._refuse_line(error)
            return
        self._batches.begin(idents)
        for message, text in found:
            self._take_message(message, text)

    def _refuse_line(self, error: SekishoError) -> None:
        self._say(f"the client sent what is no message: {error.message}")
        self._write(error_bytes(None, error))

    def _take_message(self, message: Message, line: bytes) -> None:
        if self._opening is None:
            self._send_on(message, line)
        elif self._asked.has_room(len(line), len(self._waiting)):
            self._waiting.append((message, line))
            self._asked.hold(len(line))
        elif isinstance(message, Request):
            self._refuse(message.id, Unavailable("busy", "the session is not open yet"))

    def _send_on(self, message: Message, line: bytes) -> None:
        match message:
            case Request():
                self._ask(message, line)
            case Notification(method="notifications/cancelled"):
                self._cancel(message, line)
            case _:
                # without a session there is nobody who asked, and nobody to tell
                if self._session is not None and self._session.has_room():
                    self._session.send(line)

    def _ask(self, request: Request, line: bytes) -> None:
        if request.id in self._asked:
            error = RemoteProtocolError("message_invalid", "a request with this id is still in flight")
            self._write(error_bytes(request.id, error))  # what is in flight keeps its place in its batch
            return
        if not self._asked.has_room(len(line)):
            self._refuse(request.id, Unavailable("busy", "too many requests are in flight"))
            return
        is_modern, _ = read_params(request.params)
        if request.method == "initialize" and not is_modern:
            self._open_session(request.id)
        elif not is_modern and self._is_forgotten:
            self._refuse(request.id, Refused("session_unknown", "the gateway knows this session no more"))
            return
        carrier = self._plain if is_modern or self._session is None else self._session
        self._asked.add(request.id, Asked(request.method, line, request.params, carrier, is_modern))
        carrier.send(line)

    def _cancel(self, notification: Notification, line: bytes) -> None:
        try:
            ident = msgspec.json.decode(notification.params or b"{}", type=_Cancelled).request_id
        except msgspec.MsgspecError:
            return
        asked = self._settle(ident)
        if asked is None:
            return  # it was answered meanwhile
        self._batches.settle(ident, None)
        if not asked.is_modern and asked.carrier.has_room():
            asked.carrier.send(line)
        asked.carrier.withdraw(ident)

    def _refuse(self, ident: int | str, error: SekishoError) -> None:
        self._reply(ident, error_bytes(ident, error))

    def _reply(self, ident: int | str, line: bytes) -> None:
        if not self._batches.settle(ident, line):
            self._write(line)

    def _settle(self, ident: int | str) -> Asked | None:
        asked = self._asked.settle(ident)
        self._look_idle()
        return asked

    # the gateway's words: see `plugin_server.transport.Hearer`

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        """Messages of the gateway."""
        for line in lines:
            self.receive(line, of)

    def receive(self, line: bytes, of: int | None = None) -> None:
        """One message of the gateway."""
        del of
        try:
            answer = msgspec.json.decode(line, type=Answer)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return  # the end of the response fails its request
        self._is_away = False
        if answer.method is not None:
            self._write(line)  # it tells or asks; it knows from the client's own words what may be asked
        elif not self._own.settle(answer.id, answer) and answer.id is not None:
            asked = self._asked.get(answer.id)
            if asked is not None and asked.is_carried:
                self._answer(answer.id, asked, answer, line)

    def receive_large(self, place: memoryview, size: int) -> bool:
        """A large one: like any other."""
        del place, size
        return False

    def is_waiting(self, ident: int | str) -> bool:
        """True while somebody waits for this answer."""
        asked = self._asked.get(ident)
        return ident in self._own or (asked is not None and asked.is_carried)

    def fail_all(self, error: SekishoError) -> None:
        """No request will be answered."""
        for ident in (*self._own.idents, *self._asked.idents):
            self.fail_one(ident, error)

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        """One request will not be answered."""
        if error.code in _AWAY:
            if not self._is_away:
                self._say(f"the gateway gives no answer: {error.message}")
            self._is_away = True
            error = Unavailable("gateway_unavailable", f"the gateway gave no answer: {error.message}")
        if self._own.settle(ident, None) or self._settle(ident) is None:
            return
        self._refuse(ident, error)
        if ident == self._opening:
            self._opened(None)

    def _answer(self, ident: int | str, asked: Asked, answer: Answer, line: bytes) -> None:
        is_call = asked.method == "tools/call" and asked.is_modern and not asked.is_retried
        if is_call and answer.error and error_code(answer.error) == _HEADER_MISMATCH:
            asked.is_retried, asked.is_carried = True, False
            self._look_up(ident, asked, line, None)
            return
        self._settle(ident)
        if asked.method == "tools/list" and asked.is_modern and answer.result:
            self._tools.add(asked.params, answer.result)
            self._plain.use_tools(self._tools.annotated)
        elif answer.result and not asked.is_modern:
            self._settings.succeeded(asked)
        self._reply(ident, line)
        if ident == self._opening:
            self._opened(answer.result or None)

    # sessions

    def _open_session(self, ident: int | str) -> None:
        """A client that initializes begins anew."""
        before, self._session = self._session, self._open_carrier(self)
        self._settings.clear()
        self._is_forgotten = False
        self._opening = ident
        if before is not None:
            self._close_carrier(before)

    def _opened(self, result: msgspec.Raw | None) -> None:
        """The answer to `initialize`, or none: what waited for it goes on."""
        self._opening = None
        session = self._session
        version = self._version = None if result is None else _version(result)
        if session is not None and version is not None:
            session.use_version(encode_header(version))
        elif session is not None:
            self._session = None
            self._close_carrier(session)
        waiting, self._waiting = self._waiting, deque()
        for message, line in waiting:
            self._asked.hold(-len(line))
            self._take_message(message, line)
        self._look_idle()

    def reopened(self, session: Carrier) -> None:
        """The gateway had forgotten the session, and a new one stands."""
        if session is not self._session:
            return
        self._say("the gateway had forgotten the session; it was opened again")
        for method, params in self._settings:
            self._own.send(session, method, params)

    def forgotten(self, session: Carrier, error: SekishoError) -> None:
        """The gateway has forgotten the session, and opens none in its place."""
        if session is self._session:
            self._say(f"the session is lost: {error.message}")
            self._session, self._version, self._is_forgotten = None, None, True
        self._close_carrier(session)

    # headers of tools

    def _look_up(self, ident: int | str, asked: Asked, refusal: bytes, cursor: str | None) -> None:
        """The gateway misses headers: what it wants is looked up, and the call is made again, once."""
        params = self._tools.request(asked.params, cursor)

        def look(answer: Answer | None) -> None:
            if self._asked.get(ident) is not asked:
                return  # the client withdrew it meanwhile
            if answer is None or not answer.result:
                self._settle(ident)
                self._write(refusal)
                return
            more = self._tools.add(msgspec.Raw(params), answer.result)
            if more is not None:
                self._look_up(ident, asked, refusal, more)
                return
            self._plain.use_tools(self._tools.annotated)
            asked.is_carried = True
            asked.carrier.send(asked.line)

        self._own.send(self._plain, "tools/list", params, look)


def _is_modern(message: Message) -> bool:
    return not isinstance(message, Response) and read_params(message.params)[0]


def _version(result: msgspec.Raw) -> str | None:
    try:
        return msgspec.json.decode(result, type=_Initialized).protocol_version
    except (msgspec.MsgspecError, UnicodeError):
        return None

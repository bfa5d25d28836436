"""The door: from an HTTP request to a message of a known client, and from there to whoever serves it.

Guarantees that every request gets exactly one answer, that every refusal carries a stable code in
`error.data.code`, the right HTTP status, a record and a metric, and that nothing is read beyond the head before the
caller is known. What was found out about a head is kept with it (`HeadMemo`) for as long as the rules it was judged by
hold; tokens and sessions are looked up for every request. Knows both eras; knows no socket (see `front`), serves no
method (`dispatch`) and decides no call (`checkpoint`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.gateway.batches import serve_batch
from sekisho.gateway.checkpoint import House
from sekisho.gateway.client_answers import ClientAnswers
from sekisho.gateway.dispatch import Dispatcher
from sekisho.gateway.events import LAST_STREAM_HEAD, STREAM_HEAD
from sekisho.gateway.freight import LARGE_BYTES, STRANGERS, too_much
from sekisho.gateway.guest import Guest, Withdrawable
from sekisho.gateway.old_sse import OldStreams, serve_old
from sekisho.gateway.reception import DoorRules, Pass, admit, document_of, identify, look
from sekisho.gateway.request_ids import RequestIds
from sekisho.gateway.resuming import ResumableStreams
from sekisho.gateway.road import Road
from sekisho.gateway.sayings import Clock
from sekisho.gateway.seats import Seats
from sekisho.gateway.sessions import Session, Sessions
from sekisho.gateway.stages import Refusal
from sekisho.gateway.visit import Streams, Visit
from sekisho.keys import Pending, Principal
from sekisho.protocol import (
    ClientNotification,
    ClientRequest,
    ClientResponse,
    HeadMemo,
    HttpRequest,
    envelope,
    parse_client_message,
    says_trace,
)

__all__ = ["Door", "DoorRules", "Elsewhere"]


class Elsewhere(Protocol):
    """The other workers, any of which may be carrying the call that is meant."""

    def withdraw_elsewhere(self, client: str, session: str, request: int | str) -> None:
        """A client withdrew a request."""

    def hear_elsewhere(self, ask: str, scope: str, said_yes: bool) -> None:
        """A person answered a question of the gate."""


_NO_STREAM = "GET opens the stream of a session, for a client that accepts text/event-stream"


class Door:
    """Answers requests."""

    def __init__(
        self,
        *,
        rules: Callable[[], DoorRules],
        house: Callable[[], House],
        road: Road,
        sessions: Sessions,
        clock: Clock,
        new_id: Callable[[], str],
        round_key: bytes,
        elsewhere: Elsewhere | None = None,
        streams: Seats | None = None,
        request_ids: RequestIds | None = None,
    ) -> None:
        """`streams` and `request_ids` are what other workers know of, too."""
        self.heads = HeadMemo()
        self._rules = rules
        self._house = house
        self._road = road
        self.freight = road.freight
        self._sessions = sessions
        self._clock = clock
        self.soon = clock.soon
        self.new_id = new_id
        self._elsewhere = elsewhere
        self._copies = ResumableStreams(clock.now, sessions.is_ended)
        self._streams = Streams(self._copies, streams)
        self.dispatcher = Dispatcher(
            house=house,
            road=road,
            sessions=sessions,
            clock=clock,
            new_id=new_id,
            round_key=round_key,
            request_ids=request_ids,
        )
        self._client_answers = ClientAnswers(
            house=house,
            road=road,
            hear_word=self.hear_word,
            hear_elsewhere=None if elsewhere is None else elsewhere.hear_elsewhere,
        )
        self._old = OldStreams(sessions, self.dispatcher.subscriptions)

    def answer(self, request: HttpRequest, guest: Guest) -> Withdrawable | None:
        """Answer one request; what is still under way is returned so that a lost client can end it."""
        house, rules = self._house(), self._rules()
        visit = self._visit(request, guest, house)
        known, shown = request.note, guest.shown
        try:
            if not (isinstance(known, Pass) and known.rules is rules):
                document = document_of(request, house, rules)
                if document is not None:
                    visit.publish(document[0])
                    return None
                known = look(request, rules)
            if shown is None:
                found = identify(request, visit, house)
            else:
                found, guest.shown = shown, None
            if isinstance(found, Pending):
                return _Waiting(self, request, visit, known, found)
            return self.go_on(request, visit, known, found, house)
        except SekishoError as error:
            self.refuse(visit, error)
            return None

    def house_changed(self) -> None:
        """What clients may see may be different now: open streams are told."""
        self.dispatcher.subscriptions.look()

    def close(self) -> None:
        """End the streams that have no end of their own."""
        self._old.close()
        self.dispatcher.subscriptions.close()

    def look(self, now: float) -> None:
        """End the streams whose client may no longer be here; to be called every second or so."""
        self.dispatcher.subscriptions.expire(now)
        self.dispatcher.journeys.expire(now)
        self._old.expire(now)
        self._copies.expire(now)

    def lets_in(self, request: HttpRequest, guest: Guest) -> bool:
        """True when the body of this request may come: strangers must not make us hold one. Else it is refused."""
        house = self._house()
        visit = self._visit(request, guest, house)
        try:
            known = look(request, self._rules())
            # whom an issuer has to be asked about may send meanwhile, within the bounds of every body
            guest.shown = found = identify(request, visit, house)
            if isinstance(found, Principal):
                admit(visit, house, found, known, request)
                size = int(request.headers.get("content-length", "0"))
                if size > LARGE_BYTES and not self.freight.has_room(found.client, size):
                    raise too_much("as many bytes of calls are under way as may be")
        except SekishoError as error:
            guest.shown = None
            visit.keep_alive = False  # what follows is a body that nobody reads
            self.refuse(visit, error)
            return False
        return True

    def _visit(self, request: HttpRequest, guest: Guest, house: House) -> Visit:
        return Visit(
            self.new_id(),
            self._clock.now(),
            guest,
            self._streams,
            # a client does not read the body of an answer to HEAD, so ours would be taken for the next answer
            keep_alive=request.keep_alive and request.method != "HEAD",
            target=request.target,
            challenges=house.challenges,
        )

    def refuse_unreadable(self, error: SekishoError, guest: Guest) -> None:
        """Answer bytes that never became a request; the connection ends with it."""
        visit = Visit(self.new_id(), self._clock.now(), guest, self._streams, keep_alive=False)
        self.refuse(visit, error)

    def go_on(
        self,
        request: HttpRequest,
        visit: Visit,
        known: Pass,
        principal: Principal,
        house: House | None = None,
    ) -> Withdrawable | None:
        """Serve a request whose sender is known now; whoever had to wait may find another house."""
        house = house or self._house()
        admit(visit, house, principal, known, request)
        if known.old is not None:
            self._streams.most = known.rules.max_streams_per_client
            return serve_old(self, self._old, request, visit, known)
        if request.method == "POST":
            return self._read(request, visit, house, known)
        ident = request.headers.get("mcp-session-id")
        if request.method == "DELETE":
            session = self._session_of(request, visit)
            self._sessions.close(ident, visit.known_client, visit.endpoint, visit.now)
            self.dispatcher.subscriptions.end_session(session.caller.scope)
            self._copies.end(ident or "")
            visit.end_session()
            return None
        return self._follow(request, visit, known)

    def _follow(self, request: HttpRequest, visit: Visit, known: Pass) -> Withdrawable:
        """A GET: the stream of a legacy session. Who has none, or reads none, is told as by one who offers none."""
        if "mcp-session-id" not in request.headers or not known.takes_streams:
            raise RemoteProtocolError("http_method_not_allowed", _NO_STREAM)
        session = self._session_of(request, visit)
        self._streams.most = known.rules.max_streams_per_client
        visit.takes_streams = True
        if session.resumes:
            last, visit.resumes_in = request.headers.get("last-event-id"), session.ident
            found = None if last is None else self._copies.find(last, visit.known_client, session.ident)
            if found is not None:
                head = STREAM_HEAD if visit.keep_alive else LAST_STREAM_HEAD
                return found[0].resume(visit.guest, head, found[1])
        return self.dispatcher.subscriptions.follow(visit, session.caller)

    def _read(self, request: HttpRequest, visit: Visit, house: House, known: Pass) -> Withdrawable | None:
        try:
            message = parse_client_message(request.body, known.rules.message_limits)
        except RemoteProtocolError as error:
            if error.code != "batch_refused":
                raise
            return serve_batch(self, request, visit, known, partial(self._session_of, request, visit))
        if isinstance(message, ClientRequest):
            visit.request_id = message.id
        elif isinstance(message, ClientResponse):
            self.hear_answer(message, visit, partial(self._session_of, request, visit))
            return None
        shape = envelope(request.headers, message)
        visit.modern = shape.modern
        session: Session | None = None
        if not shape.modern and message.method != "initialize":
            ident = request.headers.get("mcp-session-id")
            session = self._sessions.find(ident, visit.known_client, visit.endpoint, visit.now)
        if isinstance(message, ClientNotification):
            self.notice(message, visit, session)
            visit.accept()
            return None
        if request.note is not known and _comes_again(request):
            self.heads.keep(request, known)
        visit.takes_streams = known.takes_streams
        if session is not None and session.resumes:
            visit.resumes_in = session.ident
        self._streams.most = known.rules.max_streams_per_client
        return self.dispatcher.serve(message, visit, session, shape, request)

    def _session_of(self, request: HttpRequest, visit: Visit) -> Session:
        ident = request.headers.get("mcp-session-id")
        return self._sessions.find(ident, visit.known_client, visit.endpoint, visit.now)

    def notice(self, message: ClientNotification, visit: Visit, session: Session | None) -> None:
        """A notification of a client; all but one say nothing that has to be known."""
        if message.method != "notifications/cancelled" or session is None:
            return
        target = message.params.get("requestId")
        if isinstance(target, bool) or not isinstance(target, int | str):
            raise RemoteProtocolError("params_invalid", "cancelled needs requestId")
        if not self.withdraw(visit.known_client, session.ident, target) and self._elsewhere is not None:
            self._elsewhere.withdraw_elsewhere(visit.known_client, session.ident, target)

    def withdraw(self, client: str, session: str, request: int | str) -> bool:
        """End a call that its caller withdrew; False when it is not under way here."""
        return self.dispatcher.journeys.withdraw(client, session, request)

    def hear_word(self, ask: str, scope: str, said_yes: bool) -> bool:
        """What the person behind a client said to a question of ours; False when it was not asked here."""
        return self.dispatcher.journeys.hear_word(ask, scope, said_yes=said_yes)

    def hear_answer(self, message: ClientResponse, visit: Visit, session_of: Callable[[], Session]) -> None:
        """What a legacy client says to a question."""
        self._client_answers.hear(message, visit, session_of)

    def refuse(self, visit: Visit, error: SekishoError) -> None:
        """Record a refusal, then give it."""
        refusal = Refusal(visit.client, error, visit.call_id, visit.endpoint or "")
        self._road.record_refusal(refusal, visit.now, lambda given: visit.refuse(given.error))


def _comes_again(request: HttpRequest) -> bool:
    """False for a head that is another each time: it would only take the place of those that are not."""
    return "dpop" not in request.headers and not says_trace(request.headers)


class _Waiting:
    """A request whose sender an issuer is asked about."""

    def __init__(
        self,
        door: Door,
        request: HttpRequest,
        visit: Visit,
        known: Pass,
        pending: Pending,
    ) -> None:
        self._size = len(request.body) if len(request.body) > LARGE_BYTES else 0
        if self._size and not door.freight.take(STRANGERS, self._size):
            pending.withdraw()
            raise too_much("as many bytes wait for an issuer's word as may")
        self._door = door
        self._request: HttpRequest | None = request
        self._visit = visit
        self._known = known
        self._pending = pending
        self._journey: Withdrawable | None = None
        # of its own turn: nothing that goes wrong with one client's request may stop whoever brings the answers
        pending.then(lambda outcome: door.soon(lambda: self._heard(outcome)))

    def withdraw(self, reason: SekishoError) -> None:
        """The client is gone."""
        self._pending.withdraw()
        self._let_go()
        if self._journey is not None:
            self._journey.withdraw(reason)

    def _heard(self, outcome: Principal | SekishoError) -> None:
        request = self._let_go()
        if request is None:
            return
        try:
            if isinstance(outcome, SekishoError):
                raise outcome
            self._journey = self._door.go_on(request, self._visit, self._known, outcome)
        except SekishoError as error:
            self._door.refuse(self._visit, error)

    def _let_go(self) -> HttpRequest | None:
        """The request, once: whoever serves it keeps what it needs of it."""
        request, self._request = self._request, None
        if request is not None and self._size:
            self._door.freight.give(STRANGERS, self._size)
        return request

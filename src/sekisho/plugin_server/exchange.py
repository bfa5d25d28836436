"""One call with a context: sent to the plugin, interrupted by its questions, answered once. The four bridges.

| client | plugin | a question of the plugin |
|---|---|---|
| asked on its stream | legacy | goes to the client as a question; its answer goes back as a response |
| asked in rounds | modern | is the answer of this round; the next one carries answers and state |
| asked on its stream | modern | becomes questions on the stream; when all are answered, the request is repeated |
| asked in rounds | legacy | the call is parked under a handle, which the next round names to carry it on |

Guarantees
- the call ends exactly once: result, the plugin's error, or ours; parked calls too, after a bounded time;
- only what this client may be asked is asked; roots are ours, and a client that may be asked for its own can only narrow
  them;
- the execution time does not run while somebody is asked, but a call never lives longer than its cap;
- a withdrawn or overdue call leaves no question open, neither at the client nor at the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.asking import (
    MAX_ASKED_BYTES,
    ROOTS,
    InputRequired,
    Question,
    State,
    input_required_bytes,
    is_allowed,
    read_input_required,
    url_questions,
    url_requests_of_error,
)
from sekisho.plugin_server.era import Stamp
from sekisho.plugin_server.handles import Handles
from sekisho.plugin_server.roots import narrowed_roots
from sekisho.plugin_server.session import Answer, PluginSession, RpcError
from sekisho.protocol import Request, decode_distinct, reemit
from sekisho.wire import AnswerFrame, AskFrame, CallContext, EventFrame, Inbound

__all__ = ["Errand", "Exchange", "Keeper"]

MAX_ASKING_S: Final = (
    600.0  # a call in which somebody is asked, however often, ends after this and its own time
)
MAX_PARKED_S: Final = 300.0  # a person who walked away must not hold a plugin's call for longer
MAX_ROUNDS: Final = 8  # a plugin that always has one more question is not asking
MAX_EVENTS: Final = 1_000  # of one call
MAX_HELD_BYTES: Final = 1 << 20  # a result that nobody waits for now
URL_REQUIRED: Final = -32042  # MCP 2025-11-25
_CANCELLED: Final = b'{"action":"cancel"}'

_encode: Final = msgspec.json.Encoder().encode


class Keeper(Protocol):
    """What an exchange needs of whoever keeps the calls under way."""

    questions: Handles[Callable[[AnswerFrame], None]]

    def now(self) -> float:
        """The time of the loop."""

    def began(self, exchange: Exchange) -> None:
        """It waits for the answer to another request, or until another deadline."""

    def park(self, exchange: Exchange) -> str | None:
        """Keep it without its caller; its handle, or None if too many are kept."""

    def ended(self, exchange: Exchange) -> None:
        """It is over."""

    def hung(self) -> None:
        """The plugin did not answer in time."""

    def elicited(self, exchange: Exchange, elicitation: str) -> None:
        """Its client was sent to a URL under this id."""


class Errand(msgspec.Struct, frozen=True, gc=False):
    """What a call with a context asks of the plugin; `params` are without `_meta`."""

    inbound: Inbound
    context: CallContext
    method: str
    params: Mapping[str, object]


class Exchange:
    """The life of one call. `inbound` is None while it is parked."""

    def __init__(
        self,
        keeper: Keeper,
        session: PluginSession,
        errand: Errand,
        *,
        timeout_s: float,
        log_level: str | None,
        on_end: Callable[[bool], None],
    ) -> None:
        self.inbound: Inbound | None = errand.inbound
        self.scope = errand.context.scope
        self.name = errand.inbound.frame.tool
        self.ident = 0
        self.timeout_s = timeout_s
        self.deadline = keeper.now() + timeout_s
        self.log_level = log_level
        self._keeper = keeper
        self._session = session
        self._context = errand.context
        self._method = errand.method
        self._params = errand.params
        self._arguments = bytes(errand.inbound.frame.arguments) if errand.method == "tools/call" else None
        self._on_end = on_end
        self._cap = self.deadline + MAX_ASKING_S
        self._left_s: float | None = None  # of the execution time, while somebody is asked
        self._rounds = 0
        self._events = 0
        self._open: dict[
            str, tuple[int | str | None, Question]
        ] = {}  # by handle or key; a legacy plugin's id
        self._unasked: dict[str, tuple[int | str | None, Question]] = {}
        self._answers: dict[str, msgspec.Raw] = {}  # of this round, to a modern plugin
        self._state: str | None = None
        self._handle: str | None = None  # while it is parked
        self._outcome: Answer | None = None  # that came while it was parked

    @property
    def may_be_asked(self) -> bool:
        """True if a plugin may ask this client anything at all."""
        return bool(self._may_ask)

    def may_be_asked_for(self, method: str) -> bool:
        """True if a plugin may ask this of its client, in its simplest form."""
        return is_allowed(Question(method), self._may_ask)

    @property
    def is_asking(self) -> bool:
        """True while the plugin waits for the client."""
        return bool(self._open or self._unasked)

    @property
    def is_asked_on_stream(self) -> bool:
        """True if its client hears questions and notifications at once."""
        return self._context.style == "stream"

    def send(self, answers: Mapping[str, msgspec.Raw] | None = None, state: str | None = None) -> None:
        """Send the request to the plugin; in a later round with what was answered."""
        stamp = Stamp(self._may_ask, self.log_level, bytes(self._context.meta))
        wants_progress = self.inbound is not None and self.inbound.frame.wants_progress
        note = self._note if wants_progress else None
        if self._arguments is not None and not answers and state is None:
            self.ident = self._session.call_tool(self.name, self._arguments, self.hear, note, stamp)
        else:
            params = dict(self._params)
            if answers:
                params["inputResponses"] = answers
            if state is not None:
                params["requestState"] = state
            self.ident = self._session.request(
                self._method, params, self.hear, stamp=stamp, note=note, is_ours=False
            )
        self._keeper.began(self)

    def hear(self, answer: Answer) -> None:
        """What the plugin answered."""
        self.ident = 0
        if self._session.modern and isinstance(answer, bytes):
            try:
                required = read_input_required(answer)
            except SekishoError as error:
                self._end(error)
                return
            if required is not None:
                self._ask_in_rounds(required)
                return
        elif isinstance(answer, RpcError) and answer.code == URL_REQUIRED:
            answer = self._urls_required(answer)
        self._end(answer)

    def event(self, frame: EventFrame) -> bool:
        """Pass a notification on to the caller; False if there is none now, or it heard too much."""
        if self.inbound is None or self._events >= MAX_EVENTS:
            return False
        self._events += 1
        self.inbound.event(frame)
        return True

    def ask(self, request: Request) -> None:
        """A legacy plugin asks in the midst of the call."""
        try:
            params = decode_distinct(bytes(request.params) or b"{}")[1]
        except SekishoError as error:
            self._session.refuse_plugin(request.id, error)
            return
        question = Question(request.method, params)
        if len(params) > MAX_ASKED_BYTES or not is_allowed(question, self._may_ask):
            refusal = RemoteProtocolError("method_unknown", "this client may not be asked for this")
            self._session.refuse_plugin(request.id, refusal)
            return
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            self._session.refuse_plugin(request.id, Unavailable("busy", "this call has asked enough"))
        elif self.is_asked_on_stream:
            self._ask_on_stream(request.id, question)
        else:
            self._unasked[f"q{self._rounds}"] = (request.id, question)
            self._give()

    def forget_question(self, ident: int | str) -> None:
        """The plugin takes a question back."""
        for table in (self._open, self._unasked):
            for key in [key for key, (asked, _) in table.items() if asked == ident]:
                del table[key]
                self._keeper.questions.drop(key)
        if self.inbound is not None and not self.is_asking:
            self._run_on()

    def resume(self, inbound: Inbound, context: CallContext, responses: Mapping[str, msgspec.Raw]) -> None:
        """The next round of a parked call: its answers go to the plugin, and this caller waits from now on."""
        self.inbound, self._context, self._handle = inbound, context, None
        given, self._open = self._open, {}
        for key, (ident, question) in given.items():
            answer = responses.get(key)
            if answer is None:
                self._unasked[key] = (ident, question)
            elif ident is not None:
                self._session.answer_plugin(ident, self._clean(question, answer))
        if self._outcome is not None:
            self._deliver(self._outcome)
        elif self._unasked:
            self._rounds += 1
            self._give()
        else:
            self._run_on()

    def withdraw(self, reason: str) -> None:
        """Nobody waits for it any more."""
        self._stop(reason)
        self._finish(succeeded=False)

    def overdue(self) -> None:
        """Its time is over. A plugin that waits for a person is not at fault, and lives on."""
        was_asking = self._left_s is not None
        self._stop("execution timeout")
        self._finish(succeeded=False)
        if self.inbound is not None:
            what = (
                "nobody answered in time"
                if was_asking
                else f"the plugin took longer than {self.timeout_s:g} s"
            )
            self.inbound.fail("plugin_timeout", what)
        if not was_asking:
            self._keeper.hung()

    # asking

    @property
    def _may_ask(self) -> tuple[str, ...]:
        return self._context.may_ask if self.scope else ()

    def _clean(self, question: Question, answer: msgspec.Raw) -> bytes:
        """A client's answer as a plugin may hear it."""
        text = reemit(answer)
        return narrowed_roots(self._session.roots, text) if question.method == ROOTS else text

    def _ask_on_stream(self, ident: int | str, question: Question) -> None:
        handle = self._keeper.questions.add(self.scope, self._answered_to_plugin)
        if handle is None:
            self._session.refuse_plugin(ident, Unavailable("busy", "too many questions are open"))
            return
        self._put(handle, ident, question)

    def _put(self, handle: str, ident: int | str | None, question: Question) -> None:
        self._open[handle] = (ident, question)
        self._pause(self._cap)
        elicitation = _elicitation_id(question)
        if elicitation is not None:
            self._keeper.elicited(self, elicitation)
        if self.inbound is not None:
            self.inbound.ask(AskFrame(handle, question.method, msgspec.Raw(question.params)))

    def _answered_to_plugin(self, frame: AnswerFrame) -> None:
        ident, question = self._open.pop(frame.ask)
        if ident is not None and frame.error:
            self._session.refer_plugin(ident, reemit(frame.error))
        elif ident is not None:
            self._session.answer_plugin(ident, self._clean(question, frame.result))
        if not self.is_asking:
            self._run_on()

    def _give(self) -> None:
        """Answer this round with what the plugin asked meanwhile, and park the call."""
        if self.inbound is None:
            return  # it is parked; the next round hears of it
        handle = self._keeper.park(self) if self._rounds <= MAX_ROUNDS else None
        if handle is None:
            unasked, self._unasked = self._unasked, {}
            for ident, _ in unasked.values():
                if ident is not None:
                    self._session.refuse_plugin(ident, Unavailable("busy", "too many questions are open"))
            self._run_on()
            return
        self._open, self._unasked = self._unasked, {}
        inbound, self.inbound, self._handle = self.inbound, None, handle
        self._pause(min(self._keeper.now() + MAX_PARKED_S, self._cap))
        inbound.reply(input_required_bytes({key: asked for key, (_, asked) in self._open.items()}, handle))

    def _ask_in_rounds(self, required: InputRequired) -> None:
        """A modern plugin answered with questions."""
        self._rounds += 1
        may_ask = self._may_ask
        roots = [key for key, question in required.questions.items() if question.method == ROOTS]
        narrowed = roots if "roots" in may_ask else []
        roots = [] if narrowed else roots
        asked = {key: question for key, question in required.questions.items() if key not in roots}
        if self._rounds > MAX_ROUNDS or not all(is_allowed(question, may_ask) for question in asked.values()):
            what = "without end" if self._rounds > MAX_ROUNDS else "what this client may not be asked"
            self._end(RemoteProtocolError("plugin_protocol", f"the plugin asks {what}"))
            return
        self._answers = {key: msgspec.Raw(self._session.roots_result()) for key in roots}
        self._state = required.state
        if not asked and (roots or self.is_asked_on_stream):
            self.send(self._answers, self._state)
        elif self.is_asked_on_stream:
            self._ask_each(asked)
        else:
            state = State(required.state, roots, narrowed)
            if state == State():
                self._end(input_required_bytes(asked, None))
                return
            self._end(input_required_bytes(asked, _encode(state).decode()))

    def _ask_each(self, asked: Mapping[str, Question]) -> None:
        for key, question in asked.items():
            handle = self._keeper.questions.add(self.scope, partial(self._answered_in_round, key))
            if handle is None:
                self._stop("too many questions are open")
                self._end(Unavailable("busy", "too many questions are open"))
                return
            self._put(handle, None, question)

    def _answered_in_round(self, key: str, frame: AnswerFrame) -> None:
        _, question = self._open.pop(frame.ask)
        if frame.error and question.method != "elicitation/create":
            self._stop("the client did not answer")
            self._end(Refused("cancelled", "the client did not answer what the plugin asked"))
            return
        # the rounds of MCP know no errors: whoever does not answer an elicitation has cancelled it
        self._answers[key] = msgspec.Raw(_CANCELLED if frame.error else self._clean(question, frame.result))
        if not self._open:
            self._run_on()
            self.send(self._answers, self._state)

    def _urls_required(self, error: RpcError) -> Answer:
        """A legacy plugin wants URLs visited first; a client that is asked in rounds is asked in one."""
        wanted = url_requests_of_error(error.raw)
        for _, _, elicitation in wanted:
            if elicitation is not None:
                self._keeper.elicited(self, elicitation)
        asked = url_questions(wanted)
        if self.is_asked_on_stream or not asked or "elicitation/url" not in self._may_ask:
            return error
        return input_required_bytes(asked, None)

    # time

    def _pause(self, until: float) -> None:
        if self._left_s is None:
            self._left_s = self.deadline - self._keeper.now()
        self.deadline = until
        self._keeper.began(self)

    def _run_on(self) -> None:
        if self._left_s is not None:
            self.deadline = min(self._keeper.now() + self._left_s, self._cap)
            self._left_s = None
            self._keeper.began(self)

    # the end

    def _note(self, notes: Sequence[bytes]) -> None:
        if self.inbound is not None:
            self.inbound.notes(notes)

    def _end(self, answer: Answer) -> None:
        if self.inbound is not None:
            self._deliver(answer)
        elif isinstance(answer, bytes) and len(answer) > MAX_HELD_BYTES:
            self._outcome = RemoteProtocolError(
                "result_too_large", "the plugin answered before it was answered"
            )
        else:
            self._outcome = answer

    def _deliver(self, answer: Answer) -> None:
        inbound = self.inbound
        self._close_questions()
        self._finish(succeeded=isinstance(answer, bytes))
        if inbound is None:
            return
        if isinstance(answer, bytes):
            inbound.reply(answer)
        elif isinstance(answer, RpcError):
            inbound.refer(answer.raw)
        else:
            inbound.fail(answer.code, answer.message)

    def _stop(self, reason: str) -> None:
        if self.ident:
            self._session.cancel(self.ident, reason)
            self.ident = 0
        for ident in self._close_questions():
            self._session.refuse_plugin(ident, Refused("cancelled", "the call is over"))

    def _close_questions(self) -> list[int | str]:
        """No question is open any more; those of a legacy plugin that still waits."""
        waiting = [
            ident for table in (self._open, self._unasked) for ident, _ in table.values() if ident is not None
        ]
        for handle in self._open:
            self._keeper.questions.drop(handle)
        self._open, self._unasked = {}, {}
        return waiting

    def _finish(self, *, succeeded: bool) -> None:
        self._keeper.ended(self)
        self._on_end(succeeded)

    @property
    def handle(self) -> str | None:
        """Its name while it is parked."""
        return self._handle


def _elicitation_id(question: Question) -> str | None:
    members = msgspec.json.decode(question.params)
    found = members.get("elicitationId") if isinstance(members, dict) else None
    return found if isinstance(found, str) else None

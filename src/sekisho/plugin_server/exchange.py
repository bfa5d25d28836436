"""One call with a context: sent to the plugin, interrupted by its questions, answered once. The four bridges.

| client | plugin | a question of the plugin |
|---|---|---|
| asked on its stream | legacy | goes to the client as a question; its answer goes back as a response |
| asked in rounds | modern | is the answer of this round; the next one carries answers and state |
| asked on its stream | modern | becomes questions on the stream; when all are answered, the request is repeated |
| asked in rounds | legacy | the call is parked under a handle, which the next round names to carry it on |

Guarantees
- the call ends exactly once: result, the plugin's error, or ours; parked calls too, after a bounded time;
- the execution time does not run while somebody is asked, but a call never lives longer than its cap;
- a withdrawn or overdue call leaves no question open, neither at the client nor at the plugin.

What is asked, and how answers reach the plugin, is the `dialogue`'s; most calls never have one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError
from sekisho.plugin_server.asking import (
    Question,
    input_required_bytes,
    is_allowed,
    read_input_required,
    url_questions,
    url_requests_of_error,
)
from sekisho.plugin_server.dialogue import MAX_ROUNDS, Dialogue
from sekisho.plugin_server.era import NOT_ASKED, Stamp
from sekisho.plugin_server.errand import Errand
from sekisho.plugin_server.handles import Handles
from sekisho.plugin_server.input_required import is_input_required
from sekisho.plugin_server.session import Answer, PluginSession, RpcError
from sekisho.plugin_server.task_roots import roots_asked
from sekisho.protocol import Request
from sekisho.wire import AnswerFrame, CallContext, EventFrame, Inbound

__all__ = ["URL_REQUIRED", "Exchange", "Keeper"]

MAX_ASKING_S: Final = (
    600.0  # a call in which somebody is asked, however often, ends after this and its own time
)
MAX_PARKED_S: Final = 300.0  # a person who walked away must not hold a plugin's call for longer
MAX_EVENTS: Final = 1_000  # of one call
MAX_HELD_BYTES: Final = 1 << 20  # a result that nobody waits for now
URL_REQUIRED: Final = -32042  # MCP 2025-11-25
ROOTS_ASKED: Final = "roots"  # among what may be asked of a client


class Keeper(Protocol):
    """What an exchange needs of whoever keeps the calls under way."""

    questions: Handles[Callable[[AnswerFrame], None]]

    def soon(self, then: Callable[[], None]) -> None:
        """Call this in a moment."""

    def now(self) -> float:
        """The time of the loop."""

    def began(self, exchange: Exchange) -> None:
        """It waits for the answer to another request, or until another deadline."""

    def park(self, exchange: Exchange) -> str | None:
        """Keep it without its caller; its handle, or None if too many are kept."""

    def left_behind(self, exchange: Exchange) -> None:
        """The request that it waits for was withdrawn from the plugin."""

    def ended(self, exchange: Exchange) -> None:
        """It is over."""

    def hung(self) -> None:
        """The plugin did not answer in time."""

    def elicited(self, exchange: Exchange, elicitation: str) -> None:
        """Its client was sent to a URL under this id."""


class Exchange:
    """The life of one call. `inbound` is None while it is parked."""

    __slots__ = (
        "_cap", "_context", "_errand", "_events", "_keeper", "_left_s", "_on_end", "_outcome", "deadline", "dialogue",
        "handle", "ident", "inbound", "log_level", "name", "roots_given", "scope", "session", "timeout_s",
    )  # fmt: skip

    def __init__(
        self,
        keeper: Keeper,
        session: PluginSession,
        errand: Errand,
        *,
        timeout_s: float,
        log_level: str | None,
        on_end: Callable[[bool], None] | None,
    ) -> None:
        self.inbound: Inbound | None = errand.inbound
        self.session = session
        self.scope = errand.context.scope
        self.name = errand.inbound.frame.tool
        self.ident = 0  # of the request it waits for, or 0
        self.handle: str | None = None  # its name while it is parked
        self.timeout_s = timeout_s
        self.deadline = keeper.now() + timeout_s
        self.log_level = log_level
        self.dialogue: Dialogue | None = None
        self.roots_given = 0  # how often a task that is asked for was given our roots
        self._keeper = keeper
        self._errand = errand
        self._context = errand.context
        self._on_end = on_end
        self._cap = self.deadline + MAX_ASKING_S
        self._left_s: float | None = None  # of the execution time, while somebody is asked
        self._events = 0
        self._outcome: Answer | None = None  # that came while it was parked

    def as_exchange(self) -> Exchange:
        """Itself."""
        return self

    def take_over(self, ident: int, deadline: float) -> None:
        """Go on with a request that was sent before."""
        self.ident, self.deadline = ident, deadline
        self._cap = deadline + MAX_ASKING_S

    @property
    def may_ask(self) -> tuple[str, ...]:
        """What a plugin may ask this client; nobody can be asked without a scope that the answer has to name."""
        return self._context.may_ask if self.scope else ()

    @property
    def can_be_asked(self) -> bool:
        """True if its client may be asked anything at all."""
        return not NOT_ASKED.issuperset(self.may_ask)

    @property
    def questions(self) -> Handles[Callable[[AnswerFrame], None]]:
        """All open questions of all calls."""
        return self._keeper.questions

    @property
    def is_asking(self) -> bool:
        """True while the plugin waits for the client."""
        return self.dialogue is not None and self.dialogue.is_asking

    @property
    def is_asked_on_stream(self) -> bool:
        """True if its client hears questions and notifications at once."""
        return self._context.style == "stream"

    def may_be_asked_for(self, method: str) -> bool:
        """True if a plugin may ask this of its client, in its simplest form."""
        return is_allowed(Question(method), self.may_ask)

    def send(self, answers: Mapping[str, msgspec.Raw] | None = None, state: str | None = None) -> None:
        """Send the request to the plugin; in a later round with what was answered."""
        stamp = Stamp(self.may_ask, self.log_level, bytes(self._context.meta))
        inbound, errand = self.inbound, self._errand
        note = self.note if inbound is not None and inbound.frame.wants_progress else None
        if errand.method == "tools/call" and not answers and state is None:
            arguments = errand.inbound.frame.arguments
            tails = self.session.tails_of(stamp)
            self.ident = self.session.call_tool(self.name, arguments, self.hear, note, tails)
        else:
            params = dict(errand.params)
            if answers:
                params["inputResponses"] = answers
            if state is not None:
                params["requestState"] = state
            self.ident = self.session.request(
                errand.method, params, self.hear, stamp=stamp, note=note, is_ours=False
            )
        self._keeper.began(self)

    def hear(self, answer: Answer) -> None:
        """What the plugin answered."""
        self.ident = 0
        if isinstance(answer, bytes) and self._errand.method == "tasks/get" and self._give_roots(answer):
            return
        if self.session.modern and isinstance(answer, bytes) and is_input_required(answer):
            try:
                required = read_input_required(answer)
            except SekishoError as error:
                self.end(error)
                return
            if required is not None:
                self._talk().ask_in_rounds(required)
                return
        elif isinstance(answer, RpcError) and answer.code == URL_REQUIRED:
            answer = self._urls_required(answer)
        self.end(answer)

    def _give_roots(self, state: bytes) -> bool:
        """A task that asks for roots gets ours, and is asked for again; False if it asks for none, or without end."""
        keys = roots_asked(state) if ROOTS_ASKED not in self.may_ask else []
        if not keys or self.roots_given >= MAX_ROUNDS:
            return False
        self.roots_given += 1
        ours = msgspec.Raw(self.session.roots_result())
        params = {**self._errand.params, "inputResponses": dict.fromkeys(keys, ours)}
        stamp = Stamp(self.may_ask, self.log_level, bytes(self._context.meta))
        self.ident = self.session.request(
            "tasks/update", params, self._roots_taken, stamp=stamp, is_ours=False
        )
        self._keeper.began(self)
        return True

    def _roots_taken(self, answer: Answer) -> None:
        self.ident = 0
        if isinstance(answer, bytes):
            self.send()
        else:
            self.end(answer)

    def note(self, notes: bytes) -> None:
        """Pass progress on to the caller, a line each."""
        if self.inbound is not None:
            self.inbound.note(notes)

    def event(self, frame: EventFrame) -> bool:
        """Pass a notification on to the caller; False if there is none now, or it heard too much."""
        if self.inbound is None or self._events >= MAX_EVENTS:
            return False
        self._events += 1
        self.inbound.event(frame)
        return True

    def ask(self, request: Request) -> None:
        """A legacy plugin asks in the midst of the call."""
        self._talk().ask(request)

    def forget_question(self, ident: int | str) -> None:
        """The plugin takes a question back."""
        if self.dialogue is not None:
            self.dialogue.forget(ident)

    def resume(self, inbound: Inbound, context: CallContext, responses: Mapping[str, msgspec.Raw]) -> None:
        """The next round of a parked call: its answers go to the plugin, and this caller waits from now on."""
        self.inbound, self._context, self.handle = inbound, context, None
        if self._outcome is not None:
            self.end(self._outcome)
        else:
            self._talk().resume(responses)

    def withdraw(self, reason: str) -> None:
        """Nobody waits for it any more."""
        self.stop(reason)
        self._finish(succeeded=False)

    def overdue(self) -> None:
        """Its time is over. A plugin that waits for a person is not at fault, and lives on."""
        was_asking = self._left_s is not None
        self.stop("execution timeout")
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

    # for its dialogue

    def pause(self) -> None:
        """Somebody is asked: the execution time does not run."""
        self._pause(self._cap)

    def run_on(self) -> None:
        """Nobody is asked any more."""
        if self._left_s is not None:
            self.deadline = min(self._keeper.now() + self._left_s, self._cap)
            self._left_s = None
            self._keeper.began(self)

    def soon(self, then: Callable[[], None]) -> None:
        """Call this in a moment."""
        self._keeper.soon(then)

    def park(self) -> str | None:
        """Keep it without its caller; its handle, or None if too many are kept."""
        self.handle = self._keeper.park(self)
        return self.handle

    def end_round(self, result: bytes) -> None:
        """Answer the caller, who will call again."""
        inbound, self.inbound = self.inbound, None
        self._pause(min(self._keeper.now() + MAX_PARKED_S, self._cap))
        if inbound is not None:
            inbound.reply(result)

    def elicited(self, elicitation: str) -> None:
        """The client was sent to a URL under this id."""
        self._keeper.elicited(self, elicitation)

    def end(self, answer: Answer) -> None:
        """The call is over; a parked one when its next round comes, to hear of it."""
        inbound = self.inbound
        if inbound is None:
            is_large = isinstance(answer, bytes) and len(answer) > MAX_HELD_BYTES
            too_large = RemoteProtocolError("result_too_large", "the plugin answered before it was answered")
            self._outcome = too_large if is_large else answer
            return
        if self.dialogue is not None:
            self.dialogue.close()
        self._finish(succeeded=isinstance(answer, bytes))
        if isinstance(answer, bytes):
            inbound.reply(answer)
        elif isinstance(answer, RpcError):
            inbound.refer(answer.raw)
        else:
            inbound.fail(answer.code, answer.message)

    def stop(self, reason: str) -> None:
        """Withdraw the request from the plugin, and close the dialogue."""
        if self.ident:
            self.session.cancel(self.ident, reason)
            self._keeper.left_behind(self)
            self.ident = 0
        if self.dialogue is not None:
            for ident in self.dialogue.close():
                self.session.refuse_plugin(ident, Refused("cancelled", "the call is over"))

    def _talk(self) -> Dialogue:
        if self.dialogue is None:
            self.dialogue = Dialogue(self)
        return self.dialogue

    def _urls_required(self, error: RpcError) -> Answer:
        """A legacy plugin wants URLs visited first; a client that is asked in rounds is asked in one."""
        wanted = url_requests_of_error(error.raw)
        for _, _, elicitation in wanted:
            if elicitation is not None:
                self._keeper.elicited(self, elicitation)
        asked = url_questions(wanted)
        if self.is_asked_on_stream or not asked or "elicitation/url" not in self.may_ask:
            return error
        return input_required_bytes(asked, None)

    def _pause(self, until: float) -> None:
        if self._left_s is None:
            self._left_s = self.deadline - self._keeper.now()
        self.deadline = until
        self._keeper.began(self)

    def _finish(self, *, succeeded: bool) -> None:
        self._keeper.ended(self)
        if self._on_end is not None:
            self._on_end(succeeded)

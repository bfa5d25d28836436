"""What a plugin asks its client within one call, and how the answers come back to it: the inner side of the bridges.

Guarantees
- only what this client may be asked is asked, a bounded number of times; roots are ours, and a client that may be asked
  for its own can only narrow them;
- a question is answered once: by the client, by our refusal, or not at all once the plugin took it back;
- questions of an old plugin that come together are one round, and those that come later the next one;
- when the dialogue is closed no question is open any more, neither at the client nor at the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import msgspec

from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.asking import (
    ELICITATION,
    MAX_ASKED_BYTES,
    ROOTS,
    InputRequired,
    Question,
    State,
    input_required_bytes,
    is_allowed,
)
from sekisho.plugin_server.handles import Handles
from sekisho.plugin_server.roots import narrowed_roots
from sekisho.plugin_server.session import PluginSession
from sekisho.protocol import Request, decode_distinct, reemit
from sekisho.wire import AnswerFrame, AskFrame, Inbound

__all__ = ["MAX_ROUNDS", "Call", "Dialogue"]

MAX_ROUNDS: Final = 8  # a plugin that always has one more question is not asking
_CANCELLED: Final = b'{"action":"cancel"}'
_encode: Final = msgspec.json.Encoder().encode


class Call(Protocol):
    """What a dialogue needs of its call."""

    inbound: Inbound | None
    scope: str
    session: PluginSession

    @property
    def may_ask(self) -> tuple[str, ...]:
        """What this client may be asked."""

    @property
    def is_asked_on_stream(self) -> bool:
        """True if its client hears questions at once."""

    @property
    def questions(self) -> Handles[Callable[[AnswerFrame], None]]:
        """All open questions of all calls."""

    def send(self, answers: Mapping[str, msgspec.Raw] | None = None, state: str | None = None) -> None:
        """Send the request again, with what was answered."""

    def pause(self) -> None:
        """Somebody is asked: the execution time does not run."""

    def run_on(self) -> None:
        """Nobody is asked any more."""

    def soon(self, then: Callable[[], None]) -> None:
        """Call this in a moment."""

    def park(self) -> str | None:
        """Keep the call without its caller; its handle, or None if too many are kept."""

    def end_round(self, result: bytes) -> None:
        """Answer the caller, who will call again."""

    def end(self, answer: bytes | SekishoError) -> None:
        """The call is over."""

    def stop(self, reason: str) -> None:
        """Withdraw the request from the plugin, and close the dialogue."""

    def elicited(self, elicitation: str) -> None:
        """The client was sent to a URL under this id."""


class Dialogue:
    """The questions of one call."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._rounds = 0
        self._open: dict[str, tuple[int | str | None, Question]] = {}  # by handle or key; an old plugin's id
        self._unasked: dict[str, tuple[int | str, Question]] = {}
        self._answers: dict[str, msgspec.Raw] = {}  # of this round, to a new plugin
        self._state: str | None = None

    @property
    def is_asking(self) -> bool:
        """True while the plugin waits for the client."""
        return bool(self._open or self._unasked)

    # old plugins

    def ask(self, request: Request) -> None:
        """An old plugin asks in the midst of the call."""
        call, session = self._call, self._call.session
        try:
            params = decode_distinct(bytes(request.params) or b"{}")[1]
        except SekishoError as error:
            session.refuse_plugin(request.id, error)
            return
        question = Question(request.method, params)
        if len(params) > MAX_ASKED_BYTES or not is_allowed(question, call.may_ask):
            refusal = RemoteProtocolError("method_unknown", "this client may not be asked for this")
            session.refuse_plugin(request.id, refusal)
            return
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            session.refuse_plugin(request.id, Unavailable("busy", "this call has asked enough"))
        elif not call.is_asked_on_stream:
            self._unasked[f"q{self._rounds}"] = (request.id, question)
            call.soon(self._give)
        elif not self._ask_on_stream(request.id, question, self._answered_to_plugin):
            session.refuse_plugin(request.id, Unavailable("busy", "too many questions are open"))

    def forget(self, ident: int | str) -> None:
        """The plugin takes a question back."""
        for handle in [handle for handle, (asked, _) in self._open.items() if asked == ident]:
            del self._open[handle]
            self._call.questions.drop(handle)
        for key in [key for key, (asked, _) in self._unasked.items() if asked == ident]:
            del self._unasked[key]
        if self._call.inbound is not None and not self.is_asking:
            self._call.run_on()

    def resume(self, responses: Mapping[str, msgspec.Raw]) -> None:
        """The next round of a parked call: its answers go to the plugin."""
        given, self._open = self._open, {}
        for key, (ident, question) in given.items():
            answer = responses.get(key)
            if ident is None:
                continue
            if answer is None:
                self._unasked[key] = (ident, question)
            else:
                self._call.session.answer_plugin(ident, self._clean(question, answer))
        if not self._unasked:
            self._call.run_on()
            return
        self._rounds += 1
        self._give()

    def close(self) -> list[int | str]:
        """No question is open any more; those of an old plugin that still waits for an answer."""
        waiting = [ident for ident, _ in self._open.values() if ident is not None]
        waiting += [ident for ident, _ in self._unasked.values()]
        for handle in self._open:
            self._call.questions.drop(handle)
        self._open, self._unasked = {}, {}
        return waiting

    def _answered_to_plugin(self, frame: AnswerFrame) -> None:
        ident, question = self._open.pop(frame.ask)
        if ident is not None and frame.error:
            self._call.session.refer_plugin(ident, reemit(frame.error))
        elif ident is not None:
            self._call.session.answer_plugin(ident, self._clean(question, frame.result))
        if not self.is_asking:
            self._call.run_on()

    def _give(self) -> None:
        """Answer this round with what the plugin asked meanwhile, and park the call."""
        if self._call.inbound is None or not self._unasked:
            return  # it is parked and the next round hears of it, or it is over
        handle = self._call.park() if self._rounds <= MAX_ROUNDS else None
        unasked, self._unasked = self._unasked, {}
        if handle is None:
            for ident, _ in unasked.values():
                refusal = Unavailable("busy", "too many questions are open")
                self._call.session.refuse_plugin(ident, refusal)
            self._call.run_on()
            return
        self._open.update(unasked)  # empty until now: all of the round before was answered or asked again
        questions = {key: question for key, (_, question) in unasked.items()}
        self._call.end_round(input_required_bytes(questions, handle))

    # new plugins

    def ask_in_rounds(self, required: InputRequired) -> None:
        """A new plugin answered with questions."""
        call = self._call
        self._rounds += 1
        roots = [key for key, question in required.questions.items() if question.method == ROOTS]
        narrowed = roots if "roots" in call.may_ask else []
        roots = [] if narrowed else roots
        asked = {key: question for key, question in required.questions.items() if key not in roots}
        if self._rounds > MAX_ROUNDS or not all(is_allowed(one, call.may_ask) for one in asked.values()):
            what = "without end" if self._rounds > MAX_ROUNDS else "what this client may not be asked"
            call.end(RemoteProtocolError("plugin_protocol", f"the plugin asks {what}"))
            return
        self._answers = dict.fromkeys(roots, msgspec.Raw(call.session.roots_result()))
        self._state = required.state
        if not asked and (roots or call.is_asked_on_stream):
            call.send(self._answers, self._state)
        elif call.is_asked_on_stream:
            self._ask_each(asked)
        else:
            state = State(required.state, roots, narrowed)
            call.end(input_required_bytes(asked, None if state == State() else _encode(state).decode()))

    def _ask_each(self, asked: Mapping[str, Question]) -> None:
        for key, question in asked.items():
            if not self._ask_on_stream(None, question, partial(self._answered_in_round, key)):
                self._call.stop("too many questions are open")
                self._call.end(Unavailable("busy", "too many questions are open"))
                return

    def _answered_in_round(self, key: str, frame: AnswerFrame) -> None:
        _, question = self._open.pop(frame.ask)
        if frame.error and question.method != ELICITATION:
            self._call.stop("the client did not answer")
            self._call.end(Refused("cancelled", "the client did not answer what the plugin asked"))
            return
        # the rounds of MCP know no errors: whoever does not answer an elicitation has cancelled it
        self._answers[key] = msgspec.Raw(_CANCELLED if frame.error else self._clean(question, frame.result))
        if not self._open:
            self._call.run_on()
            self._call.send(self._answers, self._state)

    # both

    def _ask_on_stream(
        self, ident: int | str | None, question: Question, hear: Callable[[AnswerFrame], None]
    ) -> bool:
        """False if too many questions are open."""
        handle = self._call.questions.add(self._call.scope, hear)
        if handle is None:
            return False
        self._open[handle] = (ident, question)
        self._call.pause()
        elicitation = _elicitation_id(question)
        if elicitation is not None:
            self._call.elicited(elicitation)
        if self._call.inbound is not None:
            self._call.inbound.ask(AskFrame(handle, question.method, msgspec.Raw(question.params)))
        return True

    def _clean(self, question: Question, answer: msgspec.Raw) -> bytes:
        """A client's answer as a plugin may hear it."""
        text = reemit(answer)
        return narrowed_roots(self._call.session.roots, text) if question.method == ROOTS else text


def _elicitation_id(question: Question) -> str | None:
    members = msgspec.json.decode(question.params)
    found = members.get("elicitationId") if isinstance(members, dict) else None
    return found if isinstance(found, str) else None

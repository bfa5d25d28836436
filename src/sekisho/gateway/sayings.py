"""What a plugin says before the answer of a call: progress, other notifications, questions; and what clients answer.

Each is judged, written down, and only then passed on; what is refused or could not be written goes no further. A question
that cannot be put to the client is answered with the reason, so that the plugin does not wait for nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

import msgspec

from sekisho.audit import records
from sekisho.errors import SekishoError, Unavailable
from sekisho.gateway.checkpoint import House
from sekisho.gateway.remarks import Question, release_event, release_notes, release_question
from sekisho.gateway.stages import Sealed
from sekisho.protocol import PluginName, rpc_error
from sekisho.wire import AnswerFrame, AskFrame, CallFrame, EventFrame

__all__ = ["Clock", "Hears", "Journal", "Line", "Notes", "Sayings"]

Notes = Callable[[bytes], None]
Done = Callable[[SekishoError | None], None]


class Hears(Protocol):
    """Who is told what comes before the answer of a call: judged, recorded, of our own emission."""

    def note(self, progress: bytes) -> None:
        """How far the call is, a line for each time that it was said."""

    def note_last(self, progress: bytes) -> None:
        """The same, of what was said together with the answer."""

    def notice(self, method: str, params: bytes) -> None:
        """Another notification."""

    def question(self, plugin: PluginName, question: Question) -> bool:
        """What the plugin asks; False when the client cannot be asked now."""


class Journal(Protocol):
    """The log: `done` is called with None once the entry is on record, or with the reason why it is not."""

    def append(self, entry: bytes, *, effect: bool, done: Callable[[SekishoError | None], None]) -> None:
        """Queue one entry, the JSON text of a record."""


class Line(Protocol):
    """The sealed channel to one plugin server."""

    def call(
        self,
        frame: CallFrame,
        done: Callable[[bytes | memoryview | SekishoError], None],
        note: Callable[[bytes], None] | None = None,
        hear: Callable[[EventFrame | AskFrame], None] | None = None,
    ) -> int:
        """Send a call; `done` hears of it exactly once, soon after the frame's own timeout at the latest.

        `note` hears of its progress before that, when the frame asks for it: one line of JSON or more; `hear` of what
        else comes.
        """

    def expect(self) -> None:
        """A call is about to come, behind what is due in the loop already."""

    def answer(self, frame: AnswerFrame) -> None:
        """Pass on what a client answered to a question of the plugin."""

    def cancel(self, call_id: int) -> None:
        """Withdraw a call; its answer no longer matters."""


class Clock(Protocol):
    """Time as the road needs it."""

    def now(self) -> float:
        """Unix time in seconds."""

    def soon(self, callback: Callable[[], None]) -> None:
        """Run something when everything that is here now has been taken."""


class Sayings:
    """What is said in the midst of calls, both ways."""

    def __init__(
        self, *, house: Callable[[], House], lines: Mapping[PluginName, Line], journal: Journal, clock: Clock
    ) -> None:
        self._house = house
        self._lines = lines
        self._journal = journal
        self._clock = clock

    def note(self, sealed: Sealed, notes: bytes, salt: bytes, tell: Notes) -> None:
        """Judge and write down what a plugin says of its progress, then pass it on; what is refused goes no further."""
        said = self.judge(notes)
        done = _unheard if said[2] is None else partial(_tell_notes, tell, said[2])
        self._write_said(sealed, said, salt, done)

    def judge(self, notes: bytes) -> records.Said:
        """What a plugin says of its progress, a line each, as it is written down and passed on."""
        judged, count = release_notes(notes, self._house()), notes.count(b"\n") + 1
        return (judged.code, count, None) if isinstance(judged, SekishoError) else ("ok", count, judged)

    def notice(
        self, sealed: Sealed, event: EventFrame, salt: bytes, tell: Callable[[str, bytes], None]
    ) -> None:
        """The same for any other notification."""
        judged = release_event(sealed, event, self._house())
        if isinstance(judged, SekishoError):
            self._write_said(sealed, (judged.code, 1, None), salt, _unheard)
        else:
            done = partial(_tell_event, tell, event.method, judged)
            self._write_said(sealed, ("ok", 1, judged), salt, done)

    def ask(self, sealed: Sealed, ask: AskFrame, salt: bytes, hears: Hears) -> None:
        """The same for a question; one that cannot be put to the client is answered with the reason."""
        plugin = sealed.call.plugin
        judged = release_question(sealed, ask, self._house())
        if isinstance(judged, SekishoError):
            problem = judged
            turn_down = partial(self._turn_down, sealed, ask.ask, problem)
            self._write_said(sealed, (problem.code, 1, None), salt, lambda _problem: turn_down())
            return

        def put(problem: SekishoError | None) -> None:
            if problem is not None:
                unwritten = Unavailable("log_unavailable", "the question cannot be written down")
                self._turn_down(sealed, ask.ask, unwritten)
            elif not hears.question(plugin, judged):
                gone = Unavailable("cancelled", "the client cannot be asked now")
                self._turn_down(sealed, ask.ask, gone)

        self._write_said(sealed, ("ok", 1, judged.params), salt, put)

    def answer(self, plugin: PluginName, frame: AnswerFrame) -> None:
        """Pass on what a client answered to a question; whoever waits for it sits at the plugin's side."""
        line = self._lines.get(plugin)
        if line is not None:
            line.answer(frame)

    def _turn_down(self, sealed: Sealed, ask: str, problem: SekishoError) -> None:
        scope = "" if sealed.caller is None else sealed.caller.scope
        error = msgspec.Raw(rpc_error(problem))
        self.answer(sealed.call.plugin, AnswerFrame(scope, ask, error=error))

    def _write_said(self, sealed: Sealed, said: records.Said, salt: bytes, done: Done) -> None:
        call = sealed.call
        self._journal.append(
            records.notes(
                now=self._clock.now(),
                call=call.call_id,
                client=sealed.client,
                plugin=call.plugin,
                tool=call.tool,
                said=said,
                salt=salt,
            ),
            effect=False,
            done=done,
        )


def _tell_notes(tell: Notes, notes: bytes, problem: SekishoError | None) -> None:
    if problem is None:
        tell(notes)


def _tell_event(
    tell: Callable[[str, bytes], None], method: str, params: bytes, problem: SekishoError | None
) -> None:
    if problem is None:
        tell(method, params)


def _unheard(problem: SekishoError | None) -> None:
    """What is refused goes no further, whether or not it could be written down."""

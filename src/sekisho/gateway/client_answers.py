"""What a legacy client answers to a question that was put to it on a stream: judged, recorded, and only then passed on.

The id of the answer names plugin and question. Guarantees that an answer to a question of ours (a person's word) reaches
the call that waits for it, in whichever worker; that one to a plugin's question is of the form of its kind, names nothing
outside the plugin's roots, was searched like arguments and counts like a call. An answer to nothing is accepted, and
leads nowhere. A modern client answers in its next round instead (`journeys`).
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sekisho.audit import records
from sekisho.detect import refusal
from sekisho.errors import RateLimited, SekishoError
from sekisho.gateway.approvals import is_yes
from sekisho.gateway.checkpoint import House, rate_key
from sekisho.gateway.confines import keep_answer_within
from sekisho.gateway.questions import GATEWAY, read_answer, read_question_id
from sekisho.gateway.road import Road
from sekisho.gateway.sessions import Session
from sekisho.gateway.visit import Visit
from sekisho.protocol import ClientResponse, JsonValue, PluginName, plugin_name
from sekisho.wire import AnswerFrame

__all__ = ["ClientAnswers"]


class ClientAnswers:
    """Takes them from every front.

    Args:
        hear_word: Hands what a person said to the call that waits here; False when none does.
        hear_elsewhere: Asks the other workers the same; None where there are none.
    """

    def __init__(
        self,
        *,
        house: Callable[[], House],
        road: Road,
        hear_word: Callable[[str, str, bool], bool],
        hear_elsewhere: Callable[[str, str, bool], None] | None,
    ) -> None:
        self._house = house
        self._road = road
        self._hear_word = hear_word
        self._hear_elsewhere = hear_elsewhere

    def hear(self, message: ClientResponse, visit: Visit, session_of: Callable[[], Session]) -> None:
        """Take one; `session_of` raises `SekishoError` when its session does not stand."""
        house = self._house()
        found = read_question_id(message.id)
        if found is None:
            visit.accept()  # nobody asked this
            return
        wait_s = house.limiter.admit_all(
            ((rate_key("client", visit.known_client), house.client_rate),), visit.now
        )
        if wait_s > 0:  # each answer is searched and recorded
            raise RateLimited(wait_s)
        session = session_of()
        asker, kind, ask = found
        if asker == GATEWAY:
            self._tell_word(message, visit, session, kind, ask)
        elif asker in house.standings and visit.endpoint in (None, asker):
            plugin = plugin_name(asker)
            keep_answer_within(house.standings[plugin].roots, message.result)
            frame = _judged(message, session.caller.scope, kind, ask, house)
            self._pass_on(plugin, kind, frame, visit)
        else:
            visit.accept()

    def _tell_word(
        self, message: ClientResponse, visit: Visit, session: Session, kind: str, ask: str
    ) -> None:
        """A person's word on a call of theirs."""
        word = None if message.result is None else read_answer(kind, message.result)
        said_yes, scope = word is not None and is_yes(word), session.caller.scope
        visit.accept()
        if not self._hear_word(ask, scope, said_yes) and self._hear_elsewhere is not None:
            self._hear_elsewhere(ask, scope, said_yes)

    def _pass_on(self, plugin: PluginName, kind: str, frame: AnswerFrame, visit: Visit) -> None:
        entry = records.event(
            now=visit.now,
            name="client_answered",
            client=visit.known_client,
            plugin=plugin,
            question=kind,
            said="result" if bytes(frame.result) else "error",
        )

        def recorded(problem: SekishoError | None) -> None:
            if problem is not None:
                visit.refuse(problem)
                return
            self._road.sayings.answer(plugin, frame)
            visit.accept()

        self._road.record(entry, recorded)


def _judged(message: ClientResponse, scope: str, kind: str, ask: str, house: House) -> AnswerFrame:
    is_error = message.result is None
    said = _error_of(message) if message.result is None else read_answer(kind, message.result)
    text = msgspec.json.encode(said)
    findings = house.inspection.judge_arguments(text)
    if findings.refused:
        raise refusal(findings, "arguments")
    raw = msgspec.Raw(text)
    return AnswerFrame(scope, ask, error=raw) if is_error else AnswerFrame(scope, ask, result=raw)


def _error_of(message: ClientResponse) -> dict[str, JsonValue]:
    told = message.error or {}
    number, words = told.get("code"), told.get("message")
    return {
        "code": number if type(number) is int else -32603,
        "message": words[:1024] if isinstance(words, str) else "the client refused",
    }

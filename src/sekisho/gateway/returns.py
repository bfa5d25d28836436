"""What comes back from a plugin: results, rounds of questions, errors; judged before a client sees it.

Guarantees
- whatever is passed on is of our own spelling, within the limits, without a member named twice, and was searched by the
  content rules: every member of every kind of content, also a text that stands there as base64;
- a result has the form of its method, and that of a tool fits the approved output schema;
- a plugin's own error keeps its number and words, but cannot speak with the gateway's codes or remedies;
- a question is one that this client may be asked.

What each must look like stands in `results` and `task_states`; what is said before that is judged in `remarks`.
Judgement over values, as `checkpoint` is for the way out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.detect import refusal
from sekisho.errors import PluginError, Refused, SekishoError
from sekisho.gateway.blobs import judge_with_blobs
from sekisho.gateway.caller import TASKS
from sekisho.gateway.checkpoint import House, judge
from sekisho.gateway.results import (
    error_body,
    may_ask,
    method_result,
    read_lying,
    read_object,
    round_of_questions,
    tool_result,
)
from sekisho.gateway.stages import Answered, Arrived, Held, Refusal, Sealed
from sekisho.gateway.task_states import created_task, task_answer
from sekisho.gateway.tasks import TASK_METHODS, MadeTask

__all__ = ["GATE", "Gate", "release", "release_error"]

MAX_ERROR_BYTES: Final = 64 << 10

_encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Gate:
    """The judgements that a road goes through. There is one gate; another is given to a road only to measure it."""

    judge: Callable[[Arrived, House], Sealed | Held | Refusal]
    release: Callable[[Sealed, bytes | memoryview, House], Answered | Refusal]


def release(sealed: Sealed, result: bytes | memoryview, house: House) -> Answered | Refusal:
    """Inspect what the plugin answered; the caller receives bytes of our own emission or a refusal."""
    try:
        read: bytes | bytearray
        emitted: bytes | memoryview
        if isinstance(result, bytes):
            value, read = read_object(result, house.result_limits)
        else:
            value, read = read_lying(result, house.result_limits)
        kind, call = value.get("resultType"), sealed.call
        questions: dict[str, str] | None = None
        made: MadeTask | None = None
        if call.tool in TASK_METHODS:
            emitted = task_answer(sealed, value, house)
        elif kind == "input_required":
            questions, emitted = round_of_questions(sealed, value, house)
        elif not call.is_of_tool:
            emitted = method_result(call.tool, value)
        elif kind == "task" and TASKS in may_ask(sealed, house, "rounds"):
            made, emitted = created_task(value)
        else:
            emitted = tool_result(sealed.definition, value, read)
        findings = judge_with_blobs(house.inspection, emitted, value)
        if findings.refused:
            raise refusal(findings, "result")
        has_meta = "_meta" in value and questions is None and made is None  # what passes whole has it last
        return Answered(sealed, emitted, findings.rule_ids, questions, made, has_meta=has_meta)
    except SekishoError as error:
        return Refusal.of(sealed.call, sealed.client, error)


def release_error(sealed: Sealed, error: PluginError, house: House) -> Refusal:
    """Inspect a plugin's own error: its number and words are data, and are marked as the plugin's."""
    given: SekishoError
    try:
        limits = house.result_limits
        if len(error.body) > MAX_ERROR_BYTES:
            raise Refused("result_too_large", f"the plugin's error exceeds {MAX_ERROR_BYTES} bytes")
        value, _ = read_object(error.body, limits)
        emitted = _encode(error_body(sealed, value, house))
        findings = house.inspection.judge_result(emitted)
        given = refusal(findings, "result") if findings.refused else PluginError(emitted)
    except SekishoError as problem:
        given = problem
    return Refusal.of(sealed.call, sealed.client, given)


GATE: Final = Gate(judge, release)

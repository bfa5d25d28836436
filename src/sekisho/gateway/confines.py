"""Whatever goes to a plugin with roots names nothing outside them: calls, what resources they read, what people answer.

Which texts name a place, and whether it lies within, is judged by `policy.root_rules`; this knows where in a message such
texts are. A client's own roots are no places to go to: a plugin hears of those within ours (`plugin_server.roots`).

Judgement only; raises Refused (`root_refused`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from sekisho.gateway.stages import Call
from sekisho.gateway.tasks import TASK_METHODS
from sekisho.policy import RootRules
from sekisho.protocol import JsonValue
from sekisho.registry import Definition, Definitions

__all__ = ["keep_answer_within", "keep_call_within"]


def keep_call_within(
    roots: RootRules, definitions: Definitions, call: Call, definition: Definition | None
) -> None:
    """Judge a call by its resource, by every path and address in its arguments, and by the answers it carries."""
    if call.extras.input_responses:
        _keep_answers_within(roots, msgspec.json.decode(call.extras.input_responses))
    if call.is_of_tool and definition is not None:
        roots.check_arguments(
            call.parsed,
            definition=definition.digest,
            schema=definition.input_schema,
            offers=definitions.offers,
        )
        return
    if call.tool in TASK_METHODS:
        _keep_answers_within(roots, call.parsed.get("inputResponses"))
    for uri in _named_resources(call):
        roots.check_resource(uri)
    for given in (call.parsed.get("arguments"), call.parsed.get("argument"), call.parsed.get("context")):
        roots.check_arguments(given, offers=definitions.offers)


def keep_answer_within(roots: RootRules | None, said: JsonValue) -> None:
    """Judge what a person or a model answers to a plugin."""
    if roots is not None and isinstance(said, Mapping):
        roots.check_arguments(said.get("content"))


def _keep_answers_within(roots: RootRules, answers: JsonValue) -> None:
    for said in answers.values() if isinstance(answers, Mapping) else ():
        keep_answer_within(roots, said)


def _named_resources(call: Call) -> Iterable[str]:
    """The resources a call is about. What is completed is a template of the plugin's own, with values beside it."""
    if call.tool.startswith("resources/"):
        return (call.target,)
    asked = call.parsed.get("notifications") if call.tool == "subscriptions/listen" else None
    uris = asked.get("resourceSubscriptions") if isinstance(asked, dict) else None
    return [str(uri) for uri in uris] if isinstance(uris, list) else ()

"""A person's word on one call: how they are asked, and what counts as yes.

Guarantees that the question names the plugin, the tool and what it would be given, in text that cannot rearrange itself
on a screen, and that nothing but an accepted form with its box ticked is a yes. Who is asked is the person behind the
client that calls; whether an operation needs approval, the configuration says. Judgement.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from sekisho.detect import visible
from sekisho.gateway.stages import Call, Inspected
from sekisho.protocol import JsonObject

__all__ = ["APPROVAL", "Approvals", "Decision", "approval_form", "is_yes"]

Decision = Literal["yes", "no", "ask"]

APPROVAL: Final = "sekisho-approval"  # the key of the question among those of a round
MAX_SHOWN_CHARS: Final = 2000  # of the arguments; what is longer is shown in part and says so

_FIELD: Final = "allow"


class Approvals(Protocol):
    """Who is asked before an operation that needs approval."""

    def decide(self, inspected: Inspected) -> Decision:
        """Whether the call may go on, or the person behind the client has to be asked."""


def approval_form(call: Call) -> JsonObject:
    """The question as a form (MCP 2025-11-25, client/elicitation)."""
    shown = call.arguments.decode()
    more = len(shown) - MAX_SHOWN_CHARS
    told = visible(shown[:MAX_SHOWN_CHARS]) + (f" … and {more} more characters" if more > 0 else "")
    return {
        "message": f"May the plugin {call.plugin} run {visible(call.tool)}? It would be given: {told}",
        "requestedSchema": {
            "type": "object",
            "properties": {_FIELD: {"type": "boolean", "title": "Allow this one call", "default": False}},
            "required": [_FIELD],
        },
    }


def is_yes(answer: JsonObject) -> bool:
    """True for an accepted form whose box is ticked; for nothing else."""
    content = answer.get("content")
    return answer.get("action") == "accept" and isinstance(content, dict) and content.get(_FIELD) is True

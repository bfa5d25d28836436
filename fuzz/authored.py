"""A plugin written with `sekisho.plugin`, given a stranger's lines: whatever they are, it answers in lines of JSON-RPC.

Every answer is one line of one JSON object for an id that was asked, no id is answered more often than it was asked, and
what a tool gives back holds no character that may not leave.
"""

from __future__ import annotations

import io
import json
from collections import Counter

from fuzz.values import hold
from sekisho.plugin import IsolatedPlugin, SandboxConfig, tool
from sekisho.plugin.characters import forbidden
from sekisho.plugin.dialogue import Dialogue
from sekisho.plugin.messages import RpcRefusal, read_line
from sekisho.plugin.stdio import Conversation

__all__ = ["conversation"]


class Parrot(IsolatedPlugin):
    """Gives back what it is given."""

    name = "parrot"

    @tool(read_only=True)
    def echo(self, text: str, times: int = 1) -> str:
        """Give it back."""
        return (text + "\x1b\u202e\ud800") * min(max(times, 0), 3)


def conversation(data: bytes) -> None:
    """The target."""
    plugin, out = Parrot(), io.BytesIO()
    plugin.initialize_isolated(SandboxConfig())
    Conversation(plugin, Dialogue(plugin), io.BytesIO(data), out).run()
    asked = Counter(_asked(line) for line in data.split(b"\n"))
    lines = out.getvalue().split(b"\n")
    hold(lines.pop() == b"", "the last line is not ended")
    for line in lines:
        answer = json.loads(line)
        hold(
            answer["jsonrpc"] == "2.0" and ("result" in answer) != ("error" in answer),
            "no answer of JSON-RPC",
        )
        key = json.dumps(answer["id"])
        asked[key] -= 1
        hold(answer["id"] is None or asked[key] >= 0, "answered more often than asked")
        for part in answer.get("result", {}).get("content", []):
            hold(forbidden(part["text"], multiline=True) is None, "a hidden character left")


def _asked(line: bytes) -> str:
    try:
        message = read_line(line)
    except RpcRefusal as refusal:
        return json.dumps(refusal.ident)
    return "nobody" if message is None else json.dumps(message.ident)

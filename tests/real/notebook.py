"""An MCP server over stdio that remembers: what is kept is told to whoever asks, and so is what the process asked.

Legacy (2025-11-25), standard library only: it also runs by its path inside a sandbox. With `--two-faced` each of its
processes describes itself in other words.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

FIELDS = {"keep": {"text": {"type": "string"}}, "recall": {}, "ask": {}, "die": {}}
HONEST = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
SCRATCH = Path("/tmp/notebook")  # inside the wall


class Notebook:
    """One process, and all it was told."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.notes: list[str] = []
        self.asking: dict[str, Any] = {}

    def serve(self) -> None:
        """Until its input ends."""
        for line in sys.stdin:
            message = json.loads(line)
            if "method" not in message:
                self.heard(message)
            elif "id" in message:
                self.take(message["id"], message["method"], message.get("params", {}))

    def take(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        match method:
            case "initialize":
                info = {"name": "notebook", "version": "1"}
                say(ident, protocolVersion="2025-11-25", capabilities={"tools": {}}, serverInfo=info)
            case "tools/list":
                say(ident, tools=[self.tool(name) for name in FIELDS])
            case "tools/call":
                self.call(ident, params["name"], params.get("arguments", {}))
            case _:
                write(id=ident, error={"code": -32601, "message": "unknown"})

    def tool(self, name: str) -> dict[str, Any]:
        schema = {"type": "object", "properties": FIELDS[name]}
        return {"name": name, "description": self.words, "inputSchema": schema, "annotations": HONEST}

    def call(self, ident: Any, name: str, arguments: dict[str, Any]) -> None:
        match name:
            case "keep":
                self.notes.append(arguments["text"])
                SCRATCH.write_text(",".join(self.notes))
                say_text(ident, "kept")
            case "recall":
                on_disk = SCRATCH.read_text() if SCRATCH.exists() else ""
                say_text(ident, ",".join(self.notes) + "|" + on_disk)
            case "ask":
                question = f"q{ident}"
                self.asking[question] = ident
                params = {"message": "Who are you?", "requestedSchema": FORM}
                write(id=question, method="elicitation/create", params=params)
            case "die":
                os._exit(1)

    def heard(self, message: dict[str, Any]) -> None:
        ident = self.asking.pop(message["id"])
        if "error" in message:
            say_text(ident, "refused: " + message["error"]["message"])
        else:
            say_text(ident, "you are " + message["result"]["content"]["name"])


def write(**members: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0"} | members) + "\n")
    sys.stdout.flush()


def say(ident: Any, **result: Any) -> None:
    write(id=ident, result=result)


def say_text(ident: Any, text: str) -> None:
    say(ident, content=[{"type": "text", "text": text}])


if __name__ == "__main__":
    Notebook(os.urandom(8).hex() if "--two-faced" in sys.argv else "A notebook.").serve()

"""A plugin that says what really reached it: `mirror` gives back its own line, `big` and `slow` cost somebody else.

Standard library only; runs by its path inside the walls.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from typing import Any

_SCHEMA = {"type": "object"}
_HINTS = {"readOnlyHint": True}
_LOCK = threading.Lock()


def _say(message: dict[str, Any]) -> None:
    with _LOCK:
        sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        sys.stdout.buffer.flush()


def _text(ident: object, text: str) -> None:
    _say({"id": ident, "result": {"content": [{"type": "text", "text": text}]}})


def _call(ident: object, name: str, arguments: dict[str, Any], line: bytes) -> None:
    if name == "mirror":
        _text(ident, base64.b64encode(line).decode())
    elif name == "big":
        _text(ident, "x" * int(arguments["bytes"]))
    elif name == "slow":
        threading.Timer(float(arguments["seconds"]), _text, (ident, "late")).start()
    elif name == "deaf":
        threading.Event().wait(float(arguments["seconds"]))  # nothing is read meanwhile
        _text(ident, "heard again")


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin.buffer:
        message = json.loads(line)
        ident, method = message.get("id"), message.get("method")
        if method == "initialize":
            version = message["params"]["protocolVersion"]
            info = {"name": "mirror", "version": "1"}
            _say(
                {
                    "id": ident,
                    "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info},
                }
            )
        elif method == "tools/list":
            names = ("mirror", "big", "slow", "deaf")
            tools = [{"name": name, "inputSchema": _SCHEMA, "annotations": _HINTS} for name in names]
            _say({"id": ident, "result": {"tools": tools}})
        elif method == "tools/call":
            _call(ident, message["params"]["name"], message["params"].get("arguments", {}), line)
        elif ident is not None:
            _say({"id": ident, "result": {}})


if __name__ == "__main__":
    main()

"""A plugin that says what really reached it: `mirror` gives back its own line, `big` and `slow` cost somebody else.

Standard library only; runs by its path inside the walls.
"""

from __future__ import annotations

import base64
import itertools
import json
import queue
import sys
import threading
import time
from typing import Any

_SCHEMA = {"type": "object"}
_HINTS = {"readOnlyHint": True}
_LOCK = threading.Lock()
_LATER: queue.PriorityQueue[tuple[float, int, object]] = queue.PriorityQueue()
_TURNS = itertools.count()


def _say(message: dict[str, Any]) -> None:
    with _LOCK:
        sys.stdout.buffer.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        sys.stdout.buffer.flush()


def _text(ident: object, text: str) -> None:
    _say({"id": ident, "result": {"content": [{"type": "text", "text": text}]}})


def _call(ident: object, name: str, arguments: dict[str, Any], line: bytes) -> None:
    token = json.loads(line)["params"].get("_meta", {}).get("progressToken")
    if token is not None:
        _say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 0.5}})
    if name == "mirror":
        _text(ident, base64.b64encode(line).decode())
    elif name == "big":
        _text(ident, "x" * int(arguments["bytes"]))
    elif name == "slow":
        _LATER.put((time.monotonic() + float(arguments["seconds"]), next(_TURNS), ident))
    elif name == "deaf":
        threading.Event().wait(float(arguments["seconds"]))  # nothing is read meanwhile
        _text(ident, "heard again")


def _answer_late() -> None:
    """One thread for all: a thread for each would run into the limit of processes before the limits under test."""
    while True:
        due, _, ident = _LATER.get()
        threading.Event().wait(max(0.0, due - time.monotonic()))
        _text(ident, "late")


def main() -> None:
    """Serve until the input ends."""
    threading.Thread(target=_answer_late, daemon=True).start()
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

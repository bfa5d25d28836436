"""An honest MCP server over stdio: `echo`, `add` and `slow`.

Speaks the legacy handshake (2025-11-25 and older), newline-delimited JSON-RPC on stdin and stdout, one
request at a time except `slow`, which waits in its own thread and can be cancelled. Standard library only
and no import from Sekisho: this file also runs by its path, inside a sandbox that has nothing but Python.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MAX_SLOW_S = 600.0

_HONEST = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}

TOOLS: list[dict[str, Any]] = [
    {
        "name": "echo",
        "title": "Echo",
        "description": "Gives back the text it was given.",
        "inputSchema": {
            "type": "object",
            "properties": {"text": {"type": "string", "description": "What to give back."}},
            "required": ["text"],
            "additionalProperties": False,
        },
        "annotations": _HONEST,
    },
    {
        "name": "add",
        "title": "Add",
        "description": "Adds two numbers.",
        "inputSchema": {
            "type": "object",
            "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {"sum": {"type": "number"}},
            "required": ["sum"],
            "additionalProperties": False,
        },
        "annotations": _HONEST,
    },
    {
        "name": "slow",
        "title": "Slow",
        "description": "Answers after the given number of seconds.",
        "inputSchema": {
            "type": "object",
            "properties": {"seconds": {"type": "number", "minimum": 0, "maximum": MAX_SLOW_S}},
            "required": ["seconds"],
            "additionalProperties": False,
        },
        "annotations": _HONEST,
    },
]


class EchoServer:
    """One stdio session."""

    def __init__(self) -> None:
        self._write_lock = threading.Lock()
        self._waiting: dict[str, threading.Event] = {}

    def serve(self) -> None:
        """Answer until stdin ends."""
        for line in sys.stdin.buffer:
            try:
                message = json.loads(line)
            except ValueError:
                self._error(None, -32700, "this is not JSON")
                continue
            if isinstance(message, dict) and "method" in message:
                self._take(message)
        for event in self._waiting.values():
            event.set()

    def _take(self, message: dict[str, Any]) -> None:
        method, params = message["method"], message.get("params") or {}
        if "id" not in message:
            if method == "notifications/cancelled":
                event = self._waiting.get(json.dumps(params.get("requestId")))
                if event is not None:
                    event.set()
            return
        request_id = message["id"]
        if method == "initialize":
            self._result(request_id, self._initialized(params))
        elif method == "ping":
            self._result(request_id, {})
        elif method == "tools/list":
            self._result(request_id, {"tools": TOOLS})
        elif method == "tools/call":
            self._call(request_id, params.get("name"), params.get("arguments") or {})
        else:
            self._error(request_id, -32601, "method not found")

    def _initialized(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = params.get("protocolVersion")
        return {
            "protocolVersion": asked if asked in REVISIONS else REVISIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "echo", "title": "Sekisho echo", "version": "1.0.0"},
            "instructions": "An honest server for trying things out.",
        }

    def _call(self, request_id: Any, name: Any, arguments: dict[str, Any]) -> None:
        match name, arguments:
            case "echo", {"text": str() as text}:
                self._result(request_id, _text(text))
            case "add", {"a": int() | float() as a, "b": int() | float() as b}:
                self._result(request_id, {**_text(str(a + b)), "structuredContent": {"sum": a + b}})
            case "slow", {"seconds": int() | float() as seconds} if 0 <= seconds <= MAX_SLOW_S:
                stop = self._waiting[json.dumps(request_id)] = threading.Event()
                threading.Thread(target=self._slow, args=(request_id, float(seconds), stop)).start()
            case (("echo" | "add" | "slow"), _):
                self._result(request_id, {**_text("the arguments do not fit"), "isError": True})
            case _:
                self._error(request_id, -32602, "unknown tool")

    def _slow(self, request_id: Any, seconds: float, stop: threading.Event) -> None:
        was_cancelled = stop.wait(seconds)
        self._waiting.pop(json.dumps(request_id), None)
        if not was_cancelled:  # MCP: a cancelled request is not answered
            self._result(request_id, _text(f"waited {seconds:g} s"))

    def _result(self, request_id: Any, result: dict[str, Any]) -> None:
        self._write({"jsonrpc": "2.0", "id": request_id, "result": result})

    def _error(self, request_id: Any, code: int, message: str) -> None:
        self._write({"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}})

    def _write(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
        with self._write_lock:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _text(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}]}


if __name__ == "__main__":
    EchoServer().serve()

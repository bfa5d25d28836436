"""An MCP server over stdio that remembers: what is kept is told to whoever asks, and so is what the process asked.

Legacy (2025-11-25), standard library only: it also runs by its path inside a sandbox. With `--two-faced` each of its
processes describes itself in other words. With `--http` it listens on a port, which it prints, and has a notebook for
each session.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FIELDS = {"keep": {"text": {"type": "string"}}, "recall": {}, "ask": {}, "die": {}}
HONEST = {"readOnlyHint": False, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}
FORM = {"type": "object", "properties": {"name": {"type": "string"}}}
SCRATCH = Path("/tmp/notebook")  # inside the wall


class Notebook:
    """One process, and all it was told."""

    def __init__(self, words: str, write: Callable[[str], object], scratch: Path = SCRATCH) -> None:
        self.words = words
        self.write_line = write
        self.scratch = scratch
        self.notes: list[str] = []
        self.asking: dict[str, Any] = {}

    def serve(self) -> None:
        """Until its input ends."""
        for line in sys.stdin:
            self.read(json.loads(line))

    def read(self, message: dict[str, Any]) -> None:
        if "method" not in message:
            self.heard(message)
        elif "id" in message:
            self.take(message["id"], message["method"], message.get("params", {}))

    def take(self, ident: Any, method: str, params: dict[str, Any]) -> None:
        match method:
            case "initialize":
                info = {"name": "notebook", "version": "1"}
                self.say(ident, protocolVersion="2025-11-25", capabilities={"tools": {}}, serverInfo=info)
            case "tools/list":
                self.say(ident, tools=[self.tool(name) for name in FIELDS])
            case "tools/call":
                self.call(ident, params["name"], params.get("arguments", {}))
            case _:
                self.write(id=ident, error={"code": -32601, "message": "unknown"})

    def tool(self, name: str) -> dict[str, Any]:
        schema = {"type": "object", "properties": FIELDS[name]}
        return {"name": name, "description": self.words, "inputSchema": schema, "annotations": HONEST}

    def call(self, ident: Any, name: str, arguments: dict[str, Any]) -> None:
        match name:
            case "keep":
                self.notes.append(arguments["text"])
                self.scratch.write_text(",".join(self.notes))
                self.say_text(ident, "kept")
            case "recall":
                on_disk = self.scratch.read_text() if self.scratch.exists() else ""
                self.say_text(ident, ",".join(self.notes) + "|" + on_disk)
            case "ask":
                question = f"q{ident}"
                self.asking[question] = ident
                params = {"message": "Who are you?", "requestedSchema": FORM}
                self.write(id=question, method="elicitation/create", params=params)
            case "die":
                os._exit(1)

    def heard(self, message: dict[str, Any]) -> None:
        ident = self.asking.pop(message["id"])
        if "error" in message:
            self.say_text(ident, "refused: " + message["error"]["message"])
        else:
            self.say_text(ident, "you are " + message["result"]["content"]["name"])

    def write(self, **members: Any) -> None:
        self.write_line(json.dumps({"jsonrpc": "2.0"} | members))

    def say(self, ident: Any, **result: Any) -> None:
        self.write(id=ident, result=result)

    def say_text(self, ident: Any, text: str) -> None:
        self.say(ident, content=[{"type": "text", "text": text}])


class Page(BaseHTTPRequestHandler):
    """Streamable HTTP that answers in JSON."""

    protocol_version = "HTTP/1.1"
    sessions: dict[str, Notebook] = {}  # noqa: RUF012  # of the whole process

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        session = self.headers.get("Mcp-Session-Id") or os.urandom(8).hex()
        lines: list[str] = []
        if message.get("method") == "initialize":
            self.sessions[session] = Notebook("A notebook.", lines.append, Path(os.devnull))
        book = self.sessions.get(session)
        if book is None:
            self.answer(404 if "Mcp-Session-Id" in self.headers else 400, session, [])
            return
        book.write_line = lines.append
        book.read(message)
        self.answer(200 if lines else 202, session, lines)

    def do_GET(self) -> None:
        self.answer(405, "", [])

    def do_DELETE(self) -> None:
        self.sessions.pop(self.headers["Mcp-Session-Id"], None)
        self.answer(200, "", [])

    def answer(self, status: int, session: str, lines: list[str]) -> None:
        body = "".join(lines).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if session:
            self.send_header("Mcp-Session-Id", session)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name there
        """Nothing is told."""


def main() -> None:
    if "--http" in sys.argv:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        print(server.server_port, flush=True)  # noqa: T201  # for who started it
        server.serve_forever()
    words = os.urandom(8).hex() if "--two-faced" in sys.argv else "A notebook."
    Notebook(words, lambda line: print(line, flush=True)).serve()  # noqa: T201  # it is a server on stdout


if __name__ == "__main__":
    main()

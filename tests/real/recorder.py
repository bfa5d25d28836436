"""An MCP server at a URL that writes down everything it hears: the first line, every header and the body of each request.

It speaks 2025-11-25 and answers in JSON; with `token` it wants exactly that bearer token.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOL = {"name": "note", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}}}


class Recorder(ThreadingHTTPServer):
    """The server; `heard` holds each request as one text, `names` the headers of all of them."""

    daemon_threads = True

    def __init__(self, token: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.token = token
        self.heard: list[str] = []
        self.names: set[str] = set()
        self.calls = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}/mcp"


class _Conversation(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_POST(self) -> None:
        """One message."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._record(body)
        if self.server.token and self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._say(401, {})
            return
        message = json.loads(body)
        if "id" not in message:
            self._say(202, None)
            return
        answer = self._answer(message["method"], message.get("params", {}))
        key = "error" if "code" in answer else "result"
        self._say(200, {"jsonrpc": "2.0", "id": message["id"], key: answer})

    def do_GET(self) -> None:
        """No stream is offered."""
        self._record(b"")
        self._say(405, {})

    def do_DELETE(self) -> None:
        """The session may end."""
        self._record(b"")
        self._say(200, {})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Nothing is printed."""

    def _record(self, body: bytes) -> None:
        lines = "".join(f"{name}: {value}\n" for name, value in self.headers.items())
        with self.server.lock:
            self.server.heard.append(f"{self.requestline}\n{lines}\n{body.decode('utf-8', 'replace')}")
            self.server.names |= {name.lower() for name in self.headers}

    def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        match method:
            case "initialize":
                about = {"capabilities": {"tools": {}}, "serverInfo": {"name": "recorder", "version": "1"}}
                return {"protocolVersion": "2025-11-25", **about}
            case "tools/list":
                return {"tools": [TOOL]}
            case "tools/call":
                self.server.calls += 1
                return {"content": [{"type": "text", "text": f"noted {params['arguments'].get('text', '')}"}]}
            case "ping":
                return {}
            case _:
                return {"code": -32601, "message": "unknown"}

    def _say(self, status: int, value: object) -> None:
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def recording(token: str = "") -> Iterator[Recorder]:
    """A recorder that runs."""
    server = Recorder(token)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(5.0)
        server.server_close()

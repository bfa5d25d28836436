"""Drives a stdio server over real pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sekisho.testing

FOLDER = Path(sekisho.testing.__file__).parent
PATIENCE_S = 20.0


class Session:
    """One running server; every wait is bounded by the test's own timeout and by `close`."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        self._next_id = 0

    def send(self, method: str, params: dict[str, Any] | None = None) -> int:
        self._next_id += 1
        self.write({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": params or {}})
        return self._next_id

    def write(self, message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.line())
        return message

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        asked = self.send(method, params)
        answer = self.read()
        assert answer["id"] == asked
        return answer

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def text(self, tool: str, **arguments: Any) -> str:
        text: str = self.call(tool, **arguments)["result"]["content"][0]["text"]
        return text

    def close(self) -> int:
        """End stdin and wait for the exit; a server that stays is killed."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait(PATIENCE_S)
            self.process.stdout.close()


Start = Callable[..., Session]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `echo` or `hostile` by its path, isolated from every installed package, or by argv."""
    sessions: list[Session] = []

    def begin(name: str, *flags: str, **environment: str) -> Session:
        argv = [sys.executable, "-I", "-S", str(FOLDER / f"{name}.py"), *flags]
        session = Session(argv, {"PATH": "/usr/bin:/bin", **environment})
        sessions.append(session)
        return session

    yield begin
    for session in sessions:
        session.process.kill()
        session.process.wait(PATIENCE_S)
        for pipe in (session.process.stdin, session.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # what was still buffered for a server that is gone

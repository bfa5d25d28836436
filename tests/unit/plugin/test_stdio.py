"""A plugin as a process: what it loads, what it writes, how it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from sekisho.plugin import Call, IsolatedPlugin, SandboxConfig, tool
from sekisho.plugin.dialogue import Dialogue
from sekisho.plugin.stdio import MAX_CALLS, Conversation

PLUGIN = textwrap.dedent(
    """
    import os, sys
    from typing import TypedDict
    from sekisho.plugin import Call, IsolatedPlugin, serve, tool

    class Sum(TypedDict):
        sum: int

    class Adder(IsolatedPlugin):
        name = "adder"

        @tool(read_only=True)
        def add(self, a: int, b: int) -> Sum:
            "Add two numbers."
            print("a stray word")
            return {"sum": a + b}

        @tool()
        async def count(self, to: int, call: Call) -> str:
            "Count."
            for one in range(1, to + 1):
                call.progress(one, to)
            return "counted"

        @tool()
        def rest(self, call: Call) -> str:
            "Rest until nobody waits."
            call.progress(1)
            call.wait(600)
            return "never"

    sys.exit(serve(Adder(), environment=os.environ))
    """
)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "adder.py"
    path.write_text(PLUGIN)
    return path


@pytest.mark.requirement("A3.1")
@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_the_official_client_works_with_it_in_both_eras(script: Path, mode: str) -> None:
    notes: list[float] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        notes.append(progress)

    server = StdioServerParameters(command=sys.executable, args=[str(script)])
    async with Client(stdio_client(server), mode=mode) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == {"add", "count", "rest"}
        result: Any = await client.call_tool("add", {"a": 2, "b": 40})
        assert result.structured_content == {"sum": 42}
        refused: Any = await client.call_tool("add", {"a": 2, "b": "40"})
        assert refused.is_error
        assert refused.content[0].text.startswith("[invalid_parameters] the parameters.b")
        await client.call_tool("count", {"to": 3}, progress_callback=heard)
    assert notes == [1, 2, 3]


def test_it_loads_nothing_that_costs_time_before_it_is_asked(script: Path) -> None:
    heavy = ("asyncio", "ssl", "http.client", "msgspec", "logging", "email", "socket", "subprocess")
    code = f"import sys, sekisho.plugin\nprint([one for one in {heavy!r} if one in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[]\n"
    ours = subprocess.run(
        [sys.executable, "-c", "import sys, sekisho.plugin\nprint(*sorted(sys.modules))"],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    rooms = {name.split(".")[1] for name in ours.stdout.split() if name.startswith("sekisho.")}
    assert rooms == {"plugin"}


class Process:
    """The plugin, spoken to by hand."""

    def __init__(self, script: Path, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )

    def say(self, method: str, params: dict[str, object], ident: int | None = None) -> None:
        assert self.process.stdin is not None
        message: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": params}
        if ident is not None:
            message["id"] = ident
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def open(self) -> None:
        self.say("initialize", {"protocolVersion": "2025-11-25"}, 0)
        assert "result" in self.hear()

    def end(self) -> tuple[int, bytes, bytes]:
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


@pytest.fixture
def process(script: Path) -> Iterator[Process]:
    made = Process(script)
    yield made
    made.process.kill()
    made.process.communicate()


def test_what_a_tool_prints_does_not_break_the_protocol(process: Process) -> None:
    process.open()
    process.say("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}}, 1)
    assert process.hear()["result"]["structuredContent"] == {"sum": 3}
    status, out, err = process.end()
    assert (status, out) == (0, b"")
    assert b"a stray word" in err


def test_a_cancelled_call_is_not_answered_and_the_next_one_is(process: Process) -> None:
    process.open()
    process.say("tools/call", {"name": "rest", "arguments": {}, "_meta": {"progressToken": "t"}}, 1)
    assert process.hear()["method"] == "notifications/progress"
    process.say("notifications/cancelled", {"requestId": "1"})  # another id than 1
    process.say("notifications/cancelled", {"requestId": 1})
    process.say("ping", {}, 2)
    assert process.hear() == {"jsonrpc": "2.0", "id": 2, "result": {}}
    assert process.end()[:2] == (0, b"")


def test_it_ends_with_its_input_though_a_call_runs(process: Process) -> None:
    process.open()
    process.say("tools/call", {"name": "rest", "arguments": {}, "_meta": {"progressToken": "t"}}, 1)
    process.hear()
    assert process.end()[:2] == (0, b"")


def test_a_plugin_whose_walls_are_not_as_told_says_so_and_runs_nothing(script: Path) -> None:
    told = SandboxConfig(isolation="strict").as_text()  # there are none
    process = Process(script, SEKISHO_SANDBOX=told)
    process.say("initialize", {"protocolVersion": "2025-11-25"}, 0)
    assert process.hear()["error"]["data"] == {"code": "walls_differ"}
    status, _, err = process.end()
    assert status == 1
    assert b"not_initialized code=walls_differ" in err


def test_a_plugin_whose_own_beginning_fails_says_so_without_its_words(script: Path) -> None:
    broken = '    name = "adder"\n    def initialize_isolated(self, sandbox_config):\n        raise KeyError("hunter2")\n'
    script.write_text(PLUGIN.replace('    name = "adder"\n', broken))
    process = Process(script)
    process.say("initialize", {"protocolVersion": "2025-11-25"}, 0)
    assert process.hear()["error"]["data"] == {"code": "internal"}
    status, _, err = process.end()
    assert status == 1
    assert b"hunter2" not in err


class Gate(IsolatedPlugin):
    """Tools that stay until they are let go."""

    name = "gate"

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    @tool()
    def stay(self, call: Call) -> str:
        """Stay."""
        self.open.wait(20)
        return "went"


def test_calls_are_bounded_in_number_and_ids_are_used_once() -> None:
    plugin = Gate()
    plugin.initialize_isolated(SandboxConfig())
    read, write = os.pipe()
    out = io.BytesIO()
    with os.fdopen(read, "rb") as source, os.fdopen(write, "wb") as asker:
        conversation = Conversation(plugin, Dialogue(plugin), source, out)
        thread = threading.Thread(target=conversation.run)
        thread.start()
        lines: list[dict[str, object]] = [
            {"id": "i", "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
        ]
        stay = {"method": "tools/call", "params": {"name": "stay", "arguments": {}}}
        lines += [{**stay, "id": number} for number in range(MAX_CALLS)]
        lines += [{**stay, "id": 0}, {**stay, "id": "one too many"}, {"id": "unknown", **_call("nobody")}]
        lines += [{"id": "end", "method": "ping", "params": {}}]
        for line in lines:
            asker.write(json.dumps({"jsonrpc": "2.0", **line}).encode() + b"\n")
        asker.flush()
        asker.close()
        thread.join(20)
    plugin.open.set()
    answers = {json.loads(line)["id"]: json.loads(line) for line in out.getvalue().splitlines()}
    assert answers[0]["error"]["code"] == -32600
    assert answers["one too many"]["result"]["_meta"]["dev.sekisho/error"]["code"] == "overloaded"
    assert answers["unknown"]["error"]["code"] == -32602
    assert answers["end"]["result"] == {}


def _call(name: str) -> dict[str, Any]:
    return {"method": "tools/call", "params": {"name": name, "arguments": {}}}


def test_a_line_beyond_the_bound_is_refused_and_the_next_one_is_read() -> None:
    plugin = Gate()
    out = io.BytesIO()
    source = io.BytesIO(b"x" * (9 << 20) + b"\n" + b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    Conversation(plugin, Dialogue(plugin), source, out).run()
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert first["error"]["code"] == -32600
    assert second == {"jsonrpc": "2.0", "id": 1, "result": {}}

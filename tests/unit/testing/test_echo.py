"""The honest server keeps every promise of its definitions."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from sekisho.protocol.names import PluginName
from sekisho.registry import Definitions, Listing, lock_entry, surface_of
from sekisho.testing import echo

INITIALIZE = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "t", "version": "1"},
}


def test_the_handshake_answers_with_a_revision_both_know(start: Any) -> None:
    session = start("echo")
    assert session.ask("initialize", INITIALIZE)["result"]["protocolVersion"] == "2025-11-25"
    older = {**INITIALIZE, "protocolVersion": "2024-11-05"}
    assert session.ask("initialize", older)["result"]["protocolVersion"] == "2024-11-05"
    unknown = {**INITIALIZE, "protocolVersion": "1999-01-01"}
    assert session.ask("initialize", unknown)["result"]["protocolVersion"] == "2025-11-25"
    session.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert session.ask("ping")["result"] == {}
    assert session.close() == 0


def test_it_echoes_and_adds(start: Any) -> None:
    session = start("echo")
    assert session.text("echo", text="関所 🚧") == "関所 🚧"
    assert session.call("add", a=2, b=0.5)["result"]["structuredContent"] == {"sum": 2.5}
    assert session.text("slow", seconds=0) == "waited 0 s"


def test_its_definitions_compile_and_its_answers_conform(start: Any) -> None:
    session = start("echo")
    tools = session.ask("tools/list")["result"]["tools"]
    assert tools == echo.TOOLS
    seen = surface_of(Listing(tools=tuple(json.dumps(tool).encode() for tool in tools)))
    entry = lock_entry(
        name=PluginName("echo"), argv=(), grants="", surface=seen, approved_by="", approved_at=""
    )
    book = Definitions.build(entry, seen, ("echo", "add", "slow"))
    assert not book.unusable
    assert all(definition.read_only for definition in book.tools.values())
    result = session.call("add", a=1, b=2)["result"]
    book.get("add").check_result(result, len(json.dumps(result)))


def test_a_slow_call_does_not_hold_up_others(start: Any) -> None:
    session = start("echo")
    slow = session.send("tools/call", {"name": "slow", "arguments": {"seconds": 600}})
    assert session.text("echo", text="meanwhile") == "meanwhile"
    session.write({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": slow}})
    assert session.text("echo", text="after") == "after"
    assert session.close() == 0


def test_it_leaves_at_the_end_of_input_even_when_a_slow_call_waits(start: Any) -> None:
    session = start("echo")
    session.send("tools/call", {"name": "slow", "arguments": {"seconds": 600}})
    assert session.text("echo", text="x") == "x"
    assert session.close() == 0


@pytest.mark.parametrize(
    ("tool", "arguments"), [("echo", {}), ("echo", {"text": 1}), ("add", {"a": 1}), ("slow", {"seconds": -1})]
)
def test_arguments_that_do_not_fit_give_an_error_result(start: Any, tool: str, arguments: Any) -> None:
    answer = start("echo").ask("tools/call", {"name": tool, "arguments": arguments})
    assert answer["result"]["isError"] is True


def test_what_it_does_not_know_gives_an_error(start: Any) -> None:
    session = start("echo")
    assert session.ask("resources/list")["error"]["code"] == -32601
    assert session.ask("tools/call", {"name": "absent"})["error"]["code"] == -32602
    session.write("not an object")
    session.process.stdin.write(b"{broken\n")
    session.process.stdin.flush()
    assert session.read()["error"]["code"] == -32700


def test_it_runs_as_a_module_too() -> None:
    request = b'{"jsonrpc":"2.0","id":"a","method":"ping"}\n'
    command = [sys.executable, "-m", "sekisho.testing.echo"]
    done = subprocess.run(command, input=request, capture_output=True, check=True, timeout=20)
    assert done.stdout == b'{"jsonrpc":"2.0","id":"a","result":{}}\n'

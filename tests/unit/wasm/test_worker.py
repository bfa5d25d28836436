"""A module as a plugin: its tools, its answers, its limits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.wasm.conftest import ECHO, command, saying

from sekisho.plugin import PluginFault, SandboxConfig, SettingMissing, ToolResult
from sekisho.plugin.results import ERROR
from sekisho.wasm.worker import WasmPlugin, limits_within, wasm_plugin

TEXT = {"name": "say", "description": "Says.", "inputSchema": {"type": "object"}}
DATA = {**TEXT, "name": "data", "outputSchema": {"type": "object"}}


def plugin(folder: Path, code: bytes) -> WasmPlugin:
    (folder / "m.wasm").write_bytes(code)
    (folder / "m.json").write_text(json.dumps({"name": "m", "version": "1", "tools": [TEXT, DATA]}))
    made = wasm_plugin(folder / "m.wasm")
    made.initialize_isolated(SandboxConfig())
    return made


def call(folder: Path, code: bytes, tool: str = "say", **arguments: object) -> ToolResult:
    return plugin(folder, code).execute_tool_sandboxed(tool, arguments)


def code_of(result: ToolResult) -> object:
    facts = result.meta[ERROR]
    assert isinstance(facts, dict)
    return facts["code"]


def test_a_text_and_an_object_are_answers(tmp_path: Path) -> None:
    assert call(tmp_path, saying('{"text": "yes"}')).text == "yes"
    assert call(tmp_path, saying('{"structured": {"a": 1}}'), "data").structured == {"a": 1}


def test_the_module_reads_the_tool_and_its_arguments(tmp_path: Path) -> None:
    result = call(tmp_path, ECHO, "data", **{"x-y": [1, "é"]})
    assert code_of(result) == "result_invalid"  # what it was given is no answer
    made = plugin(tmp_path, ECHO)
    assert made._computation is not None
    assert json.loads(made._computation.run(b'{"a":1}')) == {"a": 1}


def test_its_own_error_is_told_in_its_words(tmp_path: Path) -> None:
    result = call(tmp_path, saying('{"error": "no such unit"}'))
    assert result.is_error
    assert result.text == "[computation_failed] no such unit"


@pytest.mark.parametrize(
    ("tool", "output"),
    [
        ("say", ""),
        ("say", "{"),
        ("say", "[]"),
        ("say", "{}"),
        ("say", '{"text": 1}'),
        ("say", '{"text": "a", "error": "b"}'),
        ("say", '{"structured": {}}'),
        ("data", '{"text": "a"}'),
        ("data", '{"structured": 1}'),
        ("say", '{"other": "a"}'),
    ],
)
def test_anything_else_is_a_mistake_of_its_author(tmp_path: Path, tool: str, output: str) -> None:
    assert code_of(call(tmp_path, saying(output), tool)) == "result_invalid"


def test_a_module_that_breaks_is_an_error_that_is_answered(tmp_path: Path) -> None:
    assert code_of(call(tmp_path, command("unreachable"))) == "computation_failed"


def test_its_tools_are_listed_as_described_and_as_pure(tmp_path: Path) -> None:
    made = plugin(tmp_path, ECHO)
    definition = made.tools["data"].definition()
    assert definition["outputSchema"] == {"$schema": definition["inputSchema"]["$schema"], "type": "object"}  # type: ignore[index]  # plain JSON
    assert definition["annotations"] == {
        "readOnlyHint": True,
        "destructiveHint": False,
        "idempotentHint": True,
        "openWorldHint": False,
    }
    assert (made.name, made.version, made.instructions) == ("m", "1", None)


def test_a_module_that_wants_more_runs_no_tool(tmp_path: Path) -> None:
    with pytest.raises(PluginFault):
        plugin(tmp_path, b"#!/bin/sh")


def test_the_limits_are_those_of_the_walls() -> None:
    told = limits_within(SandboxConfig(max_memory_mb=512, execution_timeout_s=10.0))
    assert (told.memory_bytes, told.timeout_s) == (416 << 20, 8.0)
    assert limits_within(SandboxConfig()).memory_bytes == 256 << 20
    with pytest.raises(SettingMissing, match="set 112 or more"):
        limits_within(SandboxConfig(max_memory_mb=100))

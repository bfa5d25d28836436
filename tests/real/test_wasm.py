"""A module of WebAssembly behind the walls, as the plugin server starts it: the worker and its limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.inner import OPENING, call, talk
from tests.unit.wasm.conftest import command, compiled, saying

from sekisho.assembly.sandbox_spec import sandbox_spec
from sekisho.config import load_plugin
from sekisho.sandbox import probe

pytestmark = pytest.mark.real

if probe().missing:
    pytest.skip("no walls here: " + "; ".join(probe().missing), allow_module_level=True)

TOOL: Final = {"name": "say", "description": "Says.", "inputSchema": {"type": "object"}}


async def answers(folder: Path, code: bytes, *, timeout_s: float = 5.0) -> list[dict[str, Any]]:
    """The tools of a module, and what two calls of one of them answer."""
    (folder / "m.wasm").write_bytes(code)
    (folder / "m.json").write_text(json.dumps({"name": "m", "version": "1", "tools": [TOOL]}))
    path = folder / "plugin.toml"
    path.write_text(
        f'[plugin_server]\nname = "m"\ncommand = ["{folder / "m.wasm"}"]\nruntime = "wasm"\n'
        f"[sandbox]\nmax_memory_mb = 256\nexecution_timeout_seconds = {timeout_s}\n"
    )
    wanted = sandbox_spec(load_plugin(path).workload, {"PATH": "/usr/bin:/bin"})
    assert not wanted.wants_network
    assert wanted.grants.files.read_only_paths == ()
    _, listed, first, second = await talk(wanted, *OPENING, call(3, "say", a=1), call(4, "say", a=2))
    return [listed, first, second]


def text_of(answer: dict[str, Any]) -> str:
    text: str = answer["result"]["content"][0]["text"]
    return text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path.resolve()


async def test_a_module_is_listed_and_called(folder: Path) -> None:
    listed, first, second = await answers(folder, saying('{"text": "well"}'))
    assert [tool["name"] for tool in listed["result"]["tools"]] == ["say"]
    assert listed["result"]["tools"][0]["annotations"]["readOnlyHint"] is True
    assert text_of(first) == text_of(second) == "well"


@pytest.mark.threat("T-HANG")
async def test_an_endless_loop_is_an_error_that_is_answered_and_the_next_call_too(folder: Path) -> None:
    _, first, second = await answers(folder, command("(loop $l (br $l))"), timeout_s=1.0)
    for answer in (first, second):
        assert answer["result"]["isError"]
        assert "too" in text_of(answer)


async def test_memory_beyond_the_limit_is_not_given_and_the_worker_lives(folder: Path) -> None:
    grow = command(
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))"
        "(call $say (i32.const 200000) (i32.const 16))",
        '  (data (i32.const 200000) "{\\22text\\22: \\22full\\22}")\n',
    )
    _, first, second = await answers(folder, grow)
    assert text_of(first) == text_of(second) == "full"


async def test_a_module_that_wants_a_file_runs_no_tool(folder: Path) -> None:
    opening = (
        '"wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))'
    )
    code = compiled(f'(module (import {opening}) (memory (export "memory") 1) (func (export "_start")))')
    (folder / "m.wasm").write_bytes(code)
    (folder / "m.json").write_text(json.dumps({"name": "m", "version": "1", "tools": [TOOL]}))
    path = folder / "plugin.toml"
    path.write_text(f'[plugin_server]\nname = "m"\ncommand = ["{folder / "m.wasm"}"]\n')
    wanted = sandbox_spec(load_plugin(path).workload, {"PATH": "/usr/bin:/bin"})
    opened, listed = await talk(wanted, *OPENING)
    assert "error" in opened
    assert "error" in listed

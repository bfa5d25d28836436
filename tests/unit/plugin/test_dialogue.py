"""Both eras of MCP, answered without a transport."""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from sekisho.plugin import IsolatedPlugin, SandboxConfig, WallsDiffer, tool
from sekisho.plugin.dialogue import LEGACY, Dialogue, Started
from sekisho.plugin.messages import Message, RpcRefusal

META = "io.modelcontextprotocol/"
MODERN = {"_meta": {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}}


class Sum(TypedDict):
    """A record of the tests."""

    sum: int


class Adder(IsolatedPlugin):
    name = "adder"
    instructions = "Adds."

    @tool(title="Add", read_only=True)
    def add(self, a: int) -> Sum:
        """Add one."""
        return {"sum": a + 1}


def _asked(dialogue: Dialogue, method: str, params: dict[str, Any] | None = None) -> Any:
    return dialogue.answer(Message(method=method, params=params or {}, ident=1))


def _open(version: str) -> Dialogue:
    plugin = Adder()
    plugin.initialize_isolated(SandboxConfig())
    dialogue = Dialogue(plugin)
    hello = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    assert _asked(dialogue, "initialize", hello)["protocolVersion"] in LEGACY
    return dialogue


def _ran(dialogue: Dialogue, params: dict[str, Any]) -> dict[str, Any]:
    started = _asked(dialogue, "tools/call", params)
    assert isinstance(started, Started)
    return dialogue.answer_of(
        started, dialogue._plugin.execute_tool_sandboxed(started.tool, started.arguments)
    )


@pytest.mark.parametrize("version", LEGACY)
def test_every_legacy_revision_is_told_what_it_knows(version: str) -> None:
    dialogue = _open(version)
    [definition] = _asked(dialogue, "tools/list")["tools"]
    assert ("outputSchema" in definition) == (version >= "2025-06-18")
    assert ("annotations" in definition) == (version >= "2025-03-26")
    result = _ran(dialogue, {"name": "add", "arguments": {"a": 1}})
    assert ("structuredContent" in result) == (version >= "2025-06-18")
    assert result["content"][0]["text"] == '{"sum":2}'
    assert "resultType" not in result


def test_an_unknown_legacy_revision_is_answered_with_our_newest() -> None:
    assert _open("1999-01-01")._revision == LEGACY[0]


def test_a_modern_client_needs_no_handshake() -> None:
    dialogue = Dialogue(Adder())
    found = _asked(dialogue, "server/discover", MODERN)
    assert found["supportedVersions"] == ["2026-07-28"]
    assert found["instructions"] == "Adds."
    assert (found["resultType"], found["cacheScope"], found["ttlMs"]) == ("complete", "private", 0)
    assert _asked(dialogue, "tools/list", MODERN)["_meta"][META + "serverInfo"]["name"] == "adder"
    dialogue._plugin.initialize_isolated(SandboxConfig())
    result = _ran(dialogue, {**MODERN, "name": "add", "arguments": {"a": 1}})
    assert result["structuredContent"] == {"sum": 2}
    assert result["resultType"] == "complete"


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("tools/list", {}, -32600),
        ("tools/call", {"name": "add", "arguments": {"a": 1}}, -32600),
        ("server/discover", {}, -32602),
        ("server/discover", {"_meta": []}, -32602),
        ("tools/list", {"_meta": {META + "protocolVersion": "2026-07-28"}}, -32602),
        (
            "tools/list",
            {"_meta": {META + "protocolVersion": "2099-01-01", META + "clientCapabilities": {}}},
            -32022,
        ),
        ("prompts/list", MODERN, -32601),
        ("tools/list", {**MODERN, "cursor": "x"}, -32602),
        ("tools/call", {**MODERN, "name": 5}, -32602),
        ("tools/call", {**MODERN, "name": "add", "arguments": []}, -32602),
        ("tools/call", {"name": "add", "_meta": {**MODERN["_meta"], "progressToken": True}}, -32602),
        ("initialize", {}, -32602),
    ],
)
def test_what_has_no_place_is_refused(method: str, params: dict[str, Any], code: int) -> None:
    with pytest.raises(RpcRefusal) as refused:
        _asked(Dialogue(Adder()), method, params)
    assert refused.value.code == code


def test_a_session_opens_once() -> None:
    with pytest.raises(RpcRefusal):
        _asked(_open("2025-11-25"), "initialize", {"protocolVersion": "2025-11-25"})


def test_a_plugin_that_distrusts_its_walls_answers_nothing_else() -> None:
    dialogue = Dialogue(Adder(), WallsDiffer("no system call filter is in force"))
    for method in ("initialize", "server/discover", "tools/list", "tools/call", "ping"):
        with pytest.raises(RpcRefusal) as refused:
            _asked(dialogue, method, MODERN)
        assert refused.value.data == {"code": "walls_differ"}

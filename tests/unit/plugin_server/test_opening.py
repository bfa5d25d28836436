from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sekisho.errors import RemoteProtocolError, SekishoError, Unavailable
from sekisho.plugin_server.opening import (
    EraMemory,
    RefusedByPlugin,
    ask,
    handshake,
    open_session,
    told_of,
)
from sekisho.plugin_server.session import PluginSession
from sekisho.protocol import JsonLimits

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Plugin

START_S = 5.0
SHORT_S = 0.05


@pytest.fixture
async def plugin(new_plugin: type[Plugin]) -> Plugin:
    return new_plugin()


def _methods(plugin: Plugin) -> list[str]:
    return [message["method"] for message in plugin.heard]


def _fails(plugin: Plugin, method: str, error: dict[str, Any]) -> None:
    def answer(params: dict[str, Any]) -> None:
        del params
        plugin.say({"id": plugin.heard[-1]["id"], "error": error})

    plugin.answers[method] = answer


@pytest.mark.requirement("A3.1")
async def test_the_handshake_is_the_one_every_server_expects(plugin: Plugin) -> None:
    opened = await handshake(plugin.session, START_S)
    assert _methods(plugin) == ["initialize", "notifications/initialized"]
    assert plugin.versions == ["2025-11-25"]
    assert bytes(opened.server_info) == b'{"name": "fake", "version": "1"}'


async def test_a_plugin_that_discovers_is_modern(plugin: Plugin) -> None:
    plugin.become_modern({"tools": {}})
    memory = EraMemory()
    opened = await open_session(plugin.session, memory, START_S)
    assert _methods(plugin) == ["server/discover"]
    assert plugin.versions == ["2026-07-28"]
    assert (plugin.session.modern, memory.is_legacy) == (True, False)
    assert bytes(opened.capabilities) == b'{"tools": {}}'
    assert bytes(opened.server_info) == b'{"name": "fake", "version": "2"}'
    meta = plugin.heard[0]["params"]["_meta"]
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"


@pytest.mark.parametrize("code", [-32601, -32602, -32600, -32000, 0, 7, -32022])
async def test_an_error_of_any_code_makes_it_legacy(plugin: Plugin, code: int) -> None:
    _fails(plugin, "server/discover", {"code": code, "message": "no"})
    memory = EraMemory()
    await open_session(plugin.session, memory, START_S)
    assert (plugin.session.modern, memory.is_legacy) == (False, True)


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"supportedVersions": "2026-07-28", "capabilities": {}},
        {"supportedVersions": ["2025-11-25"], "capabilities": {}},
        {"supportedVersions": ["2026-07-28"], "capabilities": []},
        {"supportedVersions": ["2026-07-28"], "capabilities": {}, "instructions": 7},
    ],
)
async def test_an_answer_that_does_not_discover_makes_it_legacy(plugin: Plugin, result: Any) -> None:
    plugin.answers["server/discover"] = lambda params: result
    await open_session(plugin.session, EraMemory(), START_S)
    assert not plugin.session.modern


async def test_a_modern_plugin_without_a_name_is_modern_all_the_same(plugin: Plugin) -> None:
    plugin.answers["server/discover"] = lambda params: {
        "supportedVersions": ["2026-07-28"],
        "capabilities": {},
    }
    opened = await open_session(plugin.session, EraMemory(), START_S)
    assert (plugin.session.modern, bytes(opened.server_info)) == (True, b"{}")


@pytest.mark.threat("T-HANG")
async def test_a_plugin_that_ignores_discovery_still_starts_in_time(plugin: Plugin) -> None:
    plugin.answers["server/discover"] = lambda params: None
    began = asyncio.get_running_loop().time()
    await open_session(plugin.session, EraMemory(), 2 * SHORT_S)
    assert not plugin.session.modern
    assert asyncio.get_running_loop().time() - began < START_S
    assert "notifications/cancelled" not in _methods(plugin)  # neither question may be cancelled


async def test_a_modern_server_that_was_slow_to_start_is_asked_once_more(plugin: Plugin) -> None:
    plugin.become_modern()
    discover = plugin.answers["server/discover"]
    plugin.answers["server/discover"] = lambda params: None
    _fails(plugin, "initialize", {"code": -32022, "message": "modern", "data": {"supported": ["2026-07-28"]}})
    refuse = plugin.answers["initialize"]

    def refuse_and_wake(params: dict[str, Any]) -> Any:
        plugin.answers["server/discover"] = discover
        return refuse(params)

    plugin.answers["initialize"] = refuse_and_wake
    await open_session(plugin.session, EraMemory(), 2 * SHORT_S)
    assert plugin.session.modern


async def test_a_modern_server_of_other_revisions_only_cannot_be_spoken_to(plugin: Plugin) -> None:
    error = {"code": -32022, "message": "no", "data": {"supported": ["2031-01-01"]}}
    _fails(plugin, "server/discover", error)
    with pytest.raises(RemoteProtocolError, match="no supported protocol version"):
        await open_session(plugin.session, EraMemory(), START_S)


async def test_a_server_that_refuses_the_revision_it_names_is_asked_for_it_once_more(plugin: Plugin) -> None:
    plugin.become_modern()
    discover = plugin.answers["server/discover"]
    _fails(
        plugin, "server/discover", {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}
    )
    refuse = plugin.answers["server/discover"]

    def refuse_once(params: dict[str, Any]) -> Any:
        plugin.answers["server/discover"] = discover
        return refuse(params)

    plugin.answers["server/discover"] = refuse_once
    await open_session(plugin.session, EraMemory(), START_S)
    assert _methods(plugin) == ["server/discover", "server/discover"]
    assert plugin.session.modern


async def test_a_server_that_refuses_the_revision_it_names_twice_is_left(plugin: Plugin) -> None:
    _fails(
        plugin, "server/discover", {"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}}
    )
    with pytest.raises(RemoteProtocolError, match="no supported protocol version"):
        await open_session(plugin.session, EraMemory(), START_S)
    assert _methods(plugin) == ["server/discover", "server/discover"]


async def test_the_era_is_remembered_and_never_trusted(plugin: Plugin, new_plugin: type[Plugin]) -> None:
    memory = EraMemory()
    await open_session(plugin.session, memory, START_S)
    again = new_plugin()
    await open_session(again.session, memory, START_S)
    assert _methods(again) == ["initialize", "notifications/initialized"]
    changed = new_plugin()
    changed.become_modern()
    await open_session(changed.session, memory, START_S)
    assert _methods(changed) == ["initialize", "server/discover"]
    assert memory.is_legacy is False


async def test_a_plugin_that_ends_on_a_question_is_asked_the_other_one_next(plugin: Plugin) -> None:
    memory = EraMemory()

    def die(params: dict[str, Any]) -> None:
        plugin.session.fail_all(Unavailable("plugin_exited", "it does not like this"))

    plugin.answers["server/discover"] = die
    with pytest.raises(Unavailable):
        await open_session(plugin.session, memory, START_S)
    assert memory.is_legacy
    await open_session(plugin.session, memory, START_S)
    assert memory.is_legacy


async def test_also_if_the_wait_is_given_up_from_outside(plugin: Plugin) -> None:
    memory = EraMemory()
    plugin.answers["server/discover"] = lambda params: None
    async with asyncio.TaskGroup() as group:
        opening = group.create_task(open_session(plugin.session, memory, 3600))
        await plugin.wait_for("server/discover")
        opening.cancel()
    assert memory.is_legacy


async def test_a_server_that_is_not_there_has_no_era(plugin: Plugin) -> None:
    def refuse(params: dict[str, Any]) -> None:
        plugin.session.fail_one(
            plugin.heard[-1]["id"], Unavailable("plugin_unavailable", "connection refused")
        )

    plugin.answers["server/discover"] = refuse
    with pytest.raises(Unavailable):
        await open_session(plugin.session, EraMemory(), START_S)
    assert _methods(plugin) == ["server/discover"]


SHOWS_APPS = {"extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}}}


@pytest.mark.parametrize(
    ("may_ask", "declared"),
    [
        ((), {}),
        (("elicitation",), {"elicitation": {"form": {}}}),
        (("elicitation", "elicitation/url"), {"elicitation": {"form": {}, "url": {}}}),
        (("sampling",), {"sampling": {}}),
    ],
)
async def test_a_legacy_plugin_hears_what_the_operator_allows(
    new_plugin: type[Plugin], may_ask: tuple[str, ...], declared: dict[str, Any]
) -> None:
    plugin = new_plugin(may_ask=may_ask)
    await handshake(plugin.session, START_S)
    assert plugin.heard[0]["params"]["capabilities"] == declared | SHOWS_APPS


async def test_roots_are_promised_only_when_there_are_some(new_plugin: type[Plugin]) -> None:
    plugin = new_plugin(roots=[("file:///data", "data")])
    await handshake(plugin.session, START_S)
    assert plugin.heard[0]["params"]["capabilities"] == {"roots": {"listChanged": False}} | SHOWS_APPS


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "result",
    [
        {},
        {"protocolVersion": "1999-01-01", "capabilities": {}, "serverInfo": {}},
        {"protocolVersion": "2026-07-28", "capabilities": {}, "serverInfo": {}},
        {"protocolVersion": "2025-06-18", "capabilities": [], "serverInfo": {}},
        {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": "x"},
        {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {}, "instructions": 7},
    ],
)
async def test_a_malformed_initialize_answer_is_refused(plugin: Plugin, result: Any) -> None:
    plugin.answers["initialize"] = lambda params: result
    with pytest.raises(RemoteProtocolError) as caught:
        await handshake(plugin.session, START_S)
    assert caught.value.code == "plugin_protocol"


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
async def test_every_legacy_revision_is_taken(plugin: Plugin, version: str) -> None:
    plugin.answers["initialize"] = lambda params: {
        "protocolVersion": version,
        "capabilities": {},
        "serverInfo": {},
    }
    await handshake(plugin.session, START_S)
    assert plugin.versions == [version]


@pytest.mark.threat("T-HANG")
async def test_a_plugin_that_does_not_answer_is_not_waited_for(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: None
    with pytest.raises(Unavailable) as caught:
        await ask(plugin.session, "tools/list", None, 0.01)
    assert caught.value.code == "plugin_timeout"
    assert plugin.session.in_flight == 0
    assert plugin.heard[-1]["method"] == "notifications/cancelled"


async def test_an_error_of_the_transport_ends_the_wait(plugin: Plugin) -> None:
    def die(params: dict[str, Any]) -> None:
        plugin.session.fail_all(Unavailable("plugin_exited", "gone"))

    plugin.answers["tools/list"] = die
    with pytest.raises(Unavailable) as caught:
        await ask(plugin.session, "tools/list", None, START_S)
    assert caught.value.code == "plugin_exited"


@pytest.mark.threat("T-ORPHAN")
async def test_a_wait_that_is_given_up_in_the_moment_of_the_answer_is_given_up(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: None
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask(plugin.session, "tools/list", None, START_S))
        request = await plugin.wait_for("tools/list")
        plugin.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % request["id"])
        asking.cancel()
    assert asking.cancelled()


async def test_a_question_of_ours_that_the_plugin_refuses_is_a_breach_of_protocol(plugin: Plugin) -> None:
    _fails(plugin, "tools/list", {"code": -5, "message": "no"})
    with pytest.raises(SekishoError, match="error -5"):
        await ask(plugin.session, "tools/list", None, START_S)


def test_a_session_without_transport_sends_nothing_and_does_not_fail() -> None:
    session = PluginSession(limits=JsonLimits())
    session.cancel(session.request("ping", None, lambda answer: None), "done")
    session.agree("2026-07-28")
    assert session.modern


@pytest.mark.parametrize(
    ("error", "message", "told"),
    [
        ({"code": -32603, "message": "no database"}, "error -32603", 'error -32603, "no database"'),
        ({"code": 7, "message": ""}, "error 7", "error 7"),
        (
            {"code": 1 << 40, "message": "\x1b[2J\u202egone\n" + 'say "yes" ' + "x" * 500},
            "error beyond every range",
            'error beyond every range, "?[2J?gone?say ?yes? ' + "x" * 120 + '"',
        ),
    ],
)
async def test_a_plugins_own_words_are_for_the_operator_and_its_number_for_everybody(
    plugin: Plugin, error: dict[str, Any], message: str, told: str
) -> None:
    _fails(plugin, "initialize", error)
    with pytest.raises(RefusedByPlugin) as caught:
        await handshake(plugin.session, START_S)
    assert caught.value.message == f"the plugin refused initialize: {message}"
    assert told_of(caught.value) == f"the plugin refused initialize: {told}"
    assert told_of(Unavailable("plugin_exited", "gone")) == "gone"

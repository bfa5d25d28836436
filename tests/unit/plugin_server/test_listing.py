from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sekisho.errors import RemoteProtocolError
from sekisho.plugin_server.listing import MAX_ITEMS, MAX_PAGES, list_surface, read_page
from sekisho.plugin_server.opening import EraMemory, handshake, open_session
from sekisho.wire import SurfaceFrame

if TYPE_CHECKING:
    from tests.unit.plugin_server.conftest import Plugin

START_S = 5.0


@pytest.fixture
async def plugin(new_plugin: type[Plugin]) -> Plugin:
    return new_plugin()


async def _list(plugin: Plugin) -> SurfaceFrame:
    return await list_surface(plugin.session, await handshake(plugin.session, START_S), START_S)


async def test_the_transport_hears_of_the_tools(plugin: Plugin) -> None:
    await _list(plugin)
    assert plugin.tools == [b'{"name": "echo", "inputSchema": {}}']


async def test_a_modern_plugin_is_asked_for_its_lists_in_its_own_way(plugin: Plugin) -> None:
    plugin.become_modern()
    surface = await list_surface(
        plugin.session, await open_session(plugin.session, EraMemory(), START_S), START_S
    )
    assert len(surface.tools) == 1
    assert "io.modelcontextprotocol/protocolVersion" in plugin.heard[-1]["params"]["_meta"]


async def test_all_pages_are_drained_in_order(plugin: Plugin) -> None:
    def page(params: dict[str, Any]) -> dict[str, Any]:
        number = int(params.get("cursor", "0"))
        return {"tools": [{"name": f"t{number}"}]} | ({"nextCursor": str(number + 1)} if number < 4 else {})

    plugin.answers["tools/list"] = page
    surface = await _list(plugin)
    assert [bytes(tool) for tool in surface.tools] == [b'{"name": "t%d"}' % number for number in range(5)]


async def test_a_list_that_the_capabilities_do_not_promise_is_not_asked_for(plugin: Plugin) -> None:
    surface = await _list(plugin)
    assert surface.prompts == surface.resources == surface.templates == []
    assert [message["method"] for message in plugin.heard][2:] == ["tools/list"]


async def test_every_promised_list_is_asked_for(plugin: Plugin) -> None:
    initialized = plugin.answers["initialize"]({})
    assert initialized is not None
    plugin.answers["initialize"] = lambda params: (
        initialized | {"capabilities": {"prompts": {}, "resources": {}}}
    )
    plugin.answers["prompts/list"] = lambda params: {"prompts": [{"name": "p"}]}
    plugin.answers["resources/list"] = lambda params: {"resources": [{"uri": "r:"}]}
    plugin.answers["resources/templates/list"] = lambda params: {"resourceTemplates": [{"uriTemplate": "t:"}]}
    surface = await _list(plugin)
    assert (len(surface.prompts), len(surface.resources), len(surface.templates)) == (1, 1, 1)
    assert surface.tools == []


async def test_a_promised_list_that_is_refused_is_empty_and_the_tools_stay(plugin: Plugin) -> None:
    initialized = plugin.answers["initialize"]({})
    assert initialized is not None
    plugin.answers["initialize"] = lambda params: (
        initialized | {"capabilities": {"tools": {}, "resources": {}}}
    )
    surface = await _list(plugin)  # it knows neither resources/list nor resources/templates/list
    assert (len(surface.tools), surface.resources, surface.templates) == (1, [], [])


async def test_a_plugin_that_refuses_to_list_its_tools_is_not_served(plugin: Plugin) -> None:
    del plugin.answers["tools/list"]
    with pytest.raises(RemoteProtocolError, match="tools/list"):
        await _list(plugin)


@pytest.mark.threat("T-HANG")
async def test_a_list_that_goes_in_a_circle_is_refused(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: {"tools": [], "nextCursor": "again"}
    with pytest.raises(RemoteProtocolError, match="circle"):
        await _list(plugin)


@pytest.mark.threat("T-HANG")
async def test_a_list_without_end_is_refused(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: {"tools": [], "nextCursor": params.get("cursor", "") + "x"}
    with pytest.raises(RemoteProtocolError, match="does not end"):
        await _list(plugin)
    assert len([1 for message in plugin.heard if message["method"] == "tools/list"]) == MAX_PAGES


async def test_a_list_of_too_many_items_is_refused(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: {"tools": [0] * (MAX_ITEMS + 1)}
    with pytest.raises(RemoteProtocolError, match="does not end"):
        await _list(plugin)


async def test_a_list_of_exactly_as_many_items_as_allowed_is_taken(plugin: Plugin) -> None:
    plugin.answers["tools/list"] = lambda params: {"tools": [0] * MAX_ITEMS}
    assert len((await _list(plugin)).tools) == MAX_ITEMS


def test_a_page_gives_its_items_and_its_cursor() -> None:
    items, cursor = read_page(b'{"tools":[{"name":"a"}],"nextCursor":"c"}', "tools")
    assert ([bytes(item) for item in items], cursor) == ([b'{"name":"a"}'], "c")
    assert read_page(b"{}", "tools") == ([], None)


@pytest.mark.parametrize("page", [b"[]", b'{"tools":{}}', b'{"tools":[],"nextCursor":7}'])
def test_a_malformed_page_is_refused(page: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        read_page(page, "tools")

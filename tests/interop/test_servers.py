"""Real servers behind the gateway, in their walls, compared with what each says to a client that talks to it directly."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

import pytest
from mcp_types import PromptReference
from tests.interop.direct import LISTS
from tests.interop.estate import Estate, essence
from tests.interop.listening import canonical
from tests.interop.subjects import SERVERS, Server

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

NAMED_BY_PLUGIN = (
    "tools",
    "prompts",
)  # at the endpoint of all plugins; addresses of resources stay as they are


def by_name(objects: list[dict[str, Any]]) -> dict[str, str]:
    """Each object's canonical text, so that a difference names its object."""
    return {one.get("uri", one.get("uriTemplate", one["name"])): canonical(one) for one in objects}


def test_the_server_is_the_one_we_know(server: Server, estate: Estate) -> None:
    assert len(estate.said[server.name].of("tools")) == server.tools


@pytest.mark.parametrize("kind", LISTS)
async def test_a_list_arrives_byte_for_byte(server: Server, era: str, kind: str, estate: Estate) -> None:
    listed = await estate.listed(server.name, era, kind)
    assert by_name(listed) == by_name(estate.said[server.name].of(kind))


@pytest.mark.parametrize("kind", LISTS)
async def test_beside_others_only_names_get_a_prefix(
    server: Server, era: str, kind: str, estate: Estate
) -> None:
    said = estate.said[server.name].of(kind)
    if kind in NAMED_BY_PLUGIN:
        said = [{**one, "name": f"{server.name}__{one['name']}"} for one in said]
    listed = by_name(await estate.listed("", era, kind))
    expected = by_name(said)
    assert {name: listed.get(name) for name in expected} == expected


@pytest.mark.parametrize("kind", LISTS)
async def test_all_lists_together_hold_nothing_else(era: str, kind: str, estate: Estate) -> None:
    said = sum(len(one.of(kind)) for one in estate.said.values())
    assert len(await estate.listed("", era, kind)) == said


async def test_a_call_is_answered_as_by_the_server_itself(server: Server, era: str, estate: Estate) -> None:
    for call in server.calls:
        ask = methodcaller("call_tool", call.tool, call.arguments(estate.place))
        result = await estate.answered(server.name, era, "content", ask)
        assert call.shows in canonical(result), call.tool
        if call.same:
            assert canonical(essence(result)) == canonical(estate.essence(server, call.tool)), call.tool


async def test_a_call_beside_others_reaches_its_server(server: Server, era: str, estate: Estate) -> None:
    for call in server.calls[:1]:
        ask = methodcaller("call_tool", f"{server.name}__{call.tool}", call.arguments(estate.place))
        assert call.shows in canonical(await estate.answered("", era, "content", ask))


@pytest.mark.parametrize("prefix", ["", "everything__"], ids=["alone", "beside-others"])
async def test_a_prompt_is_the_servers(prefix: str, era: str, estate: Estate) -> None:
    server = next(one for one in SERVERS if one.prompt is not None)
    assert server.prompt is not None
    ask = methodcaller("get_prompt", prefix + server.prompt[0], server.prompt[1])
    result = await estate.answered("" if prefix else server.name, era, "messages", ask)
    assert canonical(essence(result)) == canonical(estate.essence(server, "prompt"))


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside-others"])
@pytest.mark.parametrize("reader", [one for one in SERVERS if one.resource], ids=lambda one: one.name)
async def test_a_resource_is_the_servers(reader: Server, beside: bool, era: str, estate: Estate) -> None:
    ask = methodcaller("read_resource", reader.resource)
    result = await estate.answered("" if beside else reader.name, era, "contents", ask)
    assert canonical(essence(result)) == canonical(estate.essence(reader, "resource"))


@pytest.mark.parametrize("prefix", ["", "everything__"], ids=["alone", "beside-others"])
async def test_an_argument_is_completed_by_the_server(prefix: str, era: str, estate: Estate) -> None:
    reference = PromptReference(name=f"{prefix}completable-prompt")
    ask = methodcaller("complete", reference, {"name": "department", "value": "E"})
    result = await estate.answered("" if prefix else "everything", era, "completion", ask)
    assert result["completion"]["values"] == ["Engineering"]

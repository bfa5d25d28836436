"""Names that could be taken for well-known ones are suspected; well-known ones and ordinary ones are not."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sekisho.install.names import suspicion
from sekisho.install.package import Ecosystem, PackageSpec


def _ask(ecosystem: Ecosystem, name: str) -> str | None:
    found = suspicion(PackageSpec(ecosystem=ecosystem, name=name, version="1.0.0"))
    return None if found is None else found.instead or "nothing"


@pytest.mark.parametrize(
    ("ecosystem", "name", "instead"),
    [
        ("pypi", "bubblewrap", "nothing"),
        ("pypi", "toolhive", "nothing"),
        ("pypi", "AgentGateway", "nothing"),
        ("pypi", "mcpserver-time", "mcp-server-time"),
        ("pypi", "mcp-server-tlme", "mcp-server-time"),
        ("pypi", "rncp-server-time", "mcp-server-time"),
        ("pypi", "mcp-server-tiem", "mcp-server-time"),
        ("pypi", "server-mcp-time", "mcp-server-time"),
        ("pypi", "fastmpc", "fastmcp"),
        ("npm", "server-filesystem", "@modelcontextprotocol/server-filesystem"),
        ("npm", "modelcontextprotocol-server-filesystem", "@modelcontextprotocol/server-filesystem"),
        ("npm", "@modelcontextprotocoi/server-filesystem", "@modelcontextprotocol/server-filesystem"),
        ("npm", "@evil/server-filesystem", "@modelcontextprotocol/server-filesystem"),
        ("npm", "@playwrigth/mcp", "@playwright/mcp"),
        ("npm", "playwright-mcp", "@playwright/mcp"),
        ("npm", "chrome-devtool-mcp", "chrome-devtools-mcp"),
        ("npm", "f1recrawl-mcp", "firecrawl-mcp"),
        ("npm", "firecrawll-mpc", "firecrawl-mcp"),
    ],
)
def test_a_look_alike_is_suspected_and_the_original_named(
    ecosystem: Ecosystem, name: str, instead: str
) -> None:
    assert _ask(ecosystem, name) == instead


@pytest.mark.parametrize(
    ("ecosystem", "name"),
    [
        ("pypi", "mcp-server-time"),
        ("pypi", "mcp_server_time"),
        ("pypi", "mcp-server-weather"),
        ("pypi", "our-own-server"),
        ("pypi", "requests"),
        ("npm", "@modelcontextprotocol/server-everything"),
        ("npm", "@playwright/mcp"),
        ("npm", "bubblewrap"),
        ("npm", "@our-company/tickets-mcp"),
        ("npm", "is-number"),
        ("npm", "@elsewhere/sdk"),
    ],
)
def test_a_well_known_or_an_ordinary_name_is_not(ecosystem: Ecosystem, name: str) -> None:
    assert _ask(ecosystem, name) is None


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,40}", fullmatch=True))
def test_any_name_is_judged_the_same_way_twice(name: str) -> None:
    assert _ask("npm", name) == _ask("npm", name)
    assert _ask("pypi", name) == _ask("pypi", name.upper())


@given(st.integers(0, len("chrome-devtools-mcp") - 2))
def test_two_neighbouring_letters_swapped_are_always_noticed(place: int) -> None:
    name = "chrome-devtools-mcp"
    swapped = name[:place] + name[place + 1] + name[place] + name[place + 2 :]
    assume(swapped != name)
    assert _ask("npm", swapped) == name

"""The official client finds out by itself, from what the gateway says, where to get a token and which; in every era."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp.client import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl
from tests.real.authorization_server import AuthorizationServer
from tests.real.conftest import ECHO, ECHO_TOOLS, House, common, plugin
from tests.real.login import Login
from tests.real.token_desk import CLIENT, SECRET, TokenDesk

pytestmark = pytest.mark.real

CALLBACK: Final = "http://127.0.0.1:1/callback"  # nobody listens there; the browser below reads the address


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """A house, whom it believes, and which tokens were given."""

    house: House
    server: AuthorizationServer
    desk: TokenDesk


@pytest.fixture(scope="module")
def estate(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    with Login("ES256") as login:
        (server,) = login.servers
        desk = TokenDesk(server)
        auth = (
            '[auth]\nresource = "HERE"\nrequired_scopes = ["mcp"]\nstatic_tokens = false\n'
            '[auth.operation_scopes]\n"echo.add" = ["sums"]\n'
            f'[[auth.issuers]]\nname = "corp"\nissuer = "{server.url}"\n'
        )
        text = common() + auth + plugin("echo", ECHO, operations=ECHO_TOOLS)
        house = House(tmp_path_factory.mktemp("sdk"), text)
        yield Estate(house=house, server=server, desk=desk)
        house.stop()


class Storage:
    """Keeps what a client was given, as long as it runs."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """Opens the login page, and reads where it leads."""

    def __init__(self) -> None:
        self.pages = 0
        self._answer: dict[str, str] = {}

    async def open(self, url: str) -> None:
        self.pages += 1
        async with httpx2.AsyncClient() as http:
            answer = await http.get(url)
        query = parse_qs(urlsplit(answer.headers["location"]).query)
        self._answer = {name: values[0] for name, values in query.items()}

    async def answer(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**self._answer)


def machine(url: str, estate: Estate) -> OAuthClientProvider:
    """A program with credentials of its own."""
    return ClientCredentialsOAuthProvider(
        server_url=url, storage=Storage(), client_id=CLIENT, client_secret=SECRET, issuer=estate.server.url
    )


def person(url: str, browser: Browser) -> OAuthClientProvider:
    """A program that registers itself and asks a person to log in."""
    metadata = OAuthClientMetadata(
        redirect_uris=[AnyUrl(CALLBACK)],
        grant_types=["authorization_code"],
        response_types=["code"],
        token_endpoint_auth_method="none",
    )
    return OAuthClientProvider(url, metadata, Storage(), browser.open, browser.answer)


@asynccontextmanager
async def connected(
    url: str, house: House, mode: str, provider: OAuthClientProvider
) -> AsyncIterator[Client]:
    async with (
        httpx2.AsyncClient(verify=house.context, auth=provider, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])
@pytest.mark.parametrize(("path", "prefix"), [("/mcp", "echo__"), ("/p/echo/mcp", "")])
@pytest.mark.parametrize("grant", ["client credentials", "authorization code"])
async def test_the_official_client_gets_a_token_for_this_endpoint_and_steps_up_when_told_to(
    estate: Estate, mode: str, path: str, prefix: str, grant: str
) -> None:
    url = estate.house.base + path
    browser = Browser()
    provider = machine(url, estate) if grant == "client credentials" else person(url, browser)
    before = len(estate.desk.given)
    async with connected(url, estate.house, mode, provider) as client:
        assert prefix + "add" in [tool.name for tool in (await client.list_tools()).tools]
        assert (await client.call_tool(prefix + "echo", {"text": "hello"})).is_error is not True
        result = await client.call_tool(prefix + "add", {"a": 1, "b": 2})
        assert result.structured_content == {"sum": 3}
    first, *rest = estate.desk.given[before:]
    assert first == {"aud": url, "scope": "mcp"}
    assert [one["aud"] for one in rest] == [url]
    assert set(rest[0]["scope"].split()) == {"mcp", "sums"}
    assert browser.pages == (0 if grant == "client credentials" else 2)

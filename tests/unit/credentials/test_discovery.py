from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sekisho.credentials.challenge import Challenge
from sekisho.credentials.discovery import discover
from sekisho.credentials.fetch import Fetcher
from sekisho.errors import Refused, Unavailable
from sekisho.protocol import HttpRequest, response_bytes

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Town


@pytest.mark.threat("T-MIXUP")
async def test_the_metadata_leads_from_the_resource_to_its_server(town: Town) -> None:
    town.resource_metadata["scopes_supported"] = ["read"]
    site = await discover(town.url, Challenge(), None, Fetcher(town.url))
    assert (site.server.issuer, site.resource, site.scopes) == (town.issuer, town.url, ("read",))
    assert town.asked == [
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
    ]


@pytest.mark.threat("T-MIXUP")
async def test_metadata_of_another_resource_ends_the_search(town: Town) -> None:
    town.resource_metadata["resource"] = "https://evil.example/mcp"
    with pytest.raises(Refused, match="another resource"):
        await discover(town.url, Challenge(), None, Fetcher(town.url))
    assert "/.well-known/oauth-authorization-server" not in town.asked


@pytest.mark.threat("T-MIXUP")
async def test_metadata_of_another_issuer_ends_the_search(town: Town) -> None:
    town.server_metadata["issuer"] = "https://attacker.example"
    with pytest.raises(Refused, match="another issuer"):
        await discover(town.url, Challenge(), None, Fetcher(town.url))


async def test_a_stated_issuer_is_the_only_one_that_is_asked(town: Town) -> None:
    site = await discover(town.url, Challenge(), town.issuer, Fetcher(town.url))
    assert site.server.issuer == town.issuer
    town.asked.clear()
    town.resource_metadata["authorization_servers"] = ["https://evil.example"]
    with pytest.raises(Refused, match="another authorization server"):
        await discover(town.url, Challenge(), town.issuer, Fetcher(town.url))
    assert town.asked == ["/.well-known/oauth-protected-resource/mcp"]


@pytest.mark.parametrize("issuer", ["http://auth.example", "https://auth.example/?x=1", "javascript:1"])
async def test_an_issuer_that_must_not_be_asked_is_refused(town: Town, issuer: str) -> None:
    town.resource_metadata["authorization_servers"] = [issuer]
    with pytest.raises(Refused):
        await discover(town.url, Challenge(), None, Fetcher(town.url))


async def test_huge_metadata_is_refused(town: Town) -> None:
    town.server_metadata["padding"] = "x" * (300 << 10)
    with pytest.raises(Refused):
        await discover(town.url, Challenge(), None, Fetcher(town.url))


async def test_a_resource_without_metadata_is_its_own_server(town: Town, serving: object) -> None:
    def reply(request: HttpRequest) -> bytes:
        if request.target == "/.well-known/oauth-authorization-server":
            return town.at_issuer(request)
        return response_bytes(404, b"")

    async with serving(reply) as origin:  # type: ignore[operator]  # the fixture gives the function
        town.server_metadata["issuer"] = origin
        site = await discover(f"{origin}/mcp?x=1", Challenge(), None, Fetcher(origin))
    assert (site.server.issuer, site.resource) == (origin, f"{origin}/mcp")


async def test_a_server_error_does_not_lead_to_the_older_way(serving: object) -> None:
    asked: list[str] = []

    def reply(request: HttpRequest) -> bytes:
        asked.append(request.target)
        return response_bytes(503, b"")

    async with serving(reply) as origin:  # type: ignore[operator]  # the fixture gives the function
        with pytest.raises(Unavailable):
            await discover(f"{origin}/mcp", Challenge(), None, Fetcher(origin))
    assert len(asked) == 1


async def test_a_server_without_metadata_is_refused(town: Town) -> None:
    town.resource_metadata["authorization_servers"] = [f"{town.issuer}/elsewhere"]
    with pytest.raises(Refused, match="no metadata"):
        await discover(town.url, Challenge(), None, Fetcher(town.url))

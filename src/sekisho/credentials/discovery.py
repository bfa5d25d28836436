"""From a refusal to the one authorization server that may be asked: RFC 9728, then RFC 8414 or OpenID discovery.

Guarantees that the order is the specification's, that what answers is believed only as `metadata` allows, and that with
`issuer` stated no other server is asked for anything. A server error ends the search: it says nothing about what is
published, and must not lead to the older way.
"""

from __future__ import annotations

import msgspec

from sekisho.credentials.challenge import Challenge
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.metadata import (
    Resource,
    Server,
    issuer_candidates,
    legacy_server,
    read_resource,
    read_server,
    resource_candidates,
)
from sekisho.errors import Refused, Unavailable

__all__ = ["Site", "discover", "discover_server"]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """Where a token for one resource is asked for."""

    server: Server
    resource: str
    scopes: tuple[str, ...]  # that the resource names


async def discover(url: str, challenge: Challenge, issuer: str | None, fetcher: Fetcher) -> Site:
    """Find the authorization server of the MCP server at `url`; raises `Refused` or `Unavailable`."""
    resource = await _resource(url, challenge, fetcher)
    if resource is None or not resource.authorization_servers:
        chosen = issuer or legacy_server(url)
    elif issuer is None:
        chosen = resource.authorization_servers[0]
    elif issuer in resource.authorization_servers:
        chosen = issuer
    else:
        raise Refused(
            "authorization_failed",
            "the plugin's server names another authorization server than oauth.issuer",
            remedy="find out why, then correct oauth.issuer and log in again",
        )
    return Site(
        server=await discover_server(chosen, fetcher),
        resource=url.partition("?")[0] if resource is None else resource.resource,
        scopes=tuple((resource.scopes_supported if resource is not None else None) or ()),
    )


async def _resource(url: str, challenge: Challenge, fetcher: Fetcher) -> Resource | None:
    candidates = resource_candidates(url, challenge.resource_metadata)
    for candidate in candidates:
        body = await _document(candidate, fetcher)
        if body is not None:
            return read_resource(body, url)
    return None


async def discover_server(issuer: str, fetcher: Fetcher) -> Server:
    """What this issuer publishes of itself; raises `Refused` or `Unavailable`."""
    for candidate in issuer_candidates(issuer):
        body = await _document(candidate, fetcher)
        if body is not None:
            return read_server(body, issuer)
    raise Refused("authorization_failed", f"{issuer} publishes no metadata")


async def _document(url: str, fetcher: Fetcher) -> bytes | None:
    answer = await fetcher.get(url)
    if answer.status == 200:
        return answer.body
    if answer.status >= 500 or answer.status == 429:
        raise Unavailable("authorization_failed", f"metadata could not be read: HTTP {answer.status}")
    return None

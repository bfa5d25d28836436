"""What a resource and an authorization server say of themselves, and whether it may be believed. Judgement only.

Guarantees
- RFC 9728: metadata of a resource counts only if its `resource` covers the URL we talk to;
- RFC 8414 section 3.3: metadata of an authorization server counts only if its `issuer` is, character for character,
  the one it was looked up for (only the slash after a bare origin is free); an issuer has no query and is HTTPS (plain
  HTTP on loopback alone);
- every endpoint is a URL that may be asked, and PKCE with S256 must be announced before a code is asked for.

Unknown members are ignored, wrong types refused.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from sekisho.credentials.addresses import checked_url, covers, inserted
from sekisho.credentials.answers import read_answer
from sekisho.errors import Refused, RemoteProtocolError

__all__ = [
    "Resource",
    "Server",
    "is_same_issuer",
    "issuer_candidates",
    "legacy_server",
    "read_resource",
    "read_server",
    "resource_candidates",
]

MAX_SERVERS: Final = 16  # authorization servers one resource may name
MAX_WORDS: Final = 256  # members of any list


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 9728, section 2."""

    resource: str
    authorization_servers: list[str] = []
    scopes_supported: list[str] | None = None


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """RFC 8414, section 2, as far as a client needs it."""

    issuer: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    registration_endpoint: str | None = None
    scopes_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    token_endpoint_auth_signing_alg_values_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None
    client_id_metadata_document_supported: bool = False
    authorization_response_iss_parameter_supported: bool = False

    def authorization_page(self) -> str:
        """Where a person logs in; raises `Refused` where a stolen code could be used."""
        if self.authorization_endpoint is None:
            raise _refused("the authorization server has no page to log in at")
        if "S256" not in (self.code_challenge_methods_supported or ()):
            raise _refused("the authorization server does not announce PKCE with S256")
        return self.authorization_endpoint


def resource_candidates(url: str, stated: str | None) -> tuple[str, ...]:
    """Where the metadata of the resource at `url` may lie, in order; `stated` is the challenge's `resource_metadata`."""
    parts = checked_url(url, "the plugin's address")
    known = "oauth-protected-resource"
    places = [inserted(parts, known, with_path=True), inserted(parts, known, with_path=False)]
    if stated is not None:
        checked_url(stated, "resource_metadata")
        places.insert(0, stated)
    return tuple(dict.fromkeys(places))


def issuer_candidates(issuer: str) -> tuple[str, ...]:
    """Where the metadata of an issuer may lie, in the order of the MCP specification."""
    parts = checked_url(issuer, "the issuer")
    if parts.query:
        raise _refused("the issuer has a query")
    path = parts.path.rstrip("/")
    oauth = inserted(parts, "oauth-authorization-server", with_path=True)
    openid = inserted(parts, "openid-configuration", with_path=True)
    if not path:
        return oauth, openid
    return oauth, openid, f"{parts.scheme}://{parts.netloc}{path}/.well-known/openid-configuration"


def legacy_server(url: str) -> str:
    """The issuer of a resource that publishes no metadata (2025-03-26): its own origin."""
    parts = checked_url(url, "the plugin's address")
    return f"{parts.scheme}://{parts.netloc}"


def read_resource(body: bytes, url: str) -> Resource:
    """The metadata of the resource at `url`; raises `Refused`."""
    resource = _read(body, Resource, "the resource's metadata")
    if not covers(resource.resource, url):
        raise _refused("the resource's metadata speaks of another resource")
    if len(resource.authorization_servers) > MAX_SERVERS:
        raise _refused("the resource names too many authorization servers")
    _check_lists(resource)
    return resource


def read_server(body: bytes, issuer: str) -> Server:
    """The metadata of `issuer`; raises `Refused`."""
    server = _read(body, Server, "the authorization server's metadata")
    if not is_same_issuer(server.issuer, issuer):
        raise _refused("the authorization server's metadata names another issuer")
    for endpoint in (server.token_endpoint, server.authorization_endpoint, server.registration_endpoint):
        if endpoint is not None:
            checked_url(endpoint, "an endpoint of the authorization server")
    _check_lists(server)
    return server


def is_same_issuer(said: str, known: str) -> bool:
    """True if what was said names the issuer we know, character for character.

    `https://host` and `https://host/` are one: both lead to the same document, and servers of Python write both.
    """
    return said == known or {said, known} == {legacy_server(known), legacy_server(known) + "/"}


M = TypeVar("M", Resource, Server)


def _read(body: bytes, kind: type[M], what: str) -> M:
    try:
        return read_answer(body, kind)
    except RemoteProtocolError as error:
        raise _refused(f"{what} cannot be read") from error


def _check_lists(metadata: Resource | Server) -> None:
    for name in metadata.__struct_fields__:
        value = getattr(metadata, name)
        if isinstance(value, list) and len(value) > MAX_WORDS:
            raise _refused(f"{name} is too long")


def _refused(what: str) -> Refused:
    return Refused("authorization_failed", what)

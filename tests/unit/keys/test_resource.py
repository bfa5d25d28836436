from __future__ import annotations

import json

import pytest
from mcp.shared.auth import ProtectedResourceMetadata
from tests.issuing import BASE, ISSUER

from sekisho.keys import (
    METADATA_HEADERS,
    PREFLIGHT_HEADERS,
    WELL_KNOWN,
    Resource,
    ResourceTraits,
    ScopePolicy,
)
from sekisho.keys.resource import plugin_of
from sekisho.protocol import response_bytes

SCOPES = ScopePolicy(("mcp",), {"web": ("web",)}, {("web", "write"): ("web:write",)})
RESOURCE = Resource(f"{BASE}/", ["web", "git"], SCOPES, ResourceTraits(issuers=(ISSUER,)))


@pytest.mark.parametrize(
    ("path", "resource", "scopes"),
    [
        ("", BASE, ["mcp", "web", "web:write"]),
        ("/mcp", f"{BASE}/mcp", ["mcp", "web", "web:write"]),
        ("/p/web/mcp", f"{BASE}/p/web/mcp", ["mcp", "web", "web:write"]),
        ("/p/git/mcp", f"{BASE}/p/git/mcp", ["mcp"]),
    ],
)
def test_each_endpoint_has_metadata_that_the_sdk_reads(path: str, resource: str, scopes: list[str]) -> None:
    document = RESOURCE.metadata(WELL_KNOWN + path)
    assert document is not None
    read = ProtectedResourceMetadata.model_validate_json(document)
    assert str(read.resource) == resource
    assert [str(one) for one in read.authorization_servers] == [ISSUER]
    assert read.scopes_supported == scopes
    assert read.bearer_methods_supported == ["header"]
    assert read.dpop_bound_access_tokens_required is False
    assert read.tls_client_certificate_bound_access_tokens is False
    assert "none" not in (read.dpop_signing_alg_values_supported or [])


def test_metadata_do_not_tell_which_plugins_there_are() -> None:
    there, not_there = (RESOURCE.metadata(f"{WELL_KNOWN}/p/{name}/mcp") for name in ("git", "secret"))
    assert there is not None
    assert not_there is not None
    assert not_there.replace(b"secret", b"git") == there


@pytest.mark.parametrize(
    "path",
    ["/", "/mcp", f"{WELL_KNOWN}/", f"{WELL_KNOWN}/x", f"{WELL_KNOWN}/p/We%20b/mcp", f"{WELL_KNOWN}/p//mcp"],
)
def test_nothing_else_is_served(path: str) -> None:
    assert RESOURCE.metadata(path) is None


def test_what_is_demanded_is_announced() -> None:
    traits = ResourceTraits(issuers=(ISSUER,), is_dpop_required=True, takes_certificates=True)
    document = json.loads(Resource(BASE, (), ScopePolicy(), traits).metadata(WELL_KNOWN) or b"")
    assert document["dpop_bound_access_tokens_required"] is True
    assert document["tls_client_certificate_bound_access_tokens"] is True
    assert "scopes_supported" not in document


def test_a_token_may_be_for_the_gateway_or_for_the_endpoint() -> None:
    assert RESOURCE.audiences("/mcp") == (BASE, f"{BASE}/", f"{BASE}/mcp")
    assert RESOURCE.url("/p/web/mcp") == f"{BASE}/p/web/mcp"
    assert RESOURCE.metadata_url("/mcp") == f"{BASE}{WELL_KNOWN}/mcp"


def test_a_path_names_its_plugin() -> None:
    assert plugin_of("/p/web-shop/mcp") == "web-shop"
    for path in ("/mcp", "/p/Web/mcp", "/p/web/mcp/", "/p/web/mcp?x", "/p/web--x/mcp", "/p/a/b/mcp"):
        assert plugin_of(path) is None


def test_any_page_may_read_it_without_cookies() -> None:
    for headers in (METADATA_HEADERS, PREFLIGHT_HEADERS):
        assert ("Access-Control-Allow-Origin", "*") in headers
        assert not any(name == "Access-Control-Allow-Credentials" for name, _ in headers)
        response_bytes(200, b"{}", headers=headers)

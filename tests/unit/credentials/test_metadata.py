from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credentials.metadata import (
    issuer_candidates,
    legacy_server,
    read_resource,
    read_server,
    resource_candidates,
)
from sekisho.errors import Refused

URL = "https://tools.example/mcp"
ISSUER = "https://auth.example/tenant"


def _server(**changes: Any) -> bytes:
    said = {
        "issuer": ISSUER,
        "token_endpoint": "https://token.example/t",
        "authorization_endpoint": "https://auth.example/page",
        "code_challenge_methods_supported": ["S256"],
    }
    return json.dumps(said | changes).encode()


def test_the_stated_place_is_asked_first_then_path_then_root() -> None:
    assert resource_candidates(URL, "https://x.example/m") == (
        "https://x.example/m",
        "https://tools.example/.well-known/oauth-protected-resource/mcp",
        "https://tools.example/.well-known/oauth-protected-resource",
    )
    with pytest.raises(Refused):
        resource_candidates(URL, "http://169.254.169.254/latest")


def test_an_issuer_with_a_path_has_three_places_and_one_without_has_two() -> None:
    assert issuer_candidates(ISSUER) == (
        "https://auth.example/.well-known/oauth-authorization-server/tenant",
        "https://auth.example/.well-known/openid-configuration/tenant",
        "https://auth.example/tenant/.well-known/openid-configuration",
    )
    assert issuer_candidates("https://auth.example") == (
        "https://auth.example/.well-known/oauth-authorization-server",
        "https://auth.example/.well-known/openid-configuration",
    )


@pytest.mark.parametrize("issuer", ["http://auth.example", "https://auth.example?x=1", "ftp://auth.example"])
def test_an_issuer_that_is_none_is_refused(issuer: str) -> None:
    with pytest.raises(Refused):
        issuer_candidates(issuer)


def test_metadata_of_another_resource_is_refused_and_of_the_same_taken() -> None:
    for other in (
        "https://evil.example/mcp",
        "https://tools.example/other",
        "https://tools.example.evil/mcp",
    ):
        with pytest.raises(Refused, match="another resource"):
            read_resource(json.dumps({"resource": other}).encode(), URL)
    assert read_resource(json.dumps({"resource": "https://tools.example"}).encode(), URL).resource
    assert read_resource(json.dumps({"resource": URL}).encode(), URL).resource == URL


@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", "https://AUTH.example/tenant"])
def test_metadata_of_another_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(Refused, match="another issuer"):
        read_server(_server(issuer=issuer), ISSUER)


def test_metadata_of_the_issuer_is_taken_and_a_bare_origin_may_end_in_a_slash() -> None:
    assert read_server(_server(), ISSUER).issuer == ISSUER
    assert read_server(_server(issuer="https://auth.example/"), "https://auth.example").issuer.endswith("/")


@pytest.mark.parametrize("name", ["token_endpoint", "authorization_endpoint", "registration_endpoint"])
def test_an_endpoint_that_must_not_be_asked_is_refused(name: str) -> None:
    for endpoint in ("http://auth.example/t", "javascript:alert(1)", "https://a:b@auth.example/"):
        with pytest.raises(Refused):
            read_server(_server(**{name: endpoint}), ISSUER)


@pytest.mark.parametrize("methods", [None, [], ["plain"]])
def test_a_server_without_s256_is_not_asked_for_a_code(methods: list[str] | None) -> None:
    server = read_server(_server(code_challenge_methods_supported=methods), ISSUER)
    with pytest.raises(Refused, match="PKCE"):
        server.authorization_page()


def test_a_server_with_s256_is_asked_for_a_code() -> None:
    server = read_server(_server(code_challenge_methods_supported=["plain", "S256"]), ISSUER)
    assert server.authorization_page() == "https://auth.example/page"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"issuer": 1}',
        b"\xff",
        _server(token_endpoint=None),
        _server(scopes_supported="all"),
        _server(scopes_supported=["x"] * 1000),
        b"[" * 100_000,
    ],
)
def test_metadata_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        read_server(body, ISSUER)


def test_a_resource_may_not_name_too_many_servers() -> None:
    body = json.dumps(
        {"resource": URL, "authorization_servers": [f"https://a{n}.example" for n in range(17)]}
    )
    with pytest.raises(Refused, match="too many"):
        read_resource(body.encode(), URL)


def test_the_older_way_leads_to_the_own_origin() -> None:
    assert legacy_server("https://tools.example:8443/a/b") == "https://tools.example:8443"


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_without_a_fault(body: bytes) -> None:
    with pytest.raises(Refused):
        read_server(body, ISSUER)

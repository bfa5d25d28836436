from __future__ import annotations

import httpx2
import pytest
from mcp.client.auth.utils import (
    build_protected_resource_metadata_discovery_urls,
    extract_field_from_www_auth,
    extract_resource_metadata_from_www_auth,
    extract_scope_from_www_auth,
)
from tests.issuing import BASE, ISSUER

from sekisho.errors import Refused, RemoteProtocolError, ScopeMissing, Unavailable
from sekisho.keys import Challenges, Nonces, Resource, ResourceTraits, ScopePolicy
from sekisho.protocol import response_bytes

NOW = 1_800_000_000.0
SCOPES = ScopePolicy(("mcp",), {"web": ("web",)})
RESOURCE = Resource(BASE, ["web"], SCOPES, ResourceTraits(issuers=(ISSUER,)))
CHALLENGES = Challenges(RESOURCE, SCOPES)
METADATA = f'resource_metadata="{BASE}/.well-known/oauth-protected-resource'


def said(error: Refused, target: str = "/mcp", challenges: Challenges = CHALLENGES) -> list[str]:
    headers = challenges.headers(error, target, NOW)
    response_bytes(401, b"{}", headers=headers)
    return [value for name, value in headers if name == "WWW-Authenticate"]


def test_who_sent_no_token_is_told_where_to_get_one_and_not_that_it_is_bad() -> None:
    bearer, dpop = said(Refused("token_missing", "no token"))
    assert bearer == f'Bearer realm="sekisho", scope="mcp", {METADATA}/mcp"'
    assert dpop.startswith("DPoP ")
    assert 'algs="ES256' not in bearer
    assert "ES256" in dpop


def test_an_endpoint_names_its_own_metadata_and_scopes() -> None:
    (bearer,) = said(Refused("token_invalid", "it has expired"), "/p/web/mcp")
    assert 'error="invalid_token"' in bearer
    assert 'error_description="it has expired"' in bearer
    assert 'scope="mcp web"' in bearer
    assert f'{METADATA}/p/web/mcp"' in bearer


def test_missing_scopes_are_all_named_in_one_challenge() -> None:
    (bearer,) = said(ScopeMissing(("mcp", "web", "web:write")), "/mcp")
    assert 'error="insufficient_scope"' in bearer
    assert 'scope="mcp web web:write"' in bearer
    assert METADATA in bearer


def test_a_bad_proof_is_answered_in_its_own_scheme() -> None:
    (dpop,) = said(Refused("dpop_invalid", "it was used before"))
    assert dpop.startswith("DPoP ")
    assert 'error="invalid_dpop_proof"' in dpop


def test_a_missing_nonce_is_given() -> None:
    nonces = Nonces(b"s" * 32)
    headers = dict(
        Challenges(RESOURCE, SCOPES, nonces=nonces).headers(Refused("dpop_nonce", "x"), "/mcp", NOW)
    )
    assert headers["DPoP-Nonce"] == nonces.current(NOW)
    assert 'error="use_dpop_nonce"' in headers["WWW-Authenticate"]


def test_where_keys_are_demanded_bearer_is_not_offered() -> None:
    strict = Challenges(RESOURCE, SCOPES, is_dpop_required=True)
    for code in ("token_missing", "token_invalid"):
        (only,) = said(Refused(code, "x"), challenges=strict)
        assert only.startswith("DPoP ")


def test_without_issuers_there_is_nothing_to_announce() -> None:
    alone = Challenges()
    assert said(Refused("token_missing", "x"), challenges=alone) == ['Bearer realm="sekisho"']
    assert said(ScopeMissing(("a",)), challenges=alone) == []


@pytest.mark.parametrize(
    "error",
    [
        Refused("origin_refused", "x"),
        Refused("operation_not_allowed", "x"),
        Unavailable("issuer_unavailable", "x"),
        RemoteProtocolError("json_malformed", "x"),
    ],
)
def test_other_refusals_are_no_challenge(error: Refused) -> None:
    assert CHALLENGES.headers(error, "/mcp", NOW) == []


def test_nothing_a_stranger_chose_can_end_a_header() -> None:
    (bearer,) = said(Refused("token_invalid", 'a"b\\c\r\nSet-Cookie: x=1 ü'), "/p/x\r\n/mcp")
    assert 'error_description="abcSet-Cookie: x=1 "' in bearer
    assert f'{METADATA}"' in bearer


def test_a_token_in_the_url_is_an_invalid_request() -> None:
    (bearer,) = said(Refused("token_in_query", "x"))
    assert 'error="invalid_request"' in bearer


@pytest.mark.parametrize(
    ("error", "status", "scope", "stated"),
    [
        (Refused("token_missing", "x"), 401, "mcp web", None),
        (Refused("token_invalid", 'it says error="none", scope="all"'), 401, "mcp web", "invalid_token"),
        (ScopeMissing(("mcp", "web", "more")), 403, "mcp web more", "insufficient_scope"),
    ],
)
def test_the_sdk_finds_in_a_challenge_what_it_needs(
    error: Refused, status: int, scope: str, stated: str | None
) -> None:
    headers = CHALLENGES.headers(error, "/p/web/mcp", NOW)
    response = httpx2.Response(status, headers=headers)
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")  # other clients look no further
    found = extract_resource_metadata_from_www_auth(response)
    assert found == RESOURCE.metadata_url("/p/web/mcp")
    assert extract_scope_from_www_auth(response) == scope
    assert extract_field_from_www_auth(response, "error") == stated


@pytest.mark.parametrize("target", ["/mcp", "/p/web/mcp"])
def test_a_client_that_reads_no_challenge_finds_the_metadata_too(target: str) -> None:
    for url in build_protected_resource_metadata_discovery_urls(None, BASE + target):
        assert RESOURCE.metadata(url.removeprefix(BASE)) is not None

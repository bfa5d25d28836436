from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.issuing import ISSUER, Issuer, Reach

from sekisho.assembly.authentication import Authentication, authentication
from sekisho.config import load_core
from sekisho.errors import Refused
from sekisho.keys import WELL_KNOWN, KeyFolder, Outcome, Pending, Principal, RequestFacts, TokenBook

NOW = 1_800_000_000.0
TABLE = f"""
[auth]
resource = "https://gate.example.com"
required_scopes = ["mcp"]
dpop_nonce = true
client_ca_path = "ca.pem"

[auth.plugin_scopes]
web = ["web"]

[auth.operation_scopes]
"web.posts.write" = ["web:write"]

[[auth.issuers]]
name = "corp"
issuer = "{ISSUER}"
client_claim = "client_id"

[[plugins.servers]]
name = "web"
url = "https://a:1"
allowed_operations = ["posts.write"]
"""


@pytest.fixture
def built(tmp_path: Path) -> Callable[[str], tuple[Authentication, Reach]]:
    """The parts that a file asks for, and the issuers they reach."""

    def build(text: str) -> tuple[Authentication, Reach]:
        path = tmp_path / "sekisho.toml"
        path.write_text(text, encoding="utf-8")
        keys, reach = KeyFolder(tmp_path / "keys", "example.org"), Reach()
        return authentication(load_core(path), keys, TokenBook({}), reach, lambda: NOW), reach

    return build


def test_the_table_is_carried_out(built: Callable[[str], tuple[Authentication, Reach]]) -> None:
    parts, reach = built(TABLE)
    issuer = Issuer()
    reach.documents["corp"] = issuer.jwks()
    heard: list[Outcome] = []
    pending = parts.credentials.identify(RequestFacts(f"Bearer {issuer.token(NOW)}", "POST", "/mcp"), NOW)
    assert isinstance(pending, Pending)
    pending.then(heard.append)
    reach.deliver()
    (principal,) = heard
    assert isinstance(principal, Principal)
    assert principal.client == "corp:app"
    assert parts.scopes.missing_scopes(principal, "web", "posts.write") == ("mcp", "web", "web:write")
    assert parts.resource is not None
    document = parts.resource.metadata(f"{WELL_KNOWN}/p/web/mcp") or b""
    assert b'"tls_client_certificate_bound_access_tokens":true' in document
    assert b'"web:write"' in document
    headers = dict(parts.challenges.headers(Refused("dpop_nonce", "x"), "/mcp", NOW))
    assert headers["DPoP-Nonce"]


def test_without_the_table_nothing_is_announced_and_nobody_is_asked(
    built: Callable[[str], tuple[Authentication, Reach]],
) -> None:
    parts, reach = built("")
    assert parts.resource is None
    with pytest.raises(Refused):
        parts.credentials.identify(RequestFacts(f"Bearer {Issuer().token(NOW)}", "POST", "/mcp"), NOW)
    assert not reach.asked
    assert parts.scopes.everything == ()

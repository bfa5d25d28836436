from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from sekisho.assembly.issuers import Issuers, metadata_urls
from sekisho.config import AuthIssuer
from sekisho.errors import LocalProtocolError, Misconfigured


@pytest.mark.parametrize(
    ("issuer", "urls"),
    [
        (
            "https://a.example",
            (
                "https://a.example/.well-known/oauth-authorization-server",
                "https://a.example/.well-known/openid-configuration",
            ),
        ),
        (
            "https://a.example:9/realms/x",
            (
                "https://a.example:9/.well-known/oauth-authorization-server/realms/x",
                "https://a.example:9/.well-known/openid-configuration/realms/x",
                "https://a.example:9/realms/x/.well-known/openid-configuration",
            ),
        ),
        (
            "https://a.example/x/",
            (
                "https://a.example/.well-known/oauth-authorization-server/x",
                "https://a.example/.well-known/openid-configuration/x",
                "https://a.example/x/.well-known/openid-configuration",
            ),
        ),
    ],
)
def test_metadata_are_looked_for_where_the_standards_put_them(issuer: str, urls: tuple[str, ...]) -> None:
    assert metadata_urls(issuer) == urls


def _issuers(path: Path, auth: Literal["basic", "private_key_jwt"]) -> Issuers:
    one = AuthIssuer(
        name="corp",
        issuer="https://a.example",
        introspection_url="https://a.example/ask",
        client_id="gate",
        client_auth=auth,
        client_secret_path=path,
    )
    return Issuers([one])


@pytest.mark.parametrize(
    ("auth", "content", "mode"),
    [
        ("basic", "", 0o600),
        ("basic", " \n", 0o600),
        ("basic", "secret", 0o644),
        ("private_key_jwt", "no key", 0o600),
    ],
)
def test_a_secret_that_cannot_be_used_is_found_at_the_start(
    tmp_path: Path, auth: Literal["basic", "private_key_jwt"], content: str, mode: int
) -> None:
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(Misconfigured) as caught:
        _issuers(path, auth)
    assert caught.value.code == "key_unavailable"


def test_a_secret_of_its_owner_alone_is_used_and_nobody_is_asked_too_early(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("secret\n")
    path.chmod(0o600)
    issuers = _issuers(path, "basic")
    with pytest.raises(LocalProtocolError):
        issuers.introspect("corp", "token", lambda outcome: None)

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sekisho.credentials.settings import IdpSettings, OAuthSettings
from sekisho.errors import Misconfigured

FILE = Path("/secret")
IDP = IdpSettings(issuer="https://idp.example", client_id="b", id_token_path=FILE)
WITH_IDP: dict[str, Any] = {
    "grant": "identity_assertion",
    "issuer": "https://a.example",
    "client_id": "a",
    "idp": IDP,
}


@pytest.mark.parametrize(
    "stated",
    [
        {"client_id": "a", "client_secret_path": FILE},
        {"client_secret_path": FILE, "issuer": "https://a.example"},
        {
            "client_id": "a",
            "client_secret_path": FILE,
            "private_key_path": FILE,
            "issuer": "https://a.example",
        },
        {"grant": "client_credentials"},
        {"grant": "client_credentials", "client_id": "a"},
        {"grant": "jwt_bearer"},
        {"grant": "jwt_bearer", "assertion_path": FILE},
        {"assertion_path": FILE, "issuer": "https://a.example"},
        {
            "grant": "client_credentials",
            "client_id": "a",
            "private_key_path": FILE,
            "dynamic_registration": True,
        },
        WITH_IDP | {"idp": None},
        WITH_IDP | {"grant": "authorization_code"},
        WITH_IDP | {"issuer": None},
        WITH_IDP | {"client_id": None},
        WITH_IDP | {"issuer": IDP.issuer + "/"},
        WITH_IDP | {"dynamic_registration": True},
    ],
)
def test_a_login_that_cannot_work_or_would_leak_is_refused(stated: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        OAuthSettings(**stated)


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"client_id": "a"},
        {"client_id": "a", "client_secret_path": FILE, "issuer": "https://a.example"},
        {"grant": "client_credentials", "client_id": "a", "private_key_path": FILE},
        {"grant": "jwt_bearer", "assertion_path": FILE, "issuer": "https://a.example"},
        {"dynamic_registration": True},
        WITH_IDP,
        WITH_IDP | {"client_secret_path": FILE},
    ],
)
def test_a_login_that_can_work_is_taken(stated: dict[str, Any]) -> None:
    assert OAuthSettings(**stated).grant


def test_a_client_has_one_way_to_prove_itself_to_the_provider() -> None:
    with pytest.raises(Misconfigured, match=r"idp\.private_key_path"):
        IdpSettings(
            issuer="https://idp.example",
            client_id="b",
            id_token_path=FILE,
            client_secret_path=FILE,
            private_key_path=FILE,
        )

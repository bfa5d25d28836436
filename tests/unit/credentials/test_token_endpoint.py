from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sekisho.credentials.challenge import Challenge
from sekisho.credentials.discovery import discover
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.token_endpoint import ask
from sekisho.credentials.vault import Client
from sekisho.errors import Misconfigured

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Town

NOW = 1_800_000_000.0
FORM = {"grant_type": "client_credentials"}


async def test_a_form_goes_to_the_token_endpoint_with_the_client_and_the_headers(town: Town) -> None:
    fetcher = Fetcher(town.url)
    site = await discover(town.url, Challenge(), None, fetcher)
    client = Client(client_id="me", secret="s p", method="client_secret_post")
    answer = await ask(fetcher, site.server, client, FORM, key_path=None, now=NOW, headers=[("DPoP", "p")])
    assert answer.status == 200
    assert town.forms == [FORM | {"client_id": "me", "client_secret": "s p"}]
    assert town.token_heads[0]["dpop"] == "p"
    assert "authorization" not in town.token_heads[0]


async def test_a_client_that_signs_needs_its_key(town: Town) -> None:
    fetcher = Fetcher(town.url)
    site = await discover(town.url, Challenge(), None, fetcher)
    client = Client(client_id="me", method="private_key_jwt")
    with pytest.raises(Misconfigured, match="private_key_path"):
        await ask(fetcher, site.server, client, FORM, key_path=None, now=NOW)
    assert town.forms == []

"""Which client asks: the stated one, the document's, or one that was registered at this very issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sekisho.credentials.challenge import Challenge
from sekisho.credentials.clients import Clients
from sekisho.credentials.discovery import Site, discover
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.settings import OAuthSettings
from sekisho.errors import Refused
from sekisho.keys.files import write_private

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Desk, Town

HOME = "http://127.0.0.1:1/callback"
DOCUMENT = "https://me.example/client.json"


async def found(town: Town) -> Site:
    return await discover(town.url, Challenge(), None, Fetcher(town.url))


def clients(town: Town, desk: Desk, **stated: Any) -> Clients:
    return Clients(OAuthSettings(**stated), desk.vault, Fetcher(town.url))


async def test_a_stated_client_is_used_everywhere_and_registers_nowhere(town: Town, desk: Desk) -> None:
    write_private(desk.folder / "secret", b"s\n")
    known = clients(town, desk, client_id="me", client_secret_path=desk.folder / "secret", issuer=town.issuer)
    site = await found(town)
    stated = known.stated(site)
    assert (stated.client_id, stated.secret) == ("me", "s")
    assert await known.for_login(site, HOME, ()) == known.for_refresh(site) == stated
    assert town.registrations == []


async def test_a_registration_is_kept_for_its_address_of_return(town: Town, desk: Desk) -> None:
    known, site = clients(town, desk, dynamic_registration=True), await found(town)
    assert known.for_refresh(site) is None
    first = await known.for_login(site, HOME, ("read",))
    assert await known.for_login(site, HOME, ()) == known.for_refresh(site) == first
    again = await known.for_login(site, HOME.replace(":1/", ":2/"), ())
    assert (first.client_id, again.client_id) == ("client-1", "client-2")


async def test_a_document_stands_for_the_client_only_where_it_is_read(town: Town, desk: Desk) -> None:
    known, site = clients(town, desk, client_metadata_url=DOCUMENT), await found(town)
    with pytest.raises(Refused, match="does not know this client"):
        await known.for_login(site, HOME, ())
    assert known.for_refresh(site) is None
    town.server_metadata["client_id_metadata_document_supported"] = True
    site = await found(town)
    assert (await known.for_login(site, HOME, ())).client_id == DOCUMENT
    assert known.for_refresh(site) == await known.for_login(site, HOME, ())

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from sekisho.credentials.opening import log_in, open_credentials, open_with
from sekisho.credentials.settings import OAuthSettings
from sekisho.errors import Misconfigured

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Desk, Town

FOLLOW = """
import sys, urllib.request
urllib.request.urlopen(sys.argv[1]).read()
"""


async def test_a_person_logs_in_and_the_plugin_server_finds_it(town: Town, desk: Desk) -> None:
    settings = OAuthSettings(dynamic_registration=True)
    issuer, tokens = await log_in(
        plugin="notes",
        url=town.url,
        settings=settings,
        home=desk.folder,
        keys=desk.keys,
        clock=lambda: desk.now,
        open_page=town.browse,
    )
    assert (issuer, tokens.access) == (town.issuer, "access-1")
    authoriser = open_credentials(
        plugin="notes",
        url=town.url,
        settings=settings,
        home=desk.folder,
        keys=desk.keys,
        clock=lambda: desk.now,
        log=lambda event, **fields: None,
    )
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)
    other = open_credentials(
        plugin="other",
        url=town.url,
        settings=settings,
        home=desk.folder,
        keys=desk.keys,
        clock=lambda: desk.now,
        log=lambda event, **fields: None,
    )
    assert other.headers("POST", town.url) == ()


async def test_a_configured_browser_is_started_with_the_page(town: Town, desk: Desk) -> None:
    authoriser = open_credentials(
        plugin="notes",
        url=town.url,
        settings=OAuthSettings(dynamic_registration=True, browser=(sys.executable, "-c", FOLLOW)),
        home=desk.folder,
        keys=desk.keys,
        clock=lambda: desk.now,
        log=lambda event, **fields: None,
    )
    assert await authoriser.refused(401, "Bearer")
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)


async def test_a_browser_that_is_not_there_is_said_to_be() -> None:
    with pytest.raises(Misconfigured, match="cannot be started"):
        await open_with(("/nowhere/browser",), "https://a.example")

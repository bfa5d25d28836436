from __future__ import annotations

import ssl
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sekisho.credentials.authoriser import OAuthAuthoriser
from sekisho.credentials.opening import log_in, open_credentials, open_with
from sekisho.credentials.settings import OAuthSettings
from sekisho.errors import Misconfigured
from sekisho.keys import Authority, Role, SpiffeId

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Company, Desk, Town

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


async def test_a_person_logs_in_at_the_identity_provider_and_the_plugin_server_finds_it(
    town: Town, company: Company, desk: Desk
) -> None:
    given: dict[str, Any] = {"idp": {"id_token_path": None}}
    assert not await opened(town, company, desk, **given).refused(401, "Bearer")
    issuer, tokens = await log_in(
        plugin="notes",
        url=town.url,
        settings=OAuthSettings(**company.settings(town, **given)),
        home=desk.folder,
        keys=desk.keys,
        clock=lambda: desk.now,
        open_page=town.browse,
    )
    assert (issuer, tokens.access, len(company.pages)) == (town.issuer, "access-1", 1)
    authoriser = opened(town, company, desk, **given)
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)
    assert await authoriser.refused(401, "Bearer")
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-2"),)


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


def opened(town: Town, company: Company, desk: Desk, **given: Any) -> OAuthAuthoriser:
    context = given.pop("context", None)
    return open_credentials(
        plugin="notes",
        url=town.url,
        settings=OAuthSettings(**company.settings(town, **given)),
        home=desk.folder,
        keys=desk.keys,
        clock=lambda: desk.now,
        log=lambda event, **fields: None,
        context=context,
    )


async def test_a_plugin_server_is_let_in_by_the_identity_provider(
    town: Town, company: Company, desk: Desk
) -> None:
    authoriser = opened(town, company, desk)
    assert await authoriser.refused(401, "Bearer")
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)


@pytest.mark.threat("T-MIXUP")
async def test_the_authority_of_the_plugins_server_does_not_vouch_for_the_provider(
    town: Town, company: Company, desk: Desk, serving: Any
) -> None:
    authority = Authority.create("example.org", time.time())
    ca = desk.folder / "ca.pem"
    ca.write_bytes(authority.certificate_pem)
    key = ec.generate_private_key(ec.SECP256R1())
    name = SpiffeId(trust_domain="example.org", role=Role.CORE, name="idp")
    leaf = authority.issue(name, key.public_key(), time.time(), ips=("127.0.0.1",))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (desk.folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM) + pem)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(desk.folder / "leaf.pem")
    async with serving(company.answer, tls) as issuer:
        company.open_at(issuer)
        plugins = ssl.create_default_context(cafile=ca)
        assert not await opened(town, company, desk, context=plugins).refused(401, "Bearer")
        assert company.forms == []
        assert await opened(town, company, desk, idp={"ca_cert_path": ca}).refused(401, "Bearer")
        assert len(company.forms) == 1


async def test_a_providers_authority_that_cannot_be_read_is_said_to_be(
    town: Town, company: Company, desk: Desk
) -> None:
    with pytest.raises(Misconfigured, match="identity provider"):
        opened(town, company, desk, idp={"ca_cert_path": desk.folder / "nowhere.pem"})


async def test_a_browser_that_is_not_there_is_said_to_be() -> None:
    with pytest.raises(Misconfigured, match="cannot be started"):
        await open_with(("/nowhere/browser",), "https://a.example")

"""The credentials of one plugin, put together from its settings and the home folder."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from sekisho.credentials.authoriser import OAuthAuthoriser
from sekisho.credentials.challenge import Challenge, parse_challenge
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.identity_login import IdentityLogin
from sekisho.credentials.identity_provider import IdentityProvider
from sekisho.credentials.oauth import OAuthClient, OpenPage
from sekisho.credentials.settings import IdpSettings, OAuthSettings
from sekisho.credentials.vault import Tokens, Vault
from sekisho.errors import Misconfigured, Unavailable
from sekisho.keys import KeyFolder

__all__ = ["log_in", "open_credentials", "open_with"]

BROWSER_TIMEOUT_S: Final = 60.0  # starting it; it may stay open for as long as it likes
_KNOCK: Final = b'{"jsonrpc":"2.0","id":0,"method":"ping"}'


def open_credentials(
    *,
    plugin: str,
    url: str,
    settings: OAuthSettings,
    home: Path,
    keys: KeyFolder,
    clock: Callable[[], float],
    log: Callable[..., None],
    context: ssl.SSLContext | None = None,
) -> OAuthAuthoriser:
    """What a plugin server needs to be let in at `url`; `context` is how TLS is checked, else the system's way."""
    open_page = partial(open_with, settings.browser) if settings.browser else None
    vault, _, client = _parts(
        plugin=plugin,
        url=url,
        settings=settings,
        home=home,
        keys=keys,
        clock=clock,
        open_page=open_page,
        context=context,
    )
    return OAuthAuthoriser(vault=vault, client=client, clock=clock, log=log)


async def log_in(
    *,
    plugin: str,
    url: str,
    settings: OAuthSettings,
    home: Path,
    keys: KeyFolder,
    clock: Callable[[], float],
    open_page: OpenPage,
    context: ssl.SSLContext | None = None,
) -> tuple[str, Tokens]:
    """Log in anew and keep what comes of it: the issuer, and its tokens; raises `SekishoError`."""
    vault, fetcher, client = _parts(
        plugin=plugin,
        url=url,
        settings=settings,
        home=home,
        keys=keys,
        clock=clock,
        open_page=open_page,
        context=context,
    )
    await client.obtain(await _challenge(url, fetcher), anew=True)
    held = vault.read()
    if held.current is None:
        raise Unavailable("login_needed", "the login gave nothing")
    return held.issuer, held.current


async def open_with(command: Sequence[str], url: str) -> None:
    """Start a person's browser; what it prints is nobody's business."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, url, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    except OSError as error:
        raise Misconfigured(
            "config_invalid",
            f"{command[0]} cannot be started: {error.strerror}",
            remedy="correct oauth.browser",
        ) from error
    try:
        async with asyncio.timeout(BROWSER_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        pass  # it stays open, as browsers do


def _parts(
    *,
    plugin: str,
    url: str,
    settings: OAuthSettings,
    home: Path,
    keys: KeyFolder,
    clock: Callable[[], float],
    open_page: OpenPage | None,
    context: ssl.SSLContext | None,
) -> tuple[Vault, Fetcher, OAuthClient]:
    vault = Vault(home / "credentials", plugin, keys)
    fetcher = Fetcher(url, named=() if settings.issuer is None else (settings.issuer,), context=context)
    idp = None
    if settings.idp is not None:
        own = _fetcher_of(settings.idp)
        login = IdentityLogin(
            plugin=plugin,
            settings=settings.idp,
            vault=vault,
            fetcher=own,
            clock=clock,
            open_page=open_page,
            redirect_port=settings.redirect_port,
        )
        idp = IdentityProvider(settings.idp, own, clock, login)
    client = OAuthClient(
        url=url,
        plugin=plugin,
        settings=settings,
        vault=vault,
        fetcher=fetcher,
        clock=clock,
        open_page=open_page,
        idp=idp,
    )
    return vault, fetcher, client


def _fetcher_of(idp: IdpSettings) -> Fetcher:
    """With its own trust: the authority of a plugin's server could else stand in for the provider."""
    path = idp.ca_cert_path
    if path is None:
        return Fetcher(idp.issuer)
    try:
        context = ssl.create_default_context(cafile=path)
    except OSError as error:  # an SSLError is one too
        raise Misconfigured(
            "key_unavailable",
            f"the authority of the identity provider cannot be read: {path}",
            remedy="let oauth.idp.ca_cert_path name a PEM file",
        ) from error
    return Fetcher(idp.issuer, context=context)


async def _challenge(url: str, fetcher: Fetcher) -> Challenge:
    """What the plugin's server says to a stranger: where its metadata is, and which scopes it wants."""
    answer = await fetcher.post(url, _KNOCK, "application/json")
    return parse_challenge(answer.headers.get("www-authenticate", ""))

"""A person's login at the company's identity provider, for an identity token that this plugin may exchange.

Guarantees
- the login is that of OpenID Connect by code and PKCE, at the provider alone; what comes of it is kept in the vault of
  this plugin, under that provider's issuer, and used for no other;
- an identity token is taken only if it was made by that provider for this client, and has not ended;
- a refresh token is used once: what comes back replaces it before anything else happens;
- a person is asked only where `open_page` was given.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from sekisho.credentials.callback import open_callback
from sekisho.credentials.code_login import code_form
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.grants import Form, failed
from sekisho.credentials.identity_assertion import check_id_token, read_identity
from sekisho.credentials.metadata import Server
from sekisho.credentials.settings import IdpSettings
from sekisho.credentials.token_endpoint import ask
from sekisho.credentials.vault import Client, Identity, Vault
from sekisho.errors import Refused, Unavailable

__all__ = ["IdentityLogin"]

EARLY_S: Final = 30.0  # how long before its end an identity token is renewed


class IdentityLogin:
    """Logs in for one plugin; `redirect_port` of 0 comes back to a free one."""

    def __init__(
        self,
        *,
        plugin: str,
        settings: IdpSettings,
        vault: Vault,
        fetcher: Fetcher,
        clock: Callable[[], float],
        open_page: Callable[[str], Awaitable[None]] | None,
        redirect_port: int = 0,
    ) -> None:
        self._plugin = plugin
        self._settings = settings
        self._vault = vault
        self._fetcher = fetcher
        self._clock = clock
        self._open_page = open_page
        self._redirect_port = redirect_port

    async def id_token(self, server: Server, client: Client, *, anew: bool, alone: bool) -> str:
        """One that is valid, by asking a person if nothing else helps, and at once if `anew`; raises `SekishoError`.

        With `alone` nobody is asked.
        """
        held = self._vault.read().identity
        if held is not None and held.issuer == self._settings.issuer and not anew:
            if self._is_valid(held.id_token):
                return held.id_token
            if held.refresh:
                form = {"grant_type": "refresh_token", "refresh_token": held.refresh}
                try:
                    return await self._ask(server, client, form, held)
                except Refused:
                    pass  # used up or withdrawn: the way begins anew
        if alone or self._open_page is None:
            raise Unavailable(
                "login_needed",
                f"{self._plugin} needs a login at the identity provider",
                remedy=f"the operator types: sekisho login {self._plugin}",
            )
        return await self._log_in(server, client, self._open_page)

    def _is_valid(self, id_token: str) -> bool:
        try:
            self._check(id_token, early=EARLY_S)
        except Refused:
            return False
        return True

    def _check(self, id_token: str, early: float = 0.0) -> None:
        own = self._settings
        check_id_token(id_token, issuer=own.issuer, client_id=own.client_id, now=self._clock() + early)

    async def _log_in(
        self, server: Server, client: Client, open_page: Callable[[str], Awaitable[None]]
    ) -> str:
        server.authorization_page()  # refused before anybody is troubled
        knows_offline = "offline_access" in (server.scopes_supported or ())
        async with open_callback(self._redirect_port) as callback:
            form = await code_form(
                callback,
                open_page,
                server=server,
                client_id=client.client_id,
                scopes=("openid", "offline_access") if knows_offline else ("openid",),
                resource="",
            )
        return await self._ask(server, client, form, None)

    async def _ask(self, server: Server, client: Client, form: Form, before: Identity | None) -> str:
        answer = await ask(
            self._fetcher,
            server,
            client,
            form,
            key_path=self._settings.private_key_path,
            now=self._clock(),
        )
        if answer.status != 200:
            raise failed("the identity provider refused the login", answer)
        identity = read_identity(answer.body, self._settings.issuer, before)
        if before is None:
            self._check(identity.id_token)
        with self._vault.turn():
            self._vault.write(replace(self._vault.read(), identity=identity))
        self._check(identity.id_token)  # after a refresh: what it replaced is used up, whatever came back
        return identity.id_token

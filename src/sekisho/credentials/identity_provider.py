"""The company's identity provider, asked for an ID-JAG: an assertion that one plugin's authorization server takes.

Guarantees
- the identity token goes to the token endpoint that the provider's own metadata names, and nowhere else;
- it comes from the operator's file, read anew each time, or from a login at the provider, never from a client of ours;
- no ID-JAG is kept: the next access token begins with the identity token again, so the provider may say no.

Decides nothing itself: `identity_assertion` judges.
"""

from __future__ import annotations

from collections.abc import Callable

from sekisho.credentials.clients import read_text
from sekisho.credentials.discovery import Site, discover_server
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.grants import method_for, refusal_of
from sekisho.credentials.identity_assertion import (
    Grant,
    Purpose,
    check_id_token,
    exchange_form,
    read_exchange,
)
from sekisho.credentials.identity_login import IdentityLogin
from sekisho.credentials.metadata import Server
from sekisho.credentials.settings import IdpSettings
from sekisho.credentials.token_endpoint import ask
from sekisho.credentials.vault import Client
from sekisho.errors import Misconfigured, Refused

__all__ = ["IdentityProvider"]


class IdentityProvider:
    """Asks with a fetcher of its own: what a plugin's server names is not judged by where the provider is."""

    def __init__(
        self,
        settings: IdpSettings,
        fetcher: Fetcher,
        clock: Callable[[], float],
        login: IdentityLogin | None = None,
    ) -> None:
        self._settings = settings
        self._fetcher = fetcher
        self._clock = clock
        self._login = login

    async def grant(
        self,
        site: Site,
        client_id: str,
        scopes: tuple[str, ...],
        *,
        anew: bool = False,
        alone: bool = False,
    ) -> Grant:
        """An ID-JAG for this client at the authorization server of `site`; raises `SekishoError`.

        `anew` and `alone` are about the login that it may need.
        """
        settings = self._settings
        server = await discover_server(settings.issuer, self._fetcher)
        client = self._client(server)
        id_token = await self._id_token(server, client, anew=anew, alone=alone)
        now = self._clock()
        check_id_token(id_token, issuer=settings.issuer, client_id=settings.client_id, now=now)
        purpose = Purpose(
            idp=settings.issuer,
            audience=site.server.issuer,
            client_id=client_id,
            resource=site.resource,
            scopes=scopes,
        )
        answer = await ask(
            self._fetcher,
            server,
            client,
            exchange_form(id_token, purpose),
            key_path=settings.private_key_path,
            now=now,
        )
        if answer.status != 200:
            word = refusal_of(answer.body) or f"HTTP {answer.status}"
            raise Refused(
                "authorization_failed",
                f"the identity provider refused the exchange: {word}",
                remedy="allow it there for this user, client and authorization server, or renew the identity token",
            )
        return read_exchange(answer.body, purpose, now)

    async def _id_token(self, server: Server, client: Client, *, anew: bool, alone: bool) -> str:
        path = self._settings.id_token_path
        if path is not None:
            return read_text(path)
        if self._login is None:
            raise Misconfigured("config_invalid", "oauth: idp stands without id_token_path or a login")
        return await self._login.id_token(server, client, anew=anew, alone=alone)

    def _client(self, server: Server) -> Client:
        settings = self._settings
        path = settings.client_secret_path
        method = method_for(
            server, has_secret=path is not None, has_key=settings.private_key_path is not None
        )
        secret = read_text(path) if path is not None else ""
        return Client(client_id=settings.client_id, secret=secret, method=method)

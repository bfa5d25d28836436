"""As which client this plugin asks an authorization server: a stated one, a document's, or one registered there.

Guarantees that a secret is read only for the issuer it was stated for, and that a registration is kept under the issuer
that made it and used for the same address of return only.
"""

from __future__ import annotations

from pathlib import Path

from sekisho.credentials.discovery import Site
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.grants import failed, method_for, read_client, registration
from sekisho.credentials.settings import OAuthSettings
from sekisho.credentials.vault import Client, Vault
from sekisho.errors import Refused
from sekisho.keys.files import read_private

__all__ = ["Clients", "read_text"]


class Clients:
    """What this plugin may call itself, issuer by issuer."""

    def __init__(self, settings: OAuthSettings, vault: Vault, fetcher: Fetcher) -> None:
        self._settings = settings
        self._vault = vault
        self._fetcher = fetcher

    def stated(self, site: Site) -> Client:
        """The one that the configuration names."""
        settings = self._settings
        secret = settings.client_secret_path
        if settings.client_id is None:
            return Client(client_id="")
        text = read_text(secret) if secret is not None else ""
        method = method_for(
            site.server, has_secret=secret is not None, has_key=settings.private_key_path is not None
        )
        return Client(client_id=settings.client_id, secret=text, method=method)

    async def for_login(self, site: Site, redirect_uri: str, scopes: tuple[str, ...]) -> Client:
        """The one that asks a person; registered now where nothing else works and that is allowed.

        Raises:
            Refused: the issuer knows none of them.
        """
        settings, server = self._settings, site.server
        if settings.client_id is not None:
            return self.stated(site)
        if settings.client_metadata_url is not None and server.client_id_metadata_document_supported:
            return Client(client_id=settings.client_metadata_url)
        if not settings.dynamic_registration or server.registration_endpoint is None:
            raise Refused(
                "authorization_failed",
                f"{server.issuer} does not know this client",
                remedy="register one there and set oauth.client_id, or allow oauth.dynamic_registration",
            )
        known = self._vault.read().clients.get(server.issuer)
        if known is not None and known.redirect_uri == redirect_uri:
            return known
        return await self._register(site, server.registration_endpoint, redirect_uri, scopes)

    async def _register(
        self, site: Site, endpoint: str, redirect_uri: str, scopes: tuple[str, ...]
    ) -> Client:
        known = site.server.token_endpoint_auth_methods_supported or ["none"]
        choices = ("none", "client_secret_basic", "client_secret_post")
        method = next((one for one in choices if one in known), "none")
        body = registration(redirect_uri, method, scopes)
        answer = await self._fetcher.post(endpoint, body, "application/json")
        if answer.status not in (200, 201):
            raise failed("the registration was refused", answer)
        client = read_client(answer.body, asked_method=method, redirect_uri=redirect_uri)
        with self._vault.turn():
            self._vault.write(self._vault.read().with_client(site.server.issuer, client))
        return client

    def for_refresh(self, site: Site) -> Client | None:
        """The one that tokens were given to; None when nobody knows it any more."""
        settings = self._settings
        if settings.client_id is not None:
            return self.stated(site)
        if settings.client_metadata_url is not None and site.server.client_id_metadata_document_supported:
            return Client(client_id=settings.client_metadata_url)
        return self._vault.read().clients.get(site.server.issuer)


def read_text(path: Path) -> str:
    """What a private file holds."""
    return read_private(path).decode("utf-8", "replace").strip()

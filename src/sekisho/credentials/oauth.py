"""An OAuth 2.1 client for one plugin's server: from a challenge to tokens, by the grant the operator chose.

Guarantees
- every token is asked for one `resource` (RFC 8707) and kept under the issuer that gave it; a client's identifier and
  secret go to that issuer's endpoints only;
- a refresh token is used once: what comes back replaces it before anything else happens;
- a person is asked only where `open_page` was given; else the missing login is written down for `sekisho login`.

Decides nothing itself: `discovery`, `metadata`, `authorization` and `grants` judge, this puts their steps in order.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from msgspec.structs import replace

from sekisho.credentials.callback import open_callback
from sekisho.credentials.challenge import Challenge, union
from sekisho.credentials.clients import Clients, read_text
from sekisho.credentials.code_login import code_form
from sekisho.credentials.discovery import Site, discover
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.grants import JWT_BEARER, Form, failed, read_tokens, refusal_of
from sekisho.credentials.identity_provider import IdentityProvider
from sekisho.credentials.proofs import SigningKey, possession_proof
from sekisho.credentials.settings import OAuthSettings
from sekisho.credentials.token_endpoint import ask
from sekisho.credentials.vault import Client, Tokens, Vault
from sekisho.errors import Misconfigured, Refused, Unavailable
from sekisho.protocol import HttpResponse

__all__ = ["OAuthClient", "OpenPage"]

OpenPage = Callable[[str], Awaitable[None]]


class OAuthClient:
    """Obtains tokens for the MCP server at `url`."""

    def __init__(
        self,
        *,
        url: str,
        plugin: str,
        settings: OAuthSettings,
        vault: Vault,
        fetcher: Fetcher,
        clock: Callable[[], float],
        open_page: OpenPage | None = None,
        idp: IdentityProvider | None = None,
    ) -> None:
        self._url = url
        self._plugin = plugin
        self._settings = settings
        self._vault = vault
        self._fetcher = fetcher
        self._clients = Clients(settings, vault, fetcher)
        self._clock = clock
        self._open_page = open_page
        self._idp = idp
        self._nonces: dict[str, str] = {}  # of token endpoints (RFC 9449 section 8)

    async def obtain(self, challenge: Challenge, *, anew: bool = False, alone: bool = False) -> Tokens:
        """New tokens, by refreshing where that is possible unless `anew`; raises `SekishoError`.

        With `alone` nobody is troubled and nothing written down: the token of this moment may still be good.
        """
        site = await discover(self._url, challenge, self._settings.issuer, self._fetcher)
        held = self._vault.read()
        before = held.tokens.get(site.server.issuer)
        if before is not None and before.resource != site.resource:
            before = None
        # with identity_assertion the provider is asked each time: a refresh token would outlive its consent
        never = self._settings.grant == "identity_assertion"
        if before is not None and before.refresh and not (anew or never or challenge.wants_more_scopes):
            tokens = await self._refresh(site, before)
            if tokens is not None:
                return tokens
        granted = before.scopes if before is not None else ()
        scopes = self._scopes(
            site, challenge, union(granted, held.wanted) if challenge.wants_more_scopes else ()
        )
        match self._settings.grant:
            case "authorization_code":
                if alone:
                    raise Unavailable("login_needed", f"{self._plugin} will need a login")
                return await self._log_in(
                    site, union(scopes, held.wanted) if not self._settings.scopes else scopes
                )
            case "client_credentials":
                client = self._clients.stated(site)
                return await self._ask(site, client, {"grant_type": "client_credentials"}, scopes)
            case "jwt_bearer":
                return await self._ask(site, self._clients.stated(site), self._assertion_form(), scopes)
            case "identity_assertion":
                return await self._ask_with_identity(site, scopes, anew=anew, alone=alone)

    def possession_key(self) -> SigningKey | None:
        """The key our tokens are bound to, made on first use; None unless `dpop` is set."""
        if not self._settings.dpop:
            return None
        with self._vault.turn():
            held = self._vault.read()
            if not held.dpop_key:
                key = ec.generate_private_key(ec.SECP256R1())
                pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                held = replace(held, dpop_key=pem.decode("ascii"))
                self._vault.write(held)
        return SigningKey(held.dpop_key.encode("ascii"))

    # scopes

    def _scopes(self, site: Site, challenge: Challenge, kept: tuple[str, ...]) -> tuple[str, ...]:
        stated = self._settings.scopes
        if stated:
            missing = [scope for scope in challenge.scopes if scope not in stated]
            if challenge.wants_more_scopes and missing:
                raise Refused(
                    "authorization_failed",
                    f"the plugin's server wants scopes that oauth.scopes does not list: {' '.join(missing)}",
                    remedy="add them to oauth.scopes, if this plugin may have them",
                )
            return stated
        scopes = union(kept, challenge.scopes or site.scopes)
        can_refresh = self._settings.grant == "authorization_code"
        if scopes and can_refresh and "offline_access" in (site.server.scopes_supported or ()):
            scopes = union(scopes, ("offline_access",))
        return scopes

    # grants

    async def _refresh(self, site: Site, before: Tokens) -> Tokens | None:
        client = self._clients.for_refresh(site)
        if client is None:
            return None
        form = {"grant_type": "refresh_token", "refresh_token": before.refresh}
        try:
            return await self._ask(site, client, form, (), before)
        except Refused:
            return None  # used up or withdrawn: the way begins anew

    async def _log_in(self, site: Site, scopes: tuple[str, ...]) -> Tokens:
        site.server.authorization_page()  # refused before anybody is troubled
        if self._open_page is None:
            with self._vault.turn():
                held = self._vault.read()
                self._vault.write(replace(held, wanted=scopes))
            raise Unavailable(
                "login_needed",
                f"{self._plugin} needs a login",
                remedy=f"the operator types: sekisho login {self._plugin}",
            )
        async with open_callback(self._port(site)) as callback:
            client = await self._clients.for_login(site, callback.redirect_uri, scopes)
            form = await code_form(
                callback,
                self._open_page,
                server=site.server,
                client_id=client.client_id,
                scopes=scopes,
                resource=site.resource,
            )
        return await self._ask(site, client, form, scopes, states_scope=False)

    def _port(self, site: Site) -> int:
        known = self._vault.read().clients.get(site.server.issuer)
        if known is None or self._settings.redirect_port:
            return self._settings.redirect_port
        return int(known.redirect_uri.rpartition(":")[2].partition("/")[0])

    def _assertion_form(self) -> Form:
        path = self._settings.assertion_path
        if path is None:
            raise Misconfigured("config_invalid", "oauth: jwt_bearer stands without assertion_path")
        # read anew each time: a workload's token is replaced in place while it is young
        return {"grant_type": JWT_BEARER, "assertion": read_text(path)}

    async def _ask_with_identity(
        self, site: Site, scopes: tuple[str, ...], *, anew: bool, alone: bool
    ) -> Tokens:
        if self._idp is None:
            raise Misconfigured("config_invalid", "oauth: identity_assertion stands without idp")
        client = self._clients.stated(site)
        grant = await self._idp.grant(site, client.client_id, scopes, anew=anew, alone=alone)
        form = {"grant_type": JWT_BEARER, "assertion": grant.assertion}
        return await self._ask(site, client, form, grant.scopes)

    async def _ask(
        self,
        site: Site,
        client: Client,
        form: Form,
        scopes: tuple[str, ...],
        before: Tokens | None = None,
        *,
        states_scope: bool = True,
    ) -> Tokens:
        form = {**form, "resource": site.resource}
        if scopes and states_scope:
            form["scope"] = " ".join(scopes)
        answer = await self._post(site, client, form)
        if answer.status == 400 and refusal_of(answer.body) == "use_dpop_nonce" and self._settings.dpop:
            answer = await self._post(site, client, form)  # `_post` has kept the nonce
        if answer.status != 200:
            raise failed("the authorization server refused the token", answer)
        tokens = read_tokens(
            answer.body,
            wants_dpop=self._settings.dpop,
            now=self._clock(),
            asked=scopes,
            resource=site.resource,
            before=before,
        )
        if self._settings.grant == "identity_assertion":
            tokens = replace(tokens, refresh="")  # the draft wants none: the provider is asked each time
        with self._vault.turn():
            self._vault.write(self._vault.read().with_tokens(site.server.issuer, tokens))
        return tokens

    async def _post(self, site: Site, client: Client, form: Form) -> HttpResponse:
        endpoint = site.server.token_endpoint
        now = self._clock()
        headers: list[tuple[str, str]] = []
        key = self.possession_key()
        if key is not None:
            proof = possession_proof(
                key,
                method="POST",
                url=endpoint,
                now=now,
                jti=secrets.token_urlsafe(16),
                nonce=self._nonces.get(endpoint, ""),
            )
            headers.append(("DPoP", proof))
        answer = await ask(
            self._fetcher,
            site.server,
            client,
            form,
            key_path=self._settings.private_key_path,
            now=now,
            headers=headers,
        )
        if "dpop-nonce" in answer.headers:
            self._nonces = {endpoint: answer.headers["dpop-nonce"]}
        return answer

"""An MCP server that wants a token, and the authorization server it names: fakes on real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from tests.issuing import Issuer, forged

from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.identity_login import IdentityLogin
from sekisho.credentials.identity_provider import IdentityProvider
from sekisho.credentials.oauth import OAuthClient
from sekisho.credentials.settings import IdpSettings, OAuthSettings
from sekisho.credentials.vault import Vault
from sekisho.keys import KeyFolder
from sekisho.keys.files import write_private
from sekisho.protocol import HttpRequest, RequestReader, response_bytes

NOW = 1_800_000_000.0
Reply = Callable[[HttpRequest], bytes]


@asynccontextmanager
async def serving(reply: Reply, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An HTTP server on a free port of loopback; gives its origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = RequestReader()
        try:
            while data := await reader.read(1 << 16):
                for request in requests.feed(data):
                    writer.write(reply(request))
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"{'http' if tls is None else 'https'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def as_json(value: object, status: int = 200, **headers: str) -> bytes:
    """A JSON answer."""
    return response_bytes(
        status,
        json.dumps(value).encode(),
        headers=tuple((k.replace("_", "-"), v) for k, v in headers.items()),
    )


class Town:
    """The resource at `url` and the server at `issuer`; what they say can be changed, what they heard is kept."""

    def __init__(self) -> None:
        self.url = ""
        self.issuer = ""
        self.resource_metadata: dict[str, Any] = {}
        self.server_metadata: dict[str, Any] = {}
        self.asked: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.token_heads: list[dict[str, str]] = []
        self.registrations: list[dict[str, Any]] = []
        self.pages: list[dict[str, str]] = []
        self.in_redirect: dict[str, str | None] = {}
        self.token_answer: Callable[[dict[str, str]], bytes] = self.give_token
        self.given = 0
        self._challenges: dict[str, str] = {}

    def give_token(self, form: dict[str, str]) -> bytes:
        """A token for whoever does it rightly."""
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
            if self._challenges.pop(form["code"], None) != challenge:
                return as_json({"error": "invalid_grant"}, 400)
        self.given += 1
        return as_json(
            {
                "access_token": f"access-{self.given}",
                "token_type": "Bearer",
                "expires_in": 3600,
                "refresh_token": f"refresh-{self.given}",
            }
        )

    def at_resource(self, request: HttpRequest) -> bytes:
        """The resource's own server."""
        path = request.target.partition("?")[0]
        self.asked.append(path)
        if path == "/.well-known/oauth-protected-resource/mcp":
            return as_json(self.resource_metadata)
        if path == "/mcp":
            return as_json({}, 401, WWW_Authenticate="Bearer")
        return as_json({}, 404)

    def at_issuer(self, request: HttpRequest) -> bytes:
        """The authorization server."""
        path, _, query = request.target.partition("?")
        self.asked.append(path)
        match path:
            case "/.well-known/oauth-authorization-server":
                return as_json(self.server_metadata)
            case "/authorize":
                return self._page(dict(parse_qsl(query)))
            case "/token":
                form = dict(parse_qsl(request.body.decode()))
                self.forms.append(form)
                self.token_heads.append(dict(request.headers))
                return self.token_answer(form)
            case "/register":
                self.registrations.append(json.loads(request.body))
                return as_json({"client_id": f"client-{len(self.registrations)}"}, 201)
        return as_json({}, 404)

    def _page(self, query: dict[str, str]) -> bytes:
        self.pages.append(query)
        code = f"code-{len(self.pages)}"
        self._challenges[code] = query["code_challenge"]
        said = {"code": code, "state": query["state"], "iss": self.issuer} | self.in_redirect
        answer = urlencode({key: value for key, value in said.items() if value is not None})
        return response_bytes(302, b"", headers=(("Location", f"{query['redirect_uri']}?{answer}"),))

    async def browse(self, page: str) -> None:
        """A person who agrees to everything."""
        browser = Fetcher(self.url)
        answer = await browser.get(page)
        parts = urlsplit(answer.headers["location"])
        assert "state" in parse_qs(parts.query) or self.in_redirect
        await browser.get(answer.headers["location"])


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    """A resource and an authorization server."""
    one = Town()
    async with serving(one.at_resource) as resource, serving(one.at_issuer) as issuer:
        one.url, one.issuer = f"{resource}/mcp", issuer
        one.resource_metadata = {"resource": one.url, "authorization_servers": [issuer]}
        one.server_metadata = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "registration_endpoint": f"{issuer}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [
                "none",
                "client_secret_basic",
                "client_secret_post",
                "private_key_jwt",
            ],
            "authorization_response_iss_parameter_supported": True,
        }
        yield one


class Desk:
    """Our side: a vault, and clients made for the town."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = KeyFolder(folder / "keys")
        self.vault = Vault(folder / "credentials", "notes", self.keys)
        self.now = NOW

    def client(self, town: Town, *, with_person: bool = True, **stated: Any) -> OAuthClient:
        """A client with these settings."""
        settings = OAuthSettings(**(stated or {"dynamic_registration": True}))
        idp = None
        if settings.idp is not None:
            own = Fetcher(settings.idp.issuer)
            login = IdentityLogin(
                plugin="notes",
                settings=settings.idp,
                vault=self.vault,
                fetcher=own,
                clock=lambda: self.now,
                open_page=town.browse if with_person else None,
            )
            idp = IdentityProvider(settings.idp, own, lambda: self.now, login)
        return OAuthClient(
            url=town.url,
            plugin="notes",
            settings=settings,
            vault=self.vault,
            fetcher=Fetcher(town.url),
            clock=lambda: self.now,
            open_page=town.browse if with_person else None,
            idp=idp,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Our side."""
    return Desk(tmp_path)


class Company:
    """An identity provider that signs for real; what its tokens and answers say can be changed."""

    def __init__(self, folder: Path) -> None:
        self.issuer = ""
        self.folder = folder
        self.server_metadata: dict[str, Any] = {}
        self.forms: list[dict[str, str]] = []
        self.heads: list[dict[str, str]] = []
        self.in_head: dict[str, Any] = {}
        self.in_claims: dict[str, Any] = {}
        self.in_answer: dict[str, Any] = {}
        self.refusal: bytes | None = None
        self.pages: list[dict[str, str]] = []
        self.logins: list[dict[str, str]] = []
        self.in_redirect: dict[str, str] = {}
        self.in_id_token: dict[str, Any] = {}
        self.used_up: set[str] = set()
        self._signer = Issuer()

    def open_at(self, issuer: str) -> None:
        """It is here from now on, and we hold an identity token of it."""
        self.issuer = issuer
        self.server_metadata = {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "offline_access"],
        }
        self.say_who()

    def sign(self, claims: dict[str, Any], **head: Any) -> str:
        """A JWT of this provider."""
        return forged({"alg": "ES256", **head}, claims, self._signer.key, "ES256")

    def say_who(self, **changes: Any) -> str:
        """Put an identity token where the plugin server reads it."""
        token = self.id_token(**changes)
        write_private(self.folder / "id-token", token.encode() + b"\n")
        return token

    def id_token(self, **changes: Any) -> str:
        """Who is logged in."""
        claims = {"iss": self.issuer, "aud": "sekisho", "sub": "alice", "exp": NOW + 3600}
        return self.sign(claims | changes)

    def _page(self, query: dict[str, str]) -> bytes:
        self.pages.append(query)
        back = {"code": f"code-{len(self.pages)}", "state": query["state"]} | self.in_redirect
        where = f"{query['redirect_uri']}?{urlencode(back)}"
        return response_bytes(302, b"", headers=(("Location", where),))

    def _log_in(self, form: dict[str, str]) -> bytes:
        if form["grant_type"] == "authorization_code":
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.pages[-1]["code_challenge"]
        self.logins.append(form)
        if form.get("refresh_token") in self.used_up:
            return as_json({"error": "invalid_grant"}, 400)
        told = {
            "access_token": "of the provider",
            "token_type": "Bearer",
            "id_token": self.id_token(**self.in_id_token),
            "refresh_token": f"idp-refresh-{len(self.logins)}",
        }
        return as_json(told)

    def id_jag(self, form: dict[str, str], client_id: str = "me") -> str:
        """What it asserts to the authorization server that was named."""
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": "alice",
            "aud": form["audience"],
            "client_id": client_id,
            "resource": form["resource"],
            "jti": f"jag-{len(self.forms)}",
            "iat": NOW,
            "exp": NOW + 300,
        }
        changed = {name: value for name, value in (claims | self.in_claims).items() if value is not None}
        return self.sign(changed, **({"typ": "oauth-id-jag+jwt"} | self.in_head))

    def answer(self, request: HttpRequest) -> bytes:
        """One request."""
        if request.target == "/.well-known/openid-configuration":
            return as_json(self.server_metadata)
        path, _, query = request.target.partition("?")
        if path == "/authorize":
            return self._page(dict(parse_qsl(query)))
        if path != "/token":
            return as_json({}, 404)
        form = dict(parse_qsl(request.body.decode()))
        if "code" in form or "refresh_token" in form:
            return self._log_in(form)
        self.forms.append(form)
        self.heads.append(dict(request.headers))
        if self.refusal is not None:
            return self.refusal
        told = {
            "issued_token_type": "urn:ietf:params:oauth:token-type:id-jag",
            "access_token": self.id_jag(form),
            "token_type": "N_A",
            "expires_in": 300,
        }
        return as_json(told | self.in_answer)

    def settings(self, town: Town, **stated: Any) -> dict[str, Any]:
        """How a plugin in town is logged in to with it."""
        own = stated.pop("idp", {})
        idp = {"issuer": self.issuer, "client_id": "sekisho", "id_token_path": self.folder / "id-token"}
        usual = {"grant": "identity_assertion", "issuer": town.issuer, "client_id": "me"}
        return usual | stated | {"idp": IdpSettings(**idp | own)}


@pytest.fixture
async def company(tmp_path: Path) -> AsyncIterator[Company]:
    """An identity provider, and an identity token of it in our hands."""
    one = Company(tmp_path)
    async with serving(one.answer) as issuer:
        one.open_at(issuer)
        yield one


@pytest.fixture(name="serving")
def serving_fixture() -> object:
    """Opens servers."""
    return serving

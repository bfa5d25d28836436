"""An MCP server that wants a token, and the authorization server it names: fakes on real sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest

from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.oauth import OAuthClient
from sekisho.credentials.settings import OAuthSettings
from sekisho.credentials.vault import Vault
from sekisho.keys import KeyFolder
from sekisho.protocol import HttpRequest, RequestReader, response_bytes

NOW = 1_800_000_000.0
Reply = Callable[[HttpRequest], bytes]


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[str]:
    """An HTTP server on a free port of loopback; gives its origin."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests = RequestReader()
        try:
            while data := await reader.read(1 << 16):
                for request in requests.feed(data):
                    writer.write(reply(request))
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
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
        return OAuthClient(
            url=town.url,
            plugin="notes",
            settings=settings,
            vault=self.vault,
            fetcher=Fetcher(town.url),
            clock=lambda: self.now,
            open_page=town.browse if with_person else None,
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Our side."""
    return Desk(tmp_path)


@pytest.fixture(name="serving")
def serving_fixture() -> object:
    """Opens servers."""
    return serving

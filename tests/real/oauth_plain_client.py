"""A command for the client half of the conformance suite: plain HTTP and our credentials, no gateway in between.

The suite starts it once for each scenario, with the server's URL as last argument; what the scenario gives a client
(identifiers, secrets, keys) comes in MCP_CONFORMANCE_CONTEXT. It lists the tools and calls one, sending a refused request
again as often as the authoriser says so. The person at the login page is played by following one redirect.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sekisho.credentials import IdpSettings, OAuthSettings
from sekisho.credentials.authoriser import OAuthAuthoriser
from sekisho.credentials.challenge import Challenge
from sekisho.credentials.discovery import discover
from sekisho.credentials.fetch import Fetcher
from sekisho.credentials.identity_provider import IdentityProvider
from sekisho.credentials.oauth import OAuthClient
from sekisho.credentials.vault import Vault
from sekisho.keys import KeyFolder
from sekisho.keys.files import write_private
from sekisho.protocol import HttpResponse

METADATA_URL = "https://conformance-test.local/client-metadata.json"
MODERN = "2026-07-28"
MAX_TRIES = 4


class Session:
    """One client of the scenario's server."""

    def __init__(self, url: str, version: str, authoriser: OAuthAuthoriser) -> None:
        self._url = url
        self._version = version
        self._authoriser = authoriser
        self._fetcher = Fetcher(url)
        self._ids = itertools.count(1)

    async def run(self) -> bool:
        """List, then call; True if both were answered."""
        await self._authoriser.prepare()
        if self._version != MODERN:
            about = {
                "protocolVersion": self._version,
                "capabilities": {},
                "clientInfo": {"name": "plain", "version": "1"},
            }
            if not await self._ask("initialize", about):
                return False
            await self._send({"method": "notifications/initialized"}, "notifications/initialized", "")
        return await self._ask("tools/list", {}) and await self._ask("tools/call", {"name": "test-tool"})

    async def _ask(self, method: str, params: dict[str, Any]) -> bool:
        if self._version == MODERN:
            params["_meta"] = {
                "io.modelcontextprotocol/protocolVersion": self._version,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "plain", "version": "1"},
            }
        message = {"id": next(self._ids), "method": method, "params": params}
        for _ in range(MAX_TRIES):
            answer = await self._send(message, method, params.get("name", ""))
            if answer.status < 400:
                return True
            challenge = answer.headers.get("www-authenticate", "")
            nonce = answer.headers.get("dpop-nonce", "")
            if not await self._authoriser.refused(answer.status, challenge, nonce):
                return False
        return False

    async def _send(self, message: dict[str, Any], method: str, name: str) -> HttpResponse:
        headers = [
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", self._version),
            *self._authoriser.headers("POST", self._url),
        ]
        if self._version == MODERN:
            headers += [("Mcp-Method", method), *([("Mcp-Name", name)] if name else [])]
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        return await self._fetcher.post(self._url, body, "application/json", headers)


async def settings_for(url: str, scenario: str, given: Mapping[str, Any], folder: Path) -> OAuthSettings:
    """What an operator would write down for this scenario."""
    stated: dict[str, Any] = {
        "client_metadata_url": METADATA_URL,
        "dynamic_registration": True,
        "dpop": "dpop" in scenario,
    }
    if "client_id" in given:
        site = await discover(url, Challenge(), given.get("issuer"), Fetcher(url))
        stated = {"client_id": given["client_id"], "issuer": site.server.issuer}
    for key, name in (
        ("client_secret", "client_secret_path"),
        ("private_key_pem", "private_key_path"),
        ("valid_jwt", "assertion_path"),
    ):
        if key in given:
            write_private(folder / name, given[key].encode())
            stated[name] = folder / name
    if "idp_issuer" in given:
        write_private(folder / "id_token", given["idp_id_token"].encode())
        stated["grant"] = "identity_assertion"
        stated["idp"] = IdpSettings(
            issuer=given["idp_issuer"],
            client_id=given["idp_client_id"],
            id_token_path=folder / "id_token",
        )
    if "client-credentials" in scenario:
        stated["grant"] = "client_credentials"
    if "valid_jwt" in given:
        stated["grant"] = "jwt_bearer"
    return OAuthSettings(**stated)


async def main(url: str) -> int:
    """Run one scenario."""
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    given = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    browser = Fetcher(url)

    async def open_page(page: str) -> None:
        answer = await browser.get(page)
        await browser.get(answer.headers["location"])

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vault = Vault(folder / "credentials", "scenario", KeyFolder(folder / "keys"))
        settings = await settings_for(url, scenario, given, folder)
        idp = None
        if settings.idp is not None:
            idp = IdentityProvider(settings.idp, Fetcher(settings.idp.issuer), time.time)
        client = OAuthClient(
            url=url,
            plugin="scenario",
            settings=settings,
            vault=vault,
            fetcher=Fetcher(url),
            clock=time.time,
            open_page=open_page,
            idp=idp,
        )
        authoriser = OAuthAuthoriser(vault=vault, client=client, clock=time.time, log=_log)
        session = Session(url, os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"], authoriser)
        return 0 if await session.run() else 1


def _log(event: str, **fields: object) -> None:
    sys.stderr.write(f"{event} {fields}\n")


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[-1])))

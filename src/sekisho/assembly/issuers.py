"""The authorization servers, as the core reaches them: metadata, key sets, questions about tokens.

Guarantees that metadata count only for the issuer they name (RFC 8414 section 3.3), that an address found there is held
to the same rules as one from the configuration, and that no answer but a 200 is believed. Runs beside the calls: who
waits is called back. `Credentials` judges what comes.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from sekisho.assembly.fetching import Endpoint, exchange, trust_of
from sekisho.config import AuthIssuer
from sekisho.errors import LocalProtocolError, Misconfigured, RemoteProtocolError, SekishoError, Unavailable
from sekisho.keys import (
    assertion,
    basic_credentials,
    question,
    read_private,
)
from sekisho.protocol import JsonLimits, parse_strict

__all__ = ["Issuers", "metadata_urls"]

_LIMITS: Final = JsonLimits(max_bytes=256 << 10, max_depth=16, max_members=8192)
MAX_SHOWN_CHARS: Final = 200

Then = Callable[[bytes | SekishoError], None]
Tell = Callable[[str, SekishoError], None]
"""Hears which issuer failed, and how; for the running log."""


def _tell_nobody(issuer: str, error: SekishoError) -> None:
    del issuer, error


class Issuers:
    """Asks issuers; every question is a task of the group it was given. How many there are, `Credentials` bounds."""

    def __init__(self, issuers: Iterable[AuthIssuer], tell: Tell = _tell_nobody) -> None:
        self._lines = {one.name: _Line(one) for one in issuers}
        self._tell = tell
        self._group: asyncio.TaskGroup | None = None

    def open(self, group: asyncio.TaskGroup) -> None:
        """Ask from now on, in tasks of this group."""
        self._group = group

    def replace(self, issuers: Iterable[AuthIssuer]) -> None:
        """Take over other issuers; questions that are under way are answered to whoever asked them."""
        self._lines = {one.name: _Line(one) for one in issuers}

    def fetch_keys(self, issuer: str, then: Then, /) -> None:
        """Get the key set document of an issuer."""
        self._start(issuer, self._lines[issuer].fetch_keys(), then)

    def introspect(self, issuer: str, token: str, then: Then, /) -> None:
        """Ask an issuer about a token."""
        self._start(issuer, self._lines[issuer].introspect(token), then)

    def _start(self, issuer: str, work: Coroutine[Any, Any, bytes], then: Then) -> None:
        if self._group is None:
            work.close()
            raise LocalProtocolError("internal", "issuers are asked before anybody can wait for them")
        self._group.create_task(self._finish(issuer, work, then))

    async def _finish(self, issuer: str, work: Coroutine[Any, Any, bytes], then: Then) -> None:
        outcome: bytes | SekishoError
        try:
            outcome = await work
        except SekishoError as error:
            self._tell(issuer, error)
            outcome = error
        then(outcome)


class _Line:
    """One issuer: where it is asked, and how we prove ourselves there."""

    def __init__(self, issuer: AuthIssuer) -> None:
        self._issuer = issuer
        self._trust = trust_of(issuer.ca_cert_path)
        self._is_loopback = issuer.issuer.startswith("http://")
        self._secret = b""
        if issuer.client_secret_path is not None:
            self._secret = read_private(issuer.client_secret_path)
            if issuer.client_auth == "private_key_jwt":
                self._assertion()  # a key that cannot sign is an error now, not at the first call
            elif not self._secret_text():
                raise Misconfigured("key_unavailable", f"{issuer.client_secret_path} is empty")

    async def fetch_keys(self) -> bytes:
        """The key set, by way of the metadata unless its address is configured."""
        return await self._get(self._issuer.jwks_url or await self._discover())

    async def introspect(self, token: str) -> bytes:
        """What the issuer says about a token."""
        if self._issuer.introspection_url is None:
            raise Misconfigured("config_invalid", "this issuer is not asked about tokens")
        headers: list[tuple[str, str]] = []
        form = question(token)
        client_id = self._issuer.client_id or ""
        match self._issuer.client_auth:
            case "basic":
                pair = basic_credentials(client_id, self._secret_text()).encode()
                headers.append(("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}"))
            case "bearer":
                headers.append(("Authorization", f"Bearer {self._secret_text()}"))
            case "private_key_jwt":
                form = question(token, client_id, self._assertion())
        endpoint = Endpoint(self._issuer.introspection_url, may_be_plain=True)
        answer = await exchange(endpoint, self._trust, headers=headers, form=form)
        if answer.status != 200:
            raise RemoteProtocolError(
                "issuer_unavailable", f"the issuer answers introspection with {answer.status}"
            )
        return answer.body

    async def _discover(self) -> str:
        """Where the issuer keeps its keys, by the first of its well-known addresses that says so."""
        problem: SekishoError = Unavailable("issuer_unavailable", "the issuer publishes no metadata")
        wrong: SekishoError | None = None
        for url in metadata_urls(self._issuer.issuer):
            try:
                document = await self._get(url)
            except SekishoError as error:
                problem = error
                continue
            try:
                return _jwks_url(document, self._issuer.issuer)
            except SekishoError as error:
                wrong = wrong or error
        raise wrong or problem  # a wrong document tells more than that another is not there

    async def _get(self, url: str) -> bytes:
        # an issuer on the network must not send us to a service of this machine
        endpoint = Endpoint(url, may_be_plain=self._is_loopback or url == self._issuer.jwks_url)
        answer = await exchange(endpoint, self._trust)
        if answer.status != 200:
            raise Unavailable("issuer_unavailable", f"the issuer answers with {answer.status}")
        return answer.body

    def _secret_text(self) -> str:
        return self._secret.decode("ascii", "replace").strip()

    def _assertion(self) -> str:
        client_id = self._issuer.client_id or ""
        jti = secrets.token_urlsafe(16)
        return assertion(self._secret, client_id, self._issuer.issuer, time.time(), jti)


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Where an issuer may publish its metadata: RFC 8414 section 3.1, then OpenID discovery in both its spellings."""
    scheme, _, rest = issuer.partition("://")
    host, slash, path = rest.partition("/")
    path = (slash + path).rstrip("/")
    root = f"{scheme}://{host}/.well-known/"
    urls = (
        f"{root}oauth-authorization-server{path}",
        f"{root}openid-configuration{path}",
        f"{scheme}://{host}{path}/.well-known/openid-configuration",
    )
    return tuple(dict.fromkeys(urls))


def _jwks_url(document: bytes, issuer: str) -> str:
    metadata = parse_strict(document, _LIMITS)
    if not isinstance(metadata, dict):
        raise Unavailable("issuer_unavailable", "the issuer's metadata are no object")
    stated = metadata.get("issuer")
    if stated != issuer:
        other = ascii(stated)[:MAX_SHOWN_CHARS]  # into our log and the operator's terminal
        raise Unavailable("issuer_unavailable", f"the metadata are those of another issuer, {other}")
    found = metadata.get("jwks_uri")
    if not isinstance(found, str):
        raise Unavailable("issuer_unavailable", "the issuer's metadata name no keys")
    return found

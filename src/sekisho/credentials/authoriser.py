"""What a plugin server sends to its plugin's URL to be let in, and what it does when it is not.

Guarantees
- the only credentials sent are those this plugin was given, and only to URLs of the resource they were given for;
- a refusal leads to at most `MAX_RENEWALS` ways to the authorization server in a minute, however many requests are
  refused and whatever they are refused with; requests refused at once share one way;
- a login made elsewhere (`sekisho login`) is seen at the next refusal, or at the next request while there is none.

Its methods are what `plugin_server.authoriser` asks for. A client of ours has no part in this: nothing of its request is
ever an argument here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from sekisho.credentials.addresses import covers
from sekisho.credentials.challenge import Challenge, parse_challenge
from sekisho.credentials.oauth import OAuthClient
from sekisho.credentials.proofs import SigningKey, possession_proof
from sekisho.credentials.vault import Tokens, Vault
from sekisho.errors import SekishoError

__all__ = ["OAuthAuthoriser"]

MAX_RENEWALS: Final = 3  # a server that refuses every token must not make us ask for ever new ones
WINDOW_S: Final = 60.0
EARLY_S: Final = 30.0  # a token that ends this soon is renewed before a session is opened with it


class OAuthAuthoriser:
    """Bearer or DPoP tokens for one plugin."""

    def __init__(
        self,
        *,
        vault: Vault,
        client: OAuthClient,
        clock: Callable[[], float],
        log: Callable[..., None],
    ) -> None:
        self._vault = vault
        self._client = client
        self._clock = clock
        self._log = log
        self._turn = asyncio.Lock()
        self._renewals: deque[float] = deque(maxlen=MAX_RENEWALS)
        self._generation = 0
        self._tokens: Tokens | None = None
        self._key: SigningKey | None = None
        self._nonce = ""
        self._stamp = -1
        self._lines: tuple[tuple[str, str], ...] = ()
        self._url = ""  # the last one that was found to lie in the resource
        self.problem: SekishoError | None = None
        """Why the last refusal could not be mended."""

    def headers(self, method: str, url: str) -> Sequence[tuple[str, str]]:
        """What to send with one request."""
        tokens = self._tokens
        if tokens is None:
            self._look()
            tokens = self._tokens
            if tokens is None:
                return ()
        if url != self._url:
            if not covers(tokens.resource, url):
                return ()
            self._url = url
        if tokens.kind == "Bearer" or self._key is None:
            return self._lines
        proof = possession_proof(
            self._key,
            method=method,
            url=url,
            now=self._clock(),
            jti=secrets.token_urlsafe(16),
            token=tokens.access,
            nonce=self._nonce,
        )
        return (*self._lines, ("DPoP", proof))

    async def prepare(self) -> None:
        """Before a session is opened: renew a token that is about to end, if that needs nobody."""
        self._look()
        tokens = self._tokens
        if tokens is None or tokens.expires_at is None or tokens.expires_at - EARLY_S > self._clock():
            return
        await self.refused(401, "")

    async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
        """A request came back with 401 or 403; True if it is worth sending again.

        Args:
            status: of the answer.
            challenge: its `WWW-Authenticate`, empty if it had none.
            nonce: its `DPoP-Nonce`, empty if it had none.
        """
        read = parse_challenge(challenge)
        generation = self._generation
        if nonce and self._key is not None:
            is_new, self._nonce = nonce != self._nonce, nonce
            if read.wants_nonce:
                return is_new
        if status not in (401, 403) or (status == 403 and not read.wants_more_scopes):
            return False
        async with self._turn:
            if self._generation != generation:
                return True  # somebody else has just renewed it
            before = self._tokens
            if self._look() and self._tokens != before:
                return True
            return await self._renew(read)

    async def _renew(self, challenge: Challenge) -> bool:
        now = self._clock()
        if len(self._renewals) == MAX_RENEWALS and now - self._renewals[0] < WINDOW_S:
            self._log("credentials_refused_again")
            return False
        self._renewals.append(now)
        try:
            await self._client.obtain(challenge)
        except SekishoError as error:
            self.problem = error
            self._log("credentials_not_renewed", code=error.code, reason=error.message)
            return False
        self.problem = None
        self._look()
        self._log("credentials_renewed")
        return True

    def _look(self) -> bool:
        """Read the vault again if it changed."""
        stamp = self._vault.stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        tokens = self._vault.read().current
        if tokens == self._tokens:
            return False
        self._generation += 1
        self._tokens = tokens
        self._url = ""
        self._key = self._client.possession_key()
        self._lines = () if tokens is None else (("Authorization", f"{tokens.kind} {tokens.access}"),)
        return True

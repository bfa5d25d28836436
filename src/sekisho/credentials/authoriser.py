"""What a plugin server sends to its plugin's URL to be let in, and what it does when it is not.

Guarantees
- the only credentials sent are those this plugin was given, and only to URLs of the resource they were given for;
- refusals lead to at most `MAX_WAYS` ways to the authorization server in a minute, however many requests are refused and
  whatever they are refused with; requests refused at once share one way, and those that were under way with the token
  before cost none;
- a way that was begun is walked to its end, even if the request that began it is gone: a person may be at the login page;
- a token is renewed a little before it ends, if that needs nobody;
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

MAX_WAYS: Final = 3  # a server that refuses every token must not make us ask for ever new ones
WINDOW_S: Final = 60.0
EARLY_S: Final = 30.0  # how long before its end a token is renewed
STRAGGLE_S: Final = 2.0  # refusals of requests that carried the token before this one arrive this long


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
        self._way: asyncio.Task[bool] | None = None
        self._ways: deque[float] = deque(maxlen=MAX_WAYS)
        self._has_said = False  # that there were too many ways
        self._has_begun_early = False  # with this token
        self._metadata: str | None = None  # where the plugin's server said its metadata is
        self._tokens: Tokens | None = None
        self._since = 0.0
        self._has_replaced = False
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
        if self._ends_soon(tokens):
            self._begin_early()
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
        if self._tokens is not None and self._ends_soon(self._tokens):
            way = self._begin_early()
            if way is not None:
                await asyncio.shield(way)

    async def refused(self, status: int, challenge: str, nonce: str = "") -> bool:
        """A request came back with 401 or 403; True if it is worth sending again.

        Args:
            status: of the answer.
            challenge: its `WWW-Authenticate`, empty if it had none.
            nonce: its `DPoP-Nonce`, empty if it had none.
        """
        read = parse_challenge(challenge)
        self._metadata = read.resource_metadata or self._metadata
        if nonce and self._key is not None:
            is_new, self._nonce = nonce != self._nonce, nonce
            if read.wants_nonce:
                return is_new
        if status not in (401, 403) or (status == 403 and not read.wants_more_scopes):
            return False
        if self._way is None and (self._look() or self._is_straggler(read)):
            return self._tokens is not None
        way = self._set_out(read)
        return way is not None and await asyncio.shield(way)

    def _is_straggler(self, challenge: Challenge) -> bool:
        """True if the refused request may have carried the token before, and this one holds what was missing.

        The first token has none before it: what is refused then was refused with this one, and a server that has moved to
        another authorization server does that.
        """
        if self._tokens is None or not self._has_replaced or self._clock() - self._since >= STRAGGLE_S:
            return False
        return set(challenge.scopes) <= set(self._tokens.scopes) if challenge.wants_more_scopes else True

    def _ends_soon(self, tokens: Tokens) -> bool:
        return tokens.expires_at is not None and tokens.expires_at - EARLY_S <= self._clock()

    def _begin_early(self) -> asyncio.Task[bool] | None:
        if self._has_begun_early:
            return self._way
        self._has_begun_early = True
        return self._set_out(Challenge(resource_metadata=self._metadata), alone=True)

    def _set_out(self, challenge: Challenge, *, alone: bool = False) -> asyncio.Task[bool] | None:
        """The way under way, or a new one; None if there were too many."""
        if self._way is None:
            now = self._clock()
            if len(self._ways) == MAX_WAYS and now - self._ways[0] < WINDOW_S:
                if not self._has_said:
                    self._log("credentials_refused_again")
                self._has_said = True
                return None
            self._has_said = False
            self._ways.append(now)
            self._way = asyncio.get_running_loop().create_task(self._walk(challenge, alone=alone))
        return self._way

    async def _walk(self, challenge: Challenge, *, alone: bool) -> bool:
        try:
            await self._client.obtain(challenge, alone=alone)
        except SekishoError as error:
            self.problem = error
            self._log("credentials_not_renewed", code=error.code, reason=error.message)
            return False
        else:
            self.problem = None
            self._look()
            self._log("credentials_renewed")
            return True
        finally:
            self._way = None

    def _look(self) -> bool:
        """Read the vault again if it changed; True if the tokens are others now."""
        stamp = self._vault.stamp()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        tokens = self._vault.read().current
        if tokens == self._tokens:
            return False
        self._has_replaced = self._tokens is not None
        self._tokens = tokens
        self._since = self._clock()
        self._has_begun_early = False
        self._url = ""
        self._key = self._client.possession_key()
        self._lines = () if tokens is None else (("Authorization", f"{tokens.kind} {tokens.access}"),)
        return True

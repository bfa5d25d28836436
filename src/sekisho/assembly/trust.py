"""Whose tokens the core believes, from one configuration file to the next.

Guarantees that a configuration which cannot be honoured changes nothing, that issuers' keys survive a reload which does
not concern them (they may not be reached just now), and that no reload and no restart forgets a proof that was shown.
"""

from __future__ import annotations

import time
from asyncio import TaskGroup
from collections.abc import Callable
from pathlib import Path

from sekisho.assembly.authentication import Authentication, authentication
from sekisho.assembly.issuers import Issuers
from sekisho.config import CoreConfig
from sekisho.errors import SekishoError
from sekisho.gateway import SharedMemory, SharedReplay
from sekisho.keys import KeyFolder, TokenBook, load_token_book

__all__ = ["Trust"]


class Trust:
    """Holds the current `Authentication`."""

    def __init__(
        self,
        config: CoreConfig,
        keys: KeyFolder,
        memory: SharedMemory | None,
        *,
        run: Path,
        issuer_failed: Callable[[str, SekishoError], None],
    ) -> None:
        """`memory` is what several workers share; one alone keeps the proofs it saw in the folder `run` all the same."""
        self._auth = config.auth
        self._keys = keys
        self._memory = memory
        self._run = run
        self._own: SharedMemory | None = None
        self._issuers = Issuers(config.auth.issuers, tell=issuer_failed)
        self.replay: SharedReplay | None = None
        """Remembers proofs from when the first issuer is configured."""
        self._tokens = load_token_book(keys)
        self.authentication = self._built(config, self._tokens)

    def open(self, group: TaskGroup) -> None:
        """Begin to ask the issuers for their keys; that ends with the group."""
        self._issuers.open(group)
        self.look(time.time())

    def close(self) -> None:
        """Let go of what was opened here."""
        if self.replay is not None:
            self.replay.close()
        if self._own is not None:
            self._own.close()

    def look(self, now: float) -> None:
        """Take up what changed: keys of issuers, tokens that were taken back."""
        self.authentication.credentials.look(now)

    def problems(self, now: float) -> dict[str, str]:
        """Issuers nobody's token can be judged for."""
        issuers = self.authentication.credentials.problems(now)
        return {f"issuer {name}": problem for name, problem in issuers.items()}

    def reconfigure(self, config: CoreConfig) -> bool:
        """Take over a new configuration; raises SekishoError.

        Returns:
            True when exactly those are believed who were believed before.
        """
        tokens = load_token_book(self._keys)
        is_same = config.auth == self._auth
        shown = self.authentication if is_same else self._built(config, tokens)
        self._issuers.replace(config.auth.issuers)  # the last that can fail: it reads their secrets
        is_same = is_same and tokens.knows_same(self._tokens)
        self._auth, self._tokens, self.authentication = config.auth, tokens, shown
        shown.credentials.replace_tokens(tokens)
        self.look(time.time())
        return is_same

    def _built(self, config: CoreConfig, tokens: TokenBook) -> Authentication:
        if config.auth.issuers and self.replay is None:  # one for good
            memory = self._memory
            if memory is None:
                memory = self._own = SharedMemory(self._run, 0, 1)
            self.replay = SharedReplay(memory)
        return authentication(config, self._keys, tokens, self._issuers, time.time, replay=self.replay)

"""The keys of one issuer over time: fetched, kept, renewed, and given up when they are too old.

- A token is only ever verified with keys that were fetched no longer than `max_age_s` ago: an issuer that is down costs
  nothing until then, and afterwards nothing of it is believed.
- A key that is not there may be new, so the set is fetched again for it, but at most once in `MIN_PAUSE_S`, whoever
  asks: invented key ids must not turn the gateway against its issuer.
- All who wait for one fetch wait for the same one, and they are bounded.

Knows no network: `Fetch` does, and calls back later, never before it returns. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.errors import SekishoError, Unavailable
from sekisho.keys.jwk import PublicJwk
from sekisho.keys.jwks import KeySet, read_key_set

__all__ = ["Fetch", "Fetched", "IssuerKeys"]

MIN_PAUSE_S: Final = 10.0
REFRESH_S: Final = 300.0  # how soon a key that the issuer withdrew is forgotten here
MAX_AGE_S: Final = 3600.0
MAX_WAITING: Final = 256  # all their signatures are checked in one turn of the loop, some 25 ms

Fetched = bytes | SekishoError
Fetch = Callable[[Callable[[Fetched], None]], None]


class IssuerKeys:
    """What is known of an issuer's keys."""

    __slots__ = (
        "_asked",
        "_clock",
        "_fetch",
        "_fetched",
        "_is_asking",
        "_keys",
        "_max_age_s",
        "_on_change",
        "_refresh_s",
        "_waiting",
        "problem",
    )

    def __init__(
        self,
        fetch: Fetch,
        clock: Callable[[], float],
        on_change: Callable[[], None],
        *,
        refresh_s: float = REFRESH_S,
        max_age_s: float = MAX_AGE_S,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._on_change = on_change
        self._refresh_s = refresh_s
        self._max_age_s = max_age_s
        self._keys: KeySet | None = None
        self._fetched = self._asked = float("-inf")
        self._is_asking = False
        self._waiting: list[Callable[[], None]] = []
        self.problem: SekishoError | None = None
        """Why the last fetch brought nothing."""

    @property
    def believed_until(self) -> float:
        """When the keys at hand become too old."""
        return self._fetched + self._max_age_s

    def is_usable(self, now: float) -> bool:
        """True while there are keys to verify with."""
        return self._keys is not None and now < self.believed_until

    def find(self, kid: str | None, algorithm: str, now: float) -> PublicJwk | None:
        """The key that a token names, if it is at hand."""
        return self._keys.find(kid, algorithm) if self._keys is not None and self.is_usable(now) else None

    def may_ask(self, now: float) -> bool:
        """True when waiting could bring a key that is not at hand."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        return self._is_asking or now - self._asked >= MIN_PAUSE_S

    def wait(self, then: Callable[[], None], now: float) -> None:
        """Fetch the keys, or join those who wait for them; `then` is called once, whatever comes of it."""
        self._waiting.append(then)
        self._ask(now)

    def look(self, now: float) -> None:
        """Renew keys that grow old; call it every second or so."""
        if now - self._fetched >= self._refresh_s and now - self._asked >= MIN_PAUSE_S:
            self._ask(now)

    def _ask(self, now: float) -> None:
        if self._is_asking:
            return
        self._is_asking = True
        self._asked = now
        self._fetch(self._arrived)

    def _arrived(self, fetched: Fetched) -> None:
        self._is_asking = False
        # whatever went wrong, the keys at hand live out their time
        self.problem = None
        if isinstance(fetched, bytes):
            try:
                self._take(read_key_set(fetched))
            except Unavailable as error:
                self.problem = error
        else:
            self.problem = fetched
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def _take(self, keys: KeySet) -> None:
        is_other = self._keys is None or keys.thumbprints != self._keys.thumbprints
        self._keys = keys
        self._fetched = self._clock()
        if is_other:
            self._on_change()

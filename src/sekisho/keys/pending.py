"""A verdict on a credential that has to wait for an issuer.

Guarantees that whoever asked is told once, or not at all after withdrawing. Decides nothing; `credentials` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from sekisho.errors import SekishoError
from sekisho.keys.principal import Principal

__all__ = ["Outcome", "Pending"]

Outcome: TypeAlias = Principal | SekishoError


class Pending:
    """A judgement that waits for an issuer; it ends within the time that `Hands` allows itself."""

    __slots__ = ("_outcome", "_then")

    def __init__(self) -> None:
        self._outcome: Outcome | None = None
        self._then: Callable[[Outcome], None] | None = None

    def then(self, callback: Callable[[Outcome], None]) -> None:
        """Be told once, with the principal or the error."""
        if self._outcome is not None:
            callback(self._outcome)
        else:
            self._then = callback

    def withdraw(self) -> None:
        """Nobody waits any more."""
        self._then = None

    def settle(self, outcome: Outcome) -> None:
        """For `Credentials`: say what came of it."""
        self._outcome = outcome
        then, self._then = self._then, None
        if then is not None:
            then(outcome)

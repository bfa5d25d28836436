"""Every driver we claim something of. A driver joins both suites, contract and escape, by one line here."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final

from sekisho.sandbox import Bubblewrap, Landlock, Native

__all__ = ["DRIVERS", "Claim"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a driver claims: its level, whether it gives a network, and what is known to get through."""

    make: Callable[[], AbstractAsyncContextManager[Any]]
    isolation: str = "strict"
    has_network: bool = True
    whos: tuple[str, ...] = ("root", "user")
    needs: tuple[str, ...] = ()
    gets_through: frozenset[str] = frozenset()


DRIVERS: Final[dict[str, Claim]] = {
    "bubblewrap": Claim(make=Bubblewrap, needs=("bwrap",)),
    "native": Claim(make=Native),
    "landlock": Claim(
        make=Landlock, isolation="standard", has_network=False, gets_through=frozenset({"P13"})
    ),
}

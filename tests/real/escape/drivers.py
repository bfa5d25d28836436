"""Every driver we claim something of. A driver joins both suites, contract and escape, by one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.sandbox import Bubblewrap, Landlock, Native
from sekisho.sandbox.oci import Oci

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
    cannot: Mapping[str, str] = field(default_factory=dict)  # honest work that does not go here, and why


DRIVERS: Final[dict[str, Claim]] = {
    "bubblewrap": Claim(make=Bubblewrap, needs=("bwrap",)),
    "native": Claim(make=Native),
    "oci": Claim(make=Oci, whos=("root",), needs=("podman",)),
    "landlock": Claim(
        make=Landlock,
        isolation="standard",
        has_network=False,
        gets_through=frozenset({"P13"}),
        cannot={
            "python: asyncio": "no socket but a pair of them: loopback is the host's",
            "python: multiprocessing": "its semaphores lie in /dev/shm, which is the host's",
            "node: network interfaces": "no netlink",
            "node22: network interfaces": "no netlink",
        },
    ),
}

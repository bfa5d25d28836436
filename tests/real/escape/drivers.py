"""Every driver we claim something of. A driver joins both suites, contract and escape, by one line here."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.sandbox import Bubblewrap, Landlock, Native
from sekisho.sandbox.oci.driver import Oci

__all__ = ["CONTAINER_USER", "DRIVERS", "Claim"]

CONTAINER_USER: Final = 612_345  # nobody's on this host


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a driver claims: its level, whether it gives a network, and what is known to get through.

    `service`: docker's has to be there, and to be told where it listens.
    """

    make: Callable[[], AbstractAsyncContextManager[Any]]
    isolation: str = "strict"
    has_network: bool = True
    whos: tuple[str, ...] = ("root", "user")
    needs: tuple[str, ...] = ()
    service: bool = False
    containers: bool = False
    gets_through: frozenset[str] = frozenset()
    cannot: Mapping[str, str] = field(default_factory=dict)  # honest work that does not go here, and why

    @property
    def owner(self) -> int | None:
        """Whose processes a plugin's are: containers have no other root than the host's."""
        return CONTAINER_USER if self.containers and os.geteuid() == 0 else None


DRIVERS: Final[dict[str, Claim]] = {
    "bubblewrap": Claim(make=Bubblewrap, needs=("bwrap",)),
    "native": Claim(make=Native),
    "oci": Claim(
        make=lambda: Oci("podman", environment=os.environ), needs=("podman", "newuidmap"), containers=True
    ),
    "oci-docker": Claim(
        make=lambda: Oci("docker", environment=os.environ),
        whos=("root",),
        needs=("docker", "dockerd"),
        service=True,
        containers=True,
    ),
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

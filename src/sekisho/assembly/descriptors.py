"""How many descriptors this process may have open, and how many the gates of all plugins may come to need.

A plugin that opens as many connections as it may must not take the descriptors that others need. The limit a shell or a
service manager sets for everybody is raised as far as the kernel lets us; whoever is still short of it is told.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from typing import Final

from sekisho.policy import NetworkGrant

__all__ = ["descriptors_needed", "raise_descriptor_limit"]

OF_A_CONNECTION: Final = 2  # the plugin's side and the host's
OF_A_GATE: Final = 6  # four sockets, the line, and the listener for the next hand-off
OF_THE_PROCESS: Final = 64


def raise_descriptor_limit() -> int:
    """Take all that we may have; returns how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def descriptors_needed(gates: Iterable[tuple[NetworkGrant, int]]) -> int:
    """At most so many, given each plugin's grant and the number of its sandboxes."""
    return OF_THE_PROCESS + sum(
        OF_A_CONNECTION * network.max_connections * (not network.is_closed) + OF_A_GATE * sandboxes
        for network, sandboxes in gates
    )

"""Ports for servers that are told theirs before they start, or that must find it free again when they are restarted."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

__all__ = ["free_port"]

PORTS: Final = range(10_000, 1 << 15)
# What the kernel gives to whoever connects or listens at port 0: free now, and somebody's in a moment.
KERNELS: Final = range(*map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()))
MOST_WORKERS: Final = 16
_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % MOST_WORKERS
_OWN: Final = [port for port in PORTS if port not in KERNELS and port % MOST_WORKERS == _WORKER]
_given: list[int] = []


def free_port() -> int:
    """A port where nobody listens and nobody will by chance: each process that tests has ports of its own.

    Each is given once, from a place on that differs between runs: connections of an earlier one may linger.
    """
    while len(_given) < len(_OWN):
        port = _OWN[(os.getpid() + len(_given)) % len(_OWN)]
        _given.append(port)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    with socket.socket() as probe:  # the kernel gives them all out by itself here
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

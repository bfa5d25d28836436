"""The table `network_policy`: the hosts a plugin may reach. Both files mean the same by it.

Guarantees that every host and port is one that the gate could open (`policy.grants` judges them), and that localhost
is opened by port or not at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sekisho.config.field import Kind, Wrong, choice, flag, judged, listed, setting, text, whole
from sekisho.policy.grants import NetworkGrant

__all__ = ["NetworkPolicy"]

_OPEN = NetworkGrant()


def _hosts(judge: Callable[[tuple[str, ...]], object], star: str) -> Kind[tuple[str, ...]]:
    expected = f"a list of host names such as api.example.com or *.example.com{star}"
    return judged(listed(text()), judge, expected)


def _ports(judge: Callable[[tuple[int, ...]], object]) -> Kind[tuple[int, ...]]:
    return judged(listed(whole(1, 65535)), judge)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """`network_policy`: the hosts the plugin may reach; nothing unless listed."""

    allowed_domains: tuple[str, ...] = setting(
        _hosts(lambda value: NetworkGrant(allowed_domains=value), ""), "Hosts it may reach.", default=()
    )
    blocked_domains: tuple[str, ...] = setting(
        _hosts(lambda value: NetworkGrant(blocked_domains=value), ' or "*"'),
        'Hosts taken out of the allowed ones; a named block wins; "*" closes the rest (as always).',
        default=(),
    )
    allowed_ports: tuple[int, ...] = setting(
        _ports(lambda value: NetworkGrant(allowed_ports=value)),
        "Ports it may reach there.",
        default=(80, 443),
    )
    allow_localhost: bool = setting(flag(), "Whether it may reach services of this machine.", default=False)
    localhost_ports: tuple[int, ...] = setting(
        _ports(lambda value: NetworkGrant(localhost_ports=value)), "Which of them, by port.", default=()
    )
    mode: Literal["enforce", "learn"] = setting(
        choice("enforce", "learn"),
        "learn: while you watch, every public host asked for by name is reached on ports 80 and 443, "
        "and written down for sekisho egress propose.",
        default="enforce",
    )
    max_connections: int = setting(
        whole(1, 1 << 16), "Connections it may have open at one time.", default=_OPEN.max_connections
    )
    max_mb_per_minute: int = setting(
        whole(0, 1 << 30),
        "What it may send and receive; beyond it connections slow down. 0: no limit.",
        default=_OPEN.max_mb_per_minute,
    )
    intercept_tls: bool = setting(
        flag(),
        "Whether the gate opens its TLS, with an authority made for it alone, to judge requests and put secrets in.",
        default=False,
    )

    def __post_init__(self) -> None:
        if self.allow_localhost and not self.localhost_ports:
            raise Wrong(
                "opens no port; expected localhost_ports beside it",
                remedy="list the ports in localhost_ports",
                key="allow_localhost",
            )

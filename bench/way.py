"""A way to the upstream: what a client must know to take it, and whose processor time it costs.

With another way `beside` it the clients are dealt out to both, and both are paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Process, tree_of
from bench.tools import UPSTREAM

__all__ = ["BOTH_ERAS", "Way", "parts_of"]

BOTH_ERAS = frozenset({"modern", "legacy"})
SEKISHO_ROLES = {"core": "core", "egress": "rest"}  # every other process below `up` works for the plugins


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One running gateway; `root` is the process it hangs from, None when there is no gateway."""

    port: int
    path: str = "/mcp"
    tool: str = "{}"
    headers: tuple[str, ...] = ()
    eras: frozenset[str] = BOTH_ERAS
    ca_file: Path | None = None
    root: int | None = None
    upstream_port: int | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    beside: Way | None = None

    def processes(self) -> dict[int, str]:
        """Every process of the gateway and the part it plays; the upstream behind a wall is none of them."""
        found = {} if self.root is None else parts_of(tree_of(self.root), self.roles)
        return found if self.beside is None else found | self.beside.processes()


def parts_of(tree: tuple[Process, ...], roles: Mapping[str, str]) -> dict[int, str]:
    """The part of each process: its own role, else that of its parent; without roles all are "gateway"."""
    parts: dict[int, str] = {}
    for number, one in enumerate(tree):
        if one.name == UPSTREAM.name[:15] or UPSTREAM.name in "".join(one.words[:1]):
            continue
        if not roles:
            parts[one.pid] = "gateway"
        elif number == 0:
            parts[one.pid] = "rest"
        else:
            above = parts.get(one.parent, "plugins")
            parts[one.pid] = _own_role(one, roles) or ("plugins" if one.parent == tree[0].pid else above)
    return parts


def _own_role(one: Process, roles: Mapping[str, str]) -> str | None:
    """Children of ours say their role after the name of the module: `-m sekisho.assembly <parent> <role> …`."""
    if "sekisho.assembly" not in one.words:
        return None
    at = one.words.index("sekisho.assembly") + 2
    return roles.get(one.words[at]) if len(one.words) > at else None

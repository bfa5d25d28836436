"""The allow-list a plugin seems to need, from what was let through while its grant learned.

- Every name is listed by itself, with how often and how much: a person decides, the plugin chose the names.
- What the configuration allows already is kept. What was refused is never proposed.
- `*.suffix` is only ever a remark. It would let a plugin invent names below the suffix, and whether one owner has all of
  them cannot be seen from here.

Judgement only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from sekisho.egress.record import LedgerEntry
from sekisho.errors import Refused
from sekisho.policy import NetworkGrant, canonical_host

__all__ = ["Proposal", "ProposedHost", "propose"]

MERGED_FROM: Final = 3  # with fewer names there is nothing to save


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedHost:
    """One host and port that was reached: how often, and how many bytes in both directions."""

    host: str
    port: int
    count: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A network policy to be read, and perhaps pasted, by a person."""

    allowed_domains: tuple[str, ...]
    allowed_ports: tuple[int, ...]
    learned: tuple[ProposedHost, ...]
    merges: tuple[tuple[str, tuple[str, ...]], ...]

    def toml(self, table: str) -> Iterator[str]:
        """The lines of the table."""
        yield f"[{table}]"
        yield 'mode = "enforce"'
        yield "allowed_domains = ["
        for domain in self.allowed_domains:
            said = "; ".join(
                f"{one.count} × port {one.port}, {one.bytes} bytes"
                for one in self.learned
                if one.host == domain
            )
            yield f"    {json.dumps(domain)}," + (f"  # {said}" if said else "")
        yield "]"
        yield f"allowed_ports = [{', '.join(str(port) for port in self.allowed_ports)}]"
        for rule, names in self.merges:
            yield f"# {json.dumps(rule)} would cover {', '.join(names)}: only if one owner has every name below it"


def propose(entries: Iterable[LedgerEntry], network: NetworkGrant) -> Proposal:
    """Propose what the configuration should say instead of `mode = "learn"`."""
    counts: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0])
    for entry in entries:
        if entry.allowed and entry.learned and _is_host(entry.host):
            seen = counts[entry.host, entry.port]
            seen[0] += 1
            seen[1] += entry.bytes
    learned = tuple(
        ProposedHost(host=host, port=port, count=count, bytes=carried)
        for (host, port), (count, carried) in sorted(counts.items())
    )
    names = sorted({one.host for one in learned})
    ports = {*(one.port for one in learned), *(network.allowed_ports if network.allowed_domains else ())}
    return Proposal(
        allowed_domains=tuple(dict.fromkeys((*network.allowed_domains, *names))),
        allowed_ports=tuple(sorted(ports)) or network.allowed_ports,
        learned=learned,
        merges=tuple(_merges(names)),
    )


def _merges(names: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    families: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parent = name.partition(".")[2]
        if "." in parent:  # never a whole top-level domain
            families[parent].append(name)
    for parent, members in sorted(families.items()):
        if len(members) >= MERGED_FROM:
            yield f"*.{parent}", tuple(members)


def _is_host(text: str) -> bool:
    try:
        return canonical_host(text) == text
    except Refused:
        return False

"""What happened at the gate: one value for the ledger, the line to the plugin server, and the process's own log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["EgressEvent", "Kind"]

Kind: TypeAlias = Literal["dns", "http", "tls", "tunnel", "proxy", "connection", "host", "rate", "secret"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressEvent:
    """What the gate did for one plugin. `bytes` counts both directions; `reason` is empty when all went well.

    `kind` names the road it took, or what it met there: `host` when the name inside (TLS server name, Host header) is not
    the one that was asked for. `is_learned`: it was let through only because the gate is learning what this plugin wants.
    """

    plugin: str
    kind: Kind
    host: str
    port: int
    allowed: bool
    reason: str
    bytes: int = 0
    is_learned: bool = False

    @property
    def is_notable(self) -> bool:
        """Whether it is worth a word although it went through."""
        return self.is_learned or self.kind == "rate"

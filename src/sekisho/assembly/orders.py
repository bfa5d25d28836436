"""What `up` tells a plugin server to be, so that it need not read the core file, nor learn of any other plugin.

Guarantees that what is read is what was written, whole and of the right types, or an error. Reading it runs a tenth of
what reading a file does, and each page that a forked process writes to is memory of its own.

Knows no files and no keys: those a plugin server reads itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from sekisho.config import CoreConfig, PluginLimits, Workload

__all__ = ["Orders", "orders_of", "read_orders", "write_orders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """One plugin of the core file, and what the file says of all of them."""

    workload: Workload
    operations: tuple[str, ...]
    limits: PluginLimits
    trust_domain: str
    health_interval_s: float
    log_level: str


def orders_of(config: CoreConfig, name: str) -> Orders:
    """The orders of the plugin of that name; raises Misconfigured."""
    entry = config.plugin(name)
    return Orders(
        workload=entry.workload,
        operations=tuple(entry.allowed_operations),
        limits=config.limits,
        trust_domain=config.core_server.trust_domain,
        health_interval_s=config.plugins.health_check_interval_seconds,
        log_level=config.audit.log_level,
    )


def write_orders(orders: Orders) -> bytes:
    """As JSON."""
    return msgspec.json.encode(orders, enc_hook=_text_of)


def read_orders(text: bytes | msgspec.Raw) -> Orders:
    """What was written; raises msgspec.ValidationError."""
    return _READER.decode(text)


def _text_of(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"orders hold no {type(value).__name__}")


def _path_of(kind: type[Path], value: object) -> Path:
    return kind(str(value))


# Made before any fork: that runs hundreds of functions.
_READER: Final = msgspec.json.Decoder(Orders, dec_hook=_path_of)

"""Which client may use which operation of which plugin. Default deny.

Rules only ever add: no rule, an empty rule or an unknown name means no. `*` stands for "any authenticated
client" and only in that place; operations are always written out, because tomorrow's new tool was not judged
by today's rule. Authentication happened before; whether the definition is approved is asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.protocol import PluginName

__all__ = ["ANY_CLIENT", "AccessPolicy", "Rule"]

ANY_CLIENT: Final = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`client` (a name, or `*` for every authenticated one) may use these operations of `plugin`."""

    client: str
    plugin: PluginName
    operations: frozenset[str]

    def __post_init__(self) -> None:
        if not self.client:
            raise Misconfigured(
                "config_invalid", "a rule names no client", remedy="name one, or write * for all"
            )
        for operation in self.operations:
            if not operation or "*" in operation:
                raise Misconfigured(
                    "config_invalid",
                    f"{operation!r} is not an operation of {self.plugin!r}",
                    remedy="write every allowed operation by its full name",
                )


class AccessPolicy:
    """All rules, compiled to one look-up. Never changes; a reload builds a new one."""

    __slots__ = ("_allowed",)

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._allowed = frozenset(
            (rule.client, rule.plugin, operation) for rule in rules for operation in rule.operations
        )

    def permits(self, client: str, plugin: PluginName, operation: str) -> bool:
        """May this authenticated client use this operation? An empty name never may, and `*` names nobody."""
        if not client or client == ANY_CLIENT:
            return False
        return (client, plugin, operation) in self._allowed or (
            ANY_CLIENT,
            plugin,
            operation,
        ) in self._allowed

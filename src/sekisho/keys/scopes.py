"""Which scopes an operation needs: what every call needs, what its plugin needs, what it needs itself.

Guarantees that the answer names all of them at once, so that one step up is enough (MCP 2025-11-25, authorization), and
that a map which names nothing adds nothing: whether an operation exists and is allowed is the business of `policy`. A
static token is the operator's own and carries no scopes; `policy` rules bind it like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sekisho.keys.principal import Principal

__all__ = ["ScopePolicy"]

_NONE: Final[tuple[str, ...]] = ()


class ScopePolicy:
    """The scopes of the configuration, looked up per operation."""

    __slots__ = ("_by_operation", "_by_plugin", "_everywhere", "_known")

    def __init__(
        self,
        everywhere: tuple[str, ...] = (),
        by_plugin: Mapping[str, tuple[str, ...]] | None = None,
        by_operation: Mapping[tuple[str, str], tuple[str, ...]] | None = None,
    ) -> None:
        self._everywhere = everywhere
        self._by_plugin = dict(by_plugin or {})
        self._by_operation = dict(by_operation or {})
        # every answer that can differ, made once; operations not named here need what their plugin needs
        self._known = {
            (plugin, operation): self._join(plugin, operation) for plugin, operation in self._by_operation
        }
        self._by_plugin = {plugin: self._join(plugin, "") for plugin in self._by_plugin}

    def needed(self, plugin: str | None, operation: str | None) -> tuple[str, ...]:
        """Everything that this operation needs; without a plugin, what the endpoint for all of them needs."""
        if plugin is None:
            return self._everywhere
        found = self._known.get((plugin, operation)) if operation is not None else None
        return found if found is not None else self._by_plugin.get(plugin, self._everywhere)

    def missing_scopes(
        self, principal: Principal, plugin: str | None, operation: str | None
    ) -> tuple[str, ...]:
        """Nothing when the principal may go on; else all the scopes that the operation needs."""
        if principal.issuer is None:
            return _NONE
        needed = self.needed(plugin, operation)
        return _NONE if principal.scopes.issuperset(needed) else needed

    @property
    def everything(self) -> tuple[str, ...]:
        """Every scope that some operation needs, in the order of the configuration."""
        lists = (self._everywhere, *self._by_plugin.values(), *self._known.values())
        return tuple(dict.fromkeys(scope for one in lists for scope in one))

    def of_plugin(self, plugin: str) -> tuple[str, ...]:
        """Every scope that some operation of this plugin needs."""
        lists = [self.needed(plugin, None)]
        lists += [needed for (its_plugin, _), needed in self._known.items() if its_plugin == plugin]
        return tuple(dict.fromkeys(scope for one in lists for scope in one))

    def _join(self, plugin: str, operation: str) -> tuple[str, ...]:
        lists = (
            self._everywhere,
            self._by_plugin.get(plugin, _NONE),
            self._by_operation.get((plugin, operation), _NONE),
        )
        return tuple(dict.fromkeys(scope for one in lists for scope in one))

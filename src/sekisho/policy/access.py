"""Which client may use which operation, prompt and resource of which plugin. Default deny.

Rules only ever add: no rule, an empty rule or an unknown name means no. `*` stands for "any authenticated
client" and only in that place; operations are always written out, because tomorrow's new tool was not judged
by today's rule. A resource may be named by the beginning of its URI, and then a URI with a step upwards
(`..`, however it is escaped) is outside every such beginning.
Authentication happened before; whether the definition is approved is asked elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from sekisho.errors import Misconfigured
from sekisho.protocol import PluginName

__all__ = ["ANY_CLIENT", "METHODS", "AccessPolicy", "Rule"]

ANY_CLIENT: Final = "*"

# What a plugin is asked beside calls of its tools. No tool can have such a name, so both are operations.
METHODS: Final = frozenset(
    {
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
        "logging/setLevel",
        "subscriptions/listen",
        "tasks/get",
        "tasks/update",
        "tasks/cancel",
    }
)
_MAX_UNESCAPES: Final = 3  # a URI that still changes after so many is not compared with any beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`client` (a name, or `*` for every authenticated one) may use these operations of `plugin`.

    `methods` are words of `METHODS`. `prompts` and `resources` narrow what `prompts/get` and `resources/read`
    may name: None means all approved ones; a resource ends in `*` when it names the beginning of a URI.
    """

    client: str
    plugin: PluginName
    operations: frozenset[str]
    methods: frozenset[str] = frozenset()
    prompts: frozenset[str] | None = frozenset()
    resources: frozenset[str] | None = frozenset()

    def __post_init__(self) -> None:
        if not self.client:
            raise Misconfigured(
                "config_invalid", "a rule names no client", remedy="name one, or write * for all"
            )
        for operation in self.operations:
            if not operation or "*" in operation or "/" in operation:
                raise Misconfigured(
                    "config_invalid",
                    f"{operation!r} is not an operation of {self.plugin!r}",
                    remedy="write every allowed operation by its full name",
                )
        unknown = self.methods - METHODS
        if unknown:
            raise Misconfigured(
                "config_invalid",
                f"{min(unknown)!r} is not a method that a plugin is asked",
                remedy=f"use {', '.join(sorted(METHODS))}",
            )
        for uri in self.resources or ():
            if not uri or "*" in uri[:-1]:
                raise Misconfigured(
                    "config_invalid",
                    f"{uri!r} names neither a resource nor the beginning of one",
                    remedy="write a whole URI, or its beginning and one * at the end",
                )


class _Names:
    """What all rules for one client and one plugin allow of one kind."""

    __slots__ = ("_beginnings", "_exact", "_is_all")

    def __init__(self) -> None:
        self._is_all = False
        self._exact: set[str] = set()
        self._beginnings: tuple[str, ...] = ()

    def add(self, names: frozenset[str] | None, *, with_beginnings: bool) -> None:
        """Allow more."""
        if names is None:
            self._is_all = True
            return
        beginnings = {name for name in names if with_beginnings and name.endswith("*")}
        self._exact |= names - beginnings
        self._beginnings += tuple(sorted(name[:-1] for name in beginnings))

    def __contains__(self, name: str) -> bool:
        if self._is_all or name in self._exact:
            return True
        return bool(self._beginnings) and name.startswith(self._beginnings) and not _climbs(name)


class AccessPolicy:
    """All rules, compiled to look-ups. Never changes; a reload builds a new one."""

    __slots__ = ("_allowed", "_prompts", "_resources", "_users")

    def __init__(self, rules: Iterable[Rule]) -> None:
        allowed: set[tuple[str, PluginName, str]] = set()
        prompts: defaultdict[tuple[str, PluginName], _Names] = defaultdict(_Names)
        resources: defaultdict[tuple[str, PluginName], _Names] = defaultdict(_Names)
        for rule in rules:
            allowed.update((rule.client, rule.plugin, one) for one in rule.operations | rule.methods)
            # a rule's names belong to its own methods: two rules together allow no more than each of them
            if "prompts/get" in rule.methods:
                prompts[rule.client, rule.plugin].add(rule.prompts, with_beginnings=False)
            if "resources/read" in rule.methods:
                resources[rule.client, rule.plugin].add(rule.resources, with_beginnings=True)
        self._allowed = frozenset(allowed)
        self._users = frozenset((client, plugin) for client, plugin, _ in allowed)
        self._prompts = dict(prompts)
        self._resources = dict(resources)

    def permits(self, client: str, plugin: PluginName, operation: str) -> bool:
        """May this authenticated client use this operation? An empty name never may, and `*` names nobody."""
        if not client or client == ANY_CLIENT:
            return False
        return (client, plugin, operation) in self._allowed or (
            ANY_CLIENT,
            plugin,
            operation,
        ) in self._allowed

    def permits_any(self, client: str, plugin: PluginName) -> bool:
        """May this client use anything of this plugin, so that it is told what the plugin can do?"""
        if not client or client == ANY_CLIENT:
            return False
        return (client, plugin) in self._users or (ANY_CLIENT, plugin) in self._users

    def permits_prompt(self, client: str, plugin: PluginName, name: str) -> bool:
        """May this client see and get this prompt?"""
        return self._names(self._prompts, client, plugin, name)

    def permits_resource(self, client: str, plugin: PluginName, uri: str) -> bool:
        """May this client see, read and watch this resource, or see this template?"""
        return self._names(self._resources, client, plugin, uri)

    @staticmethod
    def _names(
        granted: dict[tuple[str, PluginName], _Names], client: str, plugin: PluginName, name: str
    ) -> bool:
        if not client or client == ANY_CLIENT:
            return False
        return any(name in granted.get((who, plugin), ()) for who in (client, ANY_CLIENT))


def _climbs(uri: str) -> bool:
    """True when a server could read a step upwards in this URI, or when nobody can say."""
    text = uri
    for _ in range(_MAX_UNESCAPES):
        steps = text.replace("\\", "/").replace("?", "/").replace("#", "/").split("/")
        if ".." in steps:
            return True
        plain = unquote(text)
        if plain == text:
            return False
        text = plain
    return True

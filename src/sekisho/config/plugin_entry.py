"""The table `plugins`: which plugins there are, where each is, what may be called of it.

Guarantees one name for one plugin, and something to reach or to run behind every name.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sekisho.config.field import Wrong, listed, nested, number, path, setting, text, whole
from sekisho.config.granted import Granted
from sekisho.config.own_table import plugin_settings, settings_names
from sekisho.config.program import Program
from sekisho.config.secrets import check_secrets
from sekisho.config.values import extension_name, name_kind, operation, resource_name, web_address
from sekisho.config.workload import Workload, workload_of
from sekisho.policy import Narrowed
from sekisho.policy.grants import Grants

__all__ = ["PluginEntry", "Plugins"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry(Granted, Program):
    """`plugins.servers`: one plugin, elsewhere (`url`) or run by this machine (`command` or `upstream`)."""

    name: str = setting(name_kind(), "Its name; tools appear as name__tool.")
    url: str | None = setting(
        web_address("https", "unix", with_path=False),
        "Where its plugin server listens; may be left out when this machine runs it.",
        default=None,
    )
    cert_path: Path | None = setting(
        path(), "Certificate of its plugin server, PEM; no other is accepted.", default=None
    )
    allowed_operations: tuple[str, ...] = setting(
        listed(operation()), "Tools that may be called; none unless listed.", default=()
    )
    max_requests_per_minute: int = setting(
        whole(1, 60_000_000), "Calls of all clients in a minute.", default=60
    )
    require_approval: tuple[str, ...] = setting(
        listed(operation()), "Allowed tools that need approval each time.", default=()
    )
    allowed_prompts: tuple[str, ...] | None = setting(
        listed(text()), "Prompts that may be used; else all approved ones.", default=None
    )
    allowed_resources: tuple[str, ...] | None = setting(
        listed(resource_name()), "Resources that may be used; else all approved ones.", default=None
    )
    extensions: tuple[str, ...] = setting(
        listed(extension_name()),
        "Extensions of MCP that it may announce, by identifier; io.modelcontextprotocol/tasks lets it make tasks.",
        default=("io.modelcontextprotocol/ui",),
    )
    settings: tuple[tuple[str, str], ...] = setting(
        plugin_settings(), "Values handed to it as variables: url becomes NAME_URL.", default=()
    )

    def __post_init__(self) -> None:
        self.check_program()
        if not (self.runs_here or self.url):
            raise Wrong(
                "names nothing to reach or run; expected url, command, package or upstream",
                remedy="add one of them",
            )
        self.check_oauth(self)
        self.check_package(self)
        for one in self.require_approval:
            if one not in self.allowed_operations:
                raise Wrong(
                    f"names {one}, which allowed_operations does not",
                    remedy="correct the name, or add it to allowed_operations",
                    key="require_approval",
                )
        named = settings_names(self.name, self.settings)
        check_secrets(self.grants, upstream=self.upstream, settings=named)

    @property
    def runs_here(self) -> bool:
        """True when this machine starts the plugin."""
        return bool(self.command or self.package or self.upstream)

    @property
    def grants(self) -> Grants:
        """Everything it may touch."""
        return self._narrowed.grants

    @property
    def _narrowed(self) -> Narrowed:
        is_walled = self.runs_here and not self.upstream
        return self.narrowed(self, self.allowed_operations, is_walled=is_walled)

    @property
    def workload(self) -> Workload:
        """The plugin as its plugin server runs it."""
        return workload_of(self.name, self, self, self._narrowed, self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """`plugins`: the plugins, and how often they are looked after."""

    discovery_timeout_seconds: float = setting(
        number(0.001, 3_600), "Longest wait for a plugin to show its tools.", default=10.0
    )
    health_check_interval_seconds: float = setting(
        number(0.1, 86_400), "Time between two questions after a plugin's health.", default=30.0
    )
    servers: tuple[PluginEntry, ...] = setting(nested(PluginEntry, many=True), "The plugins.", default=())

    def __post_init__(self) -> None:
        names = [one.name for one in self.servers]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Wrong(f"has two plugins named {name}", remedy="give each its own name", key="servers")

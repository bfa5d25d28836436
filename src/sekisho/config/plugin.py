"""The plugin file: one plugin server, its plugin, its walls.

Guarantees that the plugin's own table (`[wordpress]` for wordpress-handler) reaches the plugin as variables
and nothing else in the file is ignored. The shared tables mean here what they mean in the core file.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sekisho.config.field import listed, nested, path, setting
from sekisho.config.granted import Granted
from sekisho.config.install import Install
from sekisho.config.limits import PluginLimits
from sekisho.config.locate import Source
from sekisho.config.own_table import settings_names
from sekisho.config.program import Program
from sekisho.config.secrets import check_secrets
from sekisho.config.values import BindAddress, bind_address, check_pair, name_kind, operation, web_address
from sekisho.config.workload import Workload, workload_of
from sekisho.policy.grants import Grants

__all__ = ["PluginConfig", "PluginServer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginServer(Program):
    """`plugin_server`: the process that owns the plugin's walls."""

    name: str = setting(name_kind(), "The plugin's name, as the core file writes it.")
    bind_addr: BindAddress = setting(
        bind_address(), "Address it listens on for the core.", default=BindAddress("127.0.0.1", 8443)
    )
    tls_cert_path: Path | None = setting(
        path(), "Certificate shown to the core, PEM; else one of sekisho's own authority.", default=None
    )
    tls_key_path: Path | None = setting(path(), "Private key of that certificate, PEM.", default=None)
    ca_cert_path: Path | None = setting(
        path(), "Authority of the core's certificate, PEM; else sekisho's own.", default=None
    )
    core_server_url: str | None = setting(
        web_address("https", with_path=False),
        "The only core that may connect; its certificate must name this host.",
        default=None,
    )
    allowed_operations: tuple[str, ...] | None = setting(
        listed(operation()),
        "Tools it runs, whatever the core asks; else those the core's token names.",
        default=None,
    )
    home: Path | None = setting(
        path(),
        "Folder of its keys and state, unless $SEKISHO_HOME names one; else the user's data folder.",
        default=None,
    )

    def __post_init__(self) -> None:
        self.check_program()
        check_pair(self.tls_cert_path, self.tls_key_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig(Granted):
    """The whole plugin file; `settings` is the table named after the plugin."""

    plugin_server: PluginServer = setting(nested(PluginServer), "The process that owns the plugin's walls.")
    install: Install = setting(nested(Install), "Where packages come from.", default=Install())
    limits: PluginLimits = setting(nested(PluginLimits), "What one message may cost.", default=PluginLimits())
    settings: tuple[tuple[str, str], ...] = ()
    settings_table: str = ""
    source: Source = field(default=Source(), compare=False, repr=False)

    def __post_init__(self) -> None:
        self.check_oauth(self.plugin_server)
        self.check_package(self.plugin_server)
        named = settings_names(self.name, self.settings)
        check_secrets(self.grants, upstream=self.plugin_server.upstream, settings=named)

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.plugin_server.name

    @property
    def home(self) -> Path | None:
        """Folder of its keys and state, when the file names one."""
        return self.plugin_server.home

    @property
    def grants(self) -> Grants:
        """Everything the plugin may touch."""
        return self.workload.grants

    @property
    def workload(self) -> Workload:
        """The plugin as its plugin server runs it."""
        server = self.plugin_server
        narrowed = self.narrowed(server, server.allowed_operations or (), is_walled=not server.upstream)
        return workload_of(self.name, server, self, narrowed, self.settings)

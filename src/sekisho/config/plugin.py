"""The plugin file: one plugin server, its plugin, its walls.

Guarantees that the plugin's own table (`[wordpress]` for wordpress-handler) reaches the plugin as variables
and nothing else in the file is ignored. The shared tables mean here what they mean in the core file.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sekisho.config.field import Wrong, choice, flag, listed, nested, number, path, setting, whole
from sekisho.config.install import (
    Install,
    arguments,
    check_package,
    package_name,
    package_of,
    program_name,
)
from sekisho.config.limits import PluginLimits
from sekisho.config.locate import Source
from sekisho.config.oauth import OAuth
from sekisho.config.roots import roots
from sekisho.config.secrets import check_secrets, secrets_table
from sekisho.config.upstream import header_references
from sekisho.config.values import (
    BindAddress,
    bind_address,
    check_pair,
    client_requests,
    environment_name,
    name_kind,
    operation,
    web_address,
)
from sekisho.config.workload import (
    FilesystemPolicy,
    NetworkPolicy,
    Sandbox,
    Workload,
    command_words,
    grants_of,
    module_name,
    settings_names,
    within_roots,
)
from sekisho.policy import Root, SecretGrant
from sekisho.policy.grants import Grants

__all__ = ["PluginConfig", "PluginServer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginServer:
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
    client_requests: tuple[str, ...] = setting(
        client_requests(),
        "What the plugin may ask of a client, whatever the core allows.",
        default=("elicitation",),
    )
    instances: Literal["shared", "client", "session"] = setting(
        choice("shared", "client", "session"),
        'Whose calls one process of the plugin serves; "shared" or not must agree with the core file.',
        default="shared",
    )
    max_instances: int = setting(
        whole(1, 256),
        "Most processes of the plugin beside the one that is listed; each may use as much as its sandbox says.",
        default=8,
    )
    instance_idle_seconds: float = setting(
        number(0.1, 86_400),
        "Time without calls after which the process of a client or session ends.",
        default=300.0,
    )
    command: tuple[str, ...] = setting(
        command_words(), "Program and arguments of an MCP server on standard input and output.", default=()
    )
    package: str | None = setting(
        package_name(),
        'A package to install and run (sekisho install NAME): "npm:name@1.2.3" or "pypi:name==1.2.3".',
        default=None,
    )
    entry: str | None = setting(
        program_name(), "Which of the package's programs is run; else its own.", default=None
    )
    arguments: tuple[str, ...] = setting(arguments(), "Arguments of that program.", default=())
    upstream: str | None = setting(
        web_address("http", "https", with_path=True),
        "An MCP server at a URL: Streamable HTTP, or HTTP with SSE.",
        default=None,
    )
    upstream_ca_path: Path | None = setting(
        path(), "Authority of that server's certificate, PEM; else the system's.", default=None
    )
    upstream_headers: tuple[tuple[str, str], ...] = setting(
        header_references(),
        "Headers sent to it, by name; each value says where it is found, as in secrets.",
        default=(),
    )
    upstream_private: bool = setting(
        flag(), "Whether the name in upstream may lead to a private network.", default=False
    )
    working_directory: Path | None = setting(path(), "Folder the command starts in.", default=None)
    environment: tuple[str, ...] = setting(
        listed(environment_name()), "Variables passed on from sekisho's own environment, by name.", default=()
    )
    runtime_paths: tuple[Path, ...] = setting(
        listed(path()), "Interpreters and libraries it needs, shown read-only.", default=()
    )
    warm: bool = setting(
        flag(),
        "Whether a Python plugin is forked from an interpreter that waits, imports done, inside its walls.",
        default=True,
    )
    preload: tuple[str, ...] | None = setting(
        listed(module_name()),
        "Python modules that interpreter imports; else the MCP SDK, if the plugin uses it.",
        default=None,
    )
    runtime: Literal["auto", "deno", "wasm"] = setting(
        choice("auto", "deno", "wasm"),
        'What runs the command inside the walls: "deno" with permissions of its own, "wasm" for a module; "auto" looks.',
        default="auto",
    )
    home: Path | None = setting(
        path(),
        "Folder of its keys and state, unless $SEKISHO_HOME names one; else the user's data folder.",
        default=None,
    )

    def __post_init__(self) -> None:
        if self.upstream_headers and not self.upstream:
            raise Wrong("stands without upstream", remedy="add upstream", key="upstream_headers")
        if self.command and self.upstream:
            raise Wrong("stands beside command; expected one of the two", remedy="remove one", key="upstream")
        check_package(self.package, self.entry, self.arguments, command=self.command, upstream=self.upstream)
        check_pair(self.tls_cert_path, self.tls_key_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginConfig:
    """The whole plugin file; `settings` is the table named after the plugin."""

    plugin_server: PluginServer = setting(nested(PluginServer), "The process that owns the plugin's walls.")
    roots: tuple[Root, ...] | None = setting(
        roots(),
        "Places it works in, which narrow everything below: a file of roots, or tables uri, name, permissions.",
        default=None,
    )
    sandbox: Sandbox = setting(nested(Sandbox), "How much the plugin may use.", default=Sandbox())
    network_policy: NetworkPolicy = setting(
        nested(NetworkPolicy), "Hosts it may reach.", default=NetworkPolicy()
    )
    filesystem_policy: FilesystemPolicy = setting(
        nested(FilesystemPolicy), "Files it may see.", default=FilesystemPolicy()
    )
    oauth: OAuth = setting(nested(OAuth), "How the server at upstream is logged in to.", default=OAuth())
    install: Install = setting(nested(Install), "Where packages come from.", default=Install())
    limits: PluginLimits = setting(nested(PluginLimits), "What one message may cost.", default=PluginLimits())
    secrets: tuple[SecretGrant, ...] = setting(
        secrets_table(), "Secrets it may use at named hosts without seeing them, by variable.", default=()
    )
    settings: tuple[tuple[str, str], ...] = ()
    settings_table: str = ""
    source: Source = field(default=Source(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.oauth.settings is not None and not self.plugin_server.upstream:
            raise Wrong("stands without upstream", remedy="add upstream, or remove oauth", key="oauth")
        if self.oauth.settings is not None and self.plugin_server.upstream_headers:
            raise Wrong("stands beside upstream_headers", remedy="keep one of the two", key="oauth")
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
        granted = grants_of(
            environment=server.environment,
            allowed_operations=server.allowed_operations or (),
            sandbox=self.sandbox,
            network=self.network_policy,
            files=self.filesystem_policy,
            secrets=self.secrets,
        )
        narrowed = within_roots(granted, self.roots, is_walled=not server.upstream)
        return Workload(
            name=server.name,
            command=server.command,
            package=package_of(server.package),
            entry=server.entry,
            arguments=server.arguments,
            upstream=server.upstream,
            upstream_ca_path=server.upstream_ca_path,
            upstream_headers=server.upstream_headers,
            upstream_private=server.upstream_private,
            working_directory=server.working_directory,
            runtime_paths=server.runtime_paths,
            settings=self.settings,
            grants=narrowed.grants,
            isolation=self.sandbox.isolation,
            driver=self.sandbox.driver,
            engine=self.sandbox.engine,
            image=self.sandbox.image,
            oci_runtime=self.sandbox.oci_runtime,
            uids=self.sandbox.uids,
            warm=server.warm,
            preload=server.preload,
            client_requests=server.client_requests,
            instances=server.instances,
            max_instances=server.max_instances,
            instance_idle_s=server.instance_idle_seconds,
            oauth=self.oauth.settings,
            roots=None if self.roots is None else narrowed.roots,
            idle_roots=narrowed.idle,
            runtime=server.runtime,
        )

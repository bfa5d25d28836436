"""The core file, `sekisho.toml`: one class per table, one line per setting, the safe default beside it.

Guarantees that a `CoreConfig` can be honoured as it stands: plain HTTP only where nobody else can listen, one
name for one plugin, something to reach or to run behind every name. Whether files exist is asked by
`check_paths`.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sekisho.config.auth import Auth, check_scoped_names
from sekisho.config.field import (
    Wrong,
    choice,
    flag,
    judged,
    listed,
    nested,
    number,
    path,
    setting,
    text,
    whole,
)
from sekisho.config.install import (
    Install,
    arguments,
    check_package,
    package_name,
    package_of,
    program_name,
)
from sekisho.config.limits import Limits
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
    extension_name,
    name_kind,
    operation,
    resource_name,
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
    plugin_settings,
    settings_names,
    within_roots,
)
from sekisho.policy import Narrowed, Root, SecretGrant
from sekisho.policy.grants import Grants

__all__ = [
    "Approval",
    "Audit",
    "CoreConfig",
    "CoreServer",
    "Inspection",
    "PluginEntry",
    "Plugins",
    "Security",
]

HOST_HEADER = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
TRUST_DOMAIN = r"[a-z0-9]([a-z0-9.-]{0,253}[a-z0-9])?"


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreServer:
    """`core_server`: the door for MCP clients."""

    bind_addr: BindAddress = setting(
        bind_address(),
        "Address the door listens on; port 0 chooses a free one.",
        default=BindAddress("127.0.0.1", 8080),
    )
    tls_cert_path: Path | None = setting(
        path(), "Certificate shown to clients, PEM; else one of sekisho's own authority.", default=None
    )
    tls_key_path: Path | None = setting(path(), "Private key of that certificate, PEM.", default=None)
    ca_cert_path: Path | None = setting(
        path(), "Authority of the plugin servers' certificates, PEM; else sekisho's own.", default=None
    )
    tls: Literal["on", "off"] = setting(
        choice("on", "off"), '"off" serves plain HTTP, and is accepted only on loopback.', default="on"
    )
    allowed_hosts: tuple[str, ...] = setting(
        listed(text(HOST_HEADER, "a host name, or host:port")),
        "Host names a request may name, besides those of bind_addr.",
        default=(),
    )
    allowed_origins: tuple[str, ...] = setting(
        listed(text(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?", "an origin such as https://app.example.com")),
        "Web pages that may call, by origin; none unless listed.",
        default=(),
    )
    status_addr: BindAddress | None = setting(
        bind_address(may_be_off=True),
        'Address of /healthz, /readyz and /metrics, or "off".',
        default=BindAddress("127.0.0.1", 9464),
    )
    workers: int = setting(
        whole(0, 32),
        "Core processes that `sekisho up` starts behind the port; 0 is one for each CPU.",
        default=1,
    )
    legacy_sse: bool = setting(
        flag(),
        "Also serve the HTTP+SSE transport of 2024-11-05, at /sse and /p/<plugin>/sse; with one worker only.",
        default=False,
    )
    trust_domain: str = setting(
        text(TRUST_DOMAIN, "a domain name in small letters"),
        "Name of this installation inside every certificate (SPIFFE).",
        default="sekisho.local",
    )

    def __post_init__(self) -> None:
        if self.tls == "off" and not self.bind_addr.is_loopback:
            raise Wrong(
                f'is "off" while bind_addr is {self.bind_addr}; expected "on" on every address but loopback',
                remedy='set tls = "on", or bind_addr = "127.0.0.1:8080"',
                key="tls",
            )
        check_pair(self.tls_cert_path, self.tls_key_path)
        if self.legacy_sse and self.workers != 1:
            raise Wrong(
                "is true with several workers; a stream and its posts would meet in one process only by chance",
                remedy="set workers = 1, or legacy_sse = false",
                key="legacy_sse",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """`security`: how much a client may ask."""

    max_request_size_mb: int = setting(whole(1, 1024), "Largest request body, MB.", default=10)
    request_timeout_seconds: float = setting(
        number(0.001, 86_400), "Longest wait for an answer of a plugin.", default=30.0
    )
    rate_limit_per_minute: int = setting(
        whole(1, 60_000_000), "Calls of one client in a minute.", default=100
    )
    max_in_flight: int = setting(
        whole(1, 1_000_000), "Calls under way at one time, of all clients.", default=1024
    )

    @property
    def max_request_bytes(self) -> int:
        """`max_request_size_mb` in bytes."""
        return self.max_request_size_mb << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """`audit`: the log nobody can rewrite, and the running log."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = setting(
        choice("DEBUG", "INFO", "WARNING", "ERROR"),
        "Least level of the running log on standard error.",
        default="INFO",
    )
    log_file: Path | None = setting(
        path(), "The audit log; else audit/log.jsonl in the home folder.", default=None
    )
    tamper_protection: bool = setting(
        flag(),
        "Hash tree and signed checkpoints; false leaves a plain file that anyone can edit.",
        default=True,
    )
    durability: Literal["effects", "every", "written"] = setting(
        choice("effects", "every", "written"),
        'Which results wait for the disk: of calls that may change something, of all, or "written": none.',
        default="effects",
    )


def _known_rule(rule_id: str) -> str:
    from sekisho.detect import check_rule_id  # noqa: PLC0415  # plugin servers read this file too, and need no rules

    return check_rule_id(rule_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """`inspection`: what the content scan does with what it finds (docs/concepts/content-scan.md)."""

    arguments: Literal["refuse", "record", "off"] = setting(
        choice("refuse", "record", "off"),
        'Of a client\'s arguments: "refuse" ends a call that no honest caller makes, "record" only notes it.',
        default="refuse",
    )
    results: Literal["refuse", "record", "off"] = setting(
        choice("refuse", "record", "off"),
        "Of a plugin's results; refusing them stops injected orders and, now and then, an honest text.",
        default="record",
    )
    disabled_rules: tuple[str, ...] = setting(
        listed(judged(text(r"[a-z]+\.[a-z0-9_]+", "the id of a content rule"), _known_rule)),
        "Content rules that are not applied, by id.",
        default=(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`approval`: what happens to an operation that a plugin's require_approval lists."""

    answer: Literal["no", "yes", "ask"] = setting(
        choice("no", "yes", "ask"),
        'The standing answer; "yes" lets them all pass, "ask" asks the person behind the client each time.',
        default="no",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
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
    client_requests: tuple[str, ...] = setting(
        client_requests(), "What it may ask of a client in the midst of a call.", default=("elicitation",)
    )
    instances: Literal["shared", "client", "session"] = setting(
        choice("shared", "client", "session"),
        'Whose calls one process of it serves: of all clients, of one "client", or of one "session" (legacy clients).',
        default="shared",
    )
    max_instances: int = setting(
        whole(1, 256),
        "Most processes of it beside the one that is listed; each may use as much as its sandbox says.",
        default=8,
    )
    instance_idle_seconds: float = setting(
        number(0.1, 86_400),
        "Time without calls after which the process of a client or session ends.",
        default=300.0,
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
    settings: tuple[tuple[str, str], ...] = setting(
        plugin_settings(), "Values handed to it as variables: url becomes NAME_URL.", default=()
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
    roots: tuple[Root, ...] | None = setting(
        roots(),
        "Places it works in, which narrow everything below: a file of roots, or tables uri, name, permissions.",
        default=None,
    )
    sandbox: Sandbox = setting(nested(Sandbox), "How much it may use.", default=Sandbox())
    network_policy: NetworkPolicy = setting(
        nested(NetworkPolicy), "Hosts it may reach.", default=NetworkPolicy()
    )
    filesystem_policy: FilesystemPolicy = setting(
        nested(FilesystemPolicy), "Files it may see.", default=FilesystemPolicy()
    )
    oauth: OAuth = setting(nested(OAuth), "How its server at upstream is logged in to.", default=OAuth())
    secrets: tuple[SecretGrant, ...] = setting(
        secrets_table(), "Secrets it may use at named hosts without seeing them, by variable.", default=()
    )

    def __post_init__(self) -> None:
        if self.upstream_headers and not self.upstream:
            raise Wrong("stands without upstream", remedy="add upstream", key="upstream_headers")
        if self.command and self.upstream:
            raise Wrong("stands beside command; expected one of the two", remedy="remove one", key="upstream")
        check_package(self.package, self.entry, self.arguments, command=self.command, upstream=self.upstream)
        if not (self.command or self.package or self.upstream or self.url):
            raise Wrong(
                "names nothing to reach or run; expected url, command, package or upstream",
                remedy="add one of them",
            )
        if self.oauth.settings is not None and not self.upstream:
            raise Wrong("stands without upstream", remedy="add upstream, or remove oauth", key="oauth")
        if self.oauth.settings is not None and self.upstream_headers:
            raise Wrong("stands beside upstream_headers", remedy="keep one of the two", key="oauth")
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
        granted = grants_of(
            environment=self.environment,
            allowed_operations=self.allowed_operations,
            sandbox=self.sandbox,
            network=self.network_policy,
            files=self.filesystem_policy,
            secrets=self.secrets,
        )
        return within_roots(granted, self.roots, is_walled=self.runs_here and not self.upstream)

    @property
    def workload(self) -> Workload:
        """The plugin as its plugin server runs it."""
        narrowed = self._narrowed
        return Workload(
            name=self.name,
            command=self.command,
            package=package_of(self.package),
            entry=self.entry,
            arguments=self.arguments,
            upstream=self.upstream,
            upstream_ca_path=self.upstream_ca_path,
            upstream_headers=self.upstream_headers,
            upstream_private=self.upstream_private,
            working_directory=self.working_directory,
            runtime_paths=self.runtime_paths,
            settings=self.settings,
            grants=narrowed.grants,
            isolation=self.sandbox.isolation,
            driver=self.sandbox.driver,
            engine=self.sandbox.engine,
            image=self.sandbox.image,
            oci_runtime=self.sandbox.oci_runtime,
            uids=self.sandbox.uids,
            warm=self.warm,
            preload=self.preload,
            client_requests=self.client_requests,
            instances=self.instances,
            max_instances=self.max_instances,
            instance_idle_s=self.instance_idle_seconds,
            oauth=self.oauth.settings,
            roots=None if self.roots is None else narrowed.roots,
            idle_roots=narrowed.idle,
            runtime=self.runtime,
        )


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """The whole core file."""

    home: Path | None = setting(
        path(),
        "Folder of keys, log and registry, unless $SEKISHO_HOME names one; else the user's data folder.",
        default=None,
    )
    core_server: CoreServer = setting(nested(CoreServer), "The door for MCP clients.", default=CoreServer())
    security: Security = setting(nested(Security), "How much a client may ask.", default=Security())
    auth: Auth = setting(nested(Auth), "Whose tokens open the door.", default=Auth())
    limits: Limits = setting(
        nested(Limits), "What a message, a connection and a client may cost.", default=Limits()
    )
    audit: Audit = setting(nested(Audit), "The audit log and the running log.", default=Audit())
    plugins: Plugins = setting(nested(Plugins), "The plugins.", default=Plugins())
    install: Install = setting(nested(Install), "Where packages come from.", default=Install())
    inspection: Inspection = setting(nested(Inspection), "The content scan.", default=Inspection())
    approval: Approval = setting(nested(Approval), "The standing answer to approvals.", default=Approval())
    source: Source = field(default=Source(), compare=False, repr=False)

    def __post_init__(self) -> None:
        check_scoped_names(self.auth, {one.name: one.allowed_operations for one in self.plugins.servers})

    def audit_log(self, home: Path) -> Path:
        """Where the audit log stands, given the home folder in use."""
        return self.audit.log_file or home / "audit" / "log.jsonl"

    def plugin(self, name: str) -> PluginEntry:
        """The plugin of that name; raises Misconfigured."""
        for one in self.plugins.servers:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.plugins.servers)
        raise Wrong(
            f"{self.source.path}: no plugin is named {name}; configured: {known or 'none'}",
            remedy="use one of these" if known else "list it in a table [[plugins.servers]]",
        )

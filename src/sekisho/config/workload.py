"""What one plugin is and what it may touch: the tables that the core file and the plugin file share.

Guarantees that both files say the same thing with the same words, and that both end in one `Workload`, whose
`grants` is the single statement every enforcer renders (`policy.grants`). Ranges and host rules are judged
there; this module only names them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sekisho.config.field import (
    Kind,
    Wrong,
    choice,
    described,
    flag,
    judged,
    listed,
    number,
    setting,
    text,
    whole,
)
from sekisho.config.values import is_secret_name
from sekisho.credentials import OAuthSettings
from sekisho.install import PackageSpec
from sekisho.policy import SecretGrant
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.policy.roots import Narrowed, Root, narrow

__all__ = [
    "FilesystemPolicy",
    "NetworkPolicy",
    "Sandbox",
    "Workload",
    "command_words",
    "grants_of",
    "module_name",
    "plugin_settings",
    "settings_names",
    "within_roots",
]

_BASE = LimitGrant()
_OPEN = NetworkGrant()


def _limit(name: str, low: int, high: int) -> Kind[int]:
    return judged(whole(low, high), lambda value: _limits(name, value))


def _seconds(name: str, high: float) -> Kind[float]:
    return judged(number(0.001, high), lambda value: _limits(name, value))


def _limits(name: str, value: Any) -> LimitGrant:
    """One limit among the defaults: its range is judged where limits are defined."""
    return replace(_BASE, **{name: value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """`sandbox`: how much the plugin may use, and how strong its walls are."""

    max_memory_mb: int = setting(
        _limit("max_memory_mb", 16, 1 << 20),
        "Memory of all its processes together, MB.",
        default=_BASE.max_memory_mb,
    )
    max_cpu_percent: int = setting(
        _limit("max_cpu_percent", 1, 100_000),
        "Processor time; 100 is one core.",
        default=_BASE.max_cpu_percent,
    )
    execution_timeout_seconds: float = setting(
        _seconds("execution_timeout_s", 86_400),
        "Longest run of one call; then the whole process tree is killed.",
        default=_BASE.execution_timeout_s,
    )
    max_pids: int = setting(
        _limit("max_pids", 1, 1 << 20), "Processes and threads at one time.", default=_BASE.max_pids
    )
    max_open_files: int = setting(
        _limit("max_open_files", 16, 1 << 20), "Open files of each process.", default=_BASE.max_open_files
    )
    max_tmp_mb: int = setting(
        _limit("max_tmp_mb", 1, 1 << 20), "Size of its private /tmp, MB.", default=_BASE.max_tmp_mb
    )
    start_timeout_seconds: float = setting(
        _seconds("start_timeout_s", 3_600),
        "Longest time from start to its first answer.",
        default=_BASE.start_timeout_s,
    )
    io_mbps: int = setting(
        _limit("io_mbps", 0, 1 << 20),
        "Reading and writing of each disk, MB a second each; 0 is without limit. Needs a control group.",
        default=_BASE.io_mbps,
    )
    idle_stop_seconds: float = setting(
        judged(number(0, 86_400), lambda value: _limits("idle_stop_s", value)),
        "Time without calls after which it is ended, to be started again by the next; 0 is never.",
        default=_BASE.idle_stop_s,
    )
    isolation: str = setting(
        choice("strict", "standard", "minimal", "unsafe-none"),
        "How strong its walls have to be; what this host cannot give is refused, never weakened in silence. "
        '"unsafe-none" starts it without walls.',
        default="strict",
    )
    driver: str = setting(
        choice("auto", "bubblewrap", "native", "oci", "landlock"),
        "Who raises them; auto takes the first that gives the wanted isolation, in this order.",
        default="auto",
    )
    engine: str = setting(
        choice("auto", "podman", "docker"), "Container engine of the driver oci.", default="auto"
    )
    image: str = setting(
        text(
            r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,254}",
            "an image that the engine has, such as localhost/notes@sha256:…",
        ),
        "Container image that brings its programs, never fetched; else those of this host are shown in an empty one.",
        default="",
    )
    oci_runtime: str = setting(
        text(r"[a-z0-9][a-z0-9_-]{0,63}", "a runtime the engine knows, such as runsc"),
        'Runtime of the engine; "runsc" is gVisor, for plugins without network. Else the engine\'s own.',
        default="",
    )
    uids: str = setting(
        text(r"([1-9]\d{3,9}-[1-9]\d{3,9})?", 'a range of users such as "600000-665535", or ""'),
        'Users of this host from which each plugin gets one of its own, where sekisho runs as root; "" is none.',
        default="600000-665535",
    )

    def __post_init__(self) -> None:
        for key in ("image", "oci_runtime"):
            if getattr(self, key) and self.driver != "oci":
                raise Wrong('stands without driver = "oci"', remedy='add driver = "oci"', key=key)
        if self.engine != "auto" and self.driver != "oci":
            raise Wrong('stands without driver = "oci"', remedy='add driver = "oci"', key="engine")


def _hosts(judge: Callable[[tuple[str, ...]], object], star: str) -> Kind[tuple[str, ...]]:
    expected = f"a list of host names such as api.example.com or *.example.com{star}"
    return judged(listed(text()), judge, expected)


def _ports(judge: Callable[[tuple[int, ...]], object]) -> Kind[tuple[int, ...]]:
    return judged(listed(whole(1, 65535)), judge)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPolicy:
    """`network_policy`: the hosts the plugin may reach; nothing unless listed."""

    allowed_domains: tuple[str, ...] = setting(
        _hosts(lambda value: NetworkGrant(allowed_domains=value), ""), "Hosts it may reach.", default=()
    )
    blocked_domains: tuple[str, ...] = setting(
        _hosts(lambda value: NetworkGrant(blocked_domains=value), ' or "*"'),
        'Hosts taken out of the allowed ones; a named block wins; "*" closes the rest (as always).',
        default=(),
    )
    allowed_ports: tuple[int, ...] = setting(
        _ports(lambda value: NetworkGrant(allowed_ports=value)),
        "Ports it may reach there.",
        default=(80, 443),
    )
    allow_localhost: bool = setting(flag(), "Whether it may reach services of this machine.", default=False)
    localhost_ports: tuple[int, ...] = setting(
        _ports(lambda value: NetworkGrant(localhost_ports=value)), "Which of them, by port.", default=()
    )
    mode: Literal["enforce", "learn"] = setting(
        choice("enforce", "learn"),
        "learn: while you watch, every public host asked for by name is reached on ports 80 and 443, "
        "and written down for sekisho egress propose.",
        default="enforce",
    )
    max_connections: int = setting(
        whole(1, 1 << 16), "Connections it may have open at one time.", default=_OPEN.max_connections
    )
    max_mb_per_minute: int = setting(
        whole(0, 1 << 30),
        "What it may send and receive; beyond it connections slow down. 0: no limit.",
        default=_OPEN.max_mb_per_minute,
    )
    intercept_tls: bool = setting(
        flag(),
        "Whether the gate opens its TLS, with an authority made for it alone, to judge requests and put secrets in.",
        default=False,
    )

    def __post_init__(self) -> None:
        if self.allow_localhost and not self.localhost_ports:
            raise Wrong(
                "opens no port; expected localhost_ports beside it",
                remedy="list the ports in localhost_ports",
                key="allow_localhost",
            )


def _folders(judge: Callable[[tuple[str, ...]], object]) -> Kind[tuple[str, ...]]:
    return judged(listed(text()), judge, "a list of absolute paths")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemPolicy:
    """`filesystem_policy`: what the plugin sees of the file system; the longest path wins."""

    read_only_paths: tuple[str, ...] = setting(
        _folders(lambda value: FileGrant(read_only_paths=value)), "Paths it may read.", default=()
    )
    writable_paths: tuple[str, ...] = setting(
        _folders(lambda value: FileGrant(writable_paths=value)), "Paths it may read and write.", default=()
    )
    blocked_paths: tuple[str, ...] = setting(
        _folders(lambda value: FileGrant(blocked_paths=value)), "Paths taken out of the others.", default=()
    )
    persist: Literal["direct", "review", "discard"] = setting(
        choice("direct", "review", "discard"),
        "Where its writes go: into the paths; review: into a draft, until sekisho changes keeps or discards it; "
        "discard: nowhere, they end with the plugin.",
        default="direct",
    )


def command_words() -> Kind[tuple[str, ...]]:
    """A program and its arguments; a list, never a line for a shell."""

    def read(value: object, _folder: Path) -> tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            raise Wrong(f"is {described(value)}" if value != [] else "is empty")
        if not value[0] or any("\0" in one for one in value):
            raise Wrong("names no program, or holds a NUL character")
        return tuple(value)

    return Kind("list of text", 'a list of words such as ["npx", "-y", "server"]', read)


def module_name() -> Kind[str]:
    """A Python module as `import` names it."""
    return text(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", "a Python module such as mcp.server")


def plugin_settings() -> Kind[tuple[tuple[str, str], ...]]:
    """A table of plain values that become environment variables of the plugin."""

    def read(value: object, _folder: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Wrong(f"is {described(value)}")
        return tuple((key, _as_text(key, one)) for key, one in value.items())

    return Kind("table", "a table of texts, numbers and true/false", read)


def _as_text(key: str, value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str() if "\0" not in value:
            return value
        case _:
            shown = "is a text with a NUL character" if isinstance(value, str) else f"is {described(value)}"
            raise Wrong(f"{key} {shown}")


def settings_names(name: str, settings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The variables that carry `settings` to the plugin: `url` of `wordpress-handler` is WORDPRESS_URL."""
    prefix = name.partition("-")[0].upper()
    named: dict[str, str] = {}
    for key, value in settings:
        variable = f"{prefix}_{key}".upper().replace("-", "_").replace(".", "_")
        if variable in named:
            raise Wrong(f"gives {variable} twice", remedy="keep one of the two spellings")
        Grants(environment=(variable,))  # loader and interpreter variables pass in no disguise
        named[variable] = value
    return named


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One plugin as its plugin server runs it: what to start, with what, behind which walls.

    `command` starts an MCP server on stdio; `upstream` names one that already speaks Streamable HTTP; `package` is
    one to be installed, whose command is known once it is. Never two of them.
    """

    name: str
    command: tuple[str, ...]
    upstream: str | None
    working_directory: Path | None
    runtime_paths: tuple[Path, ...]
    settings: tuple[tuple[str, str], ...]
    grants: Grants
    isolation: str
    driver: str = "auto"
    engine: str = "auto"
    image: str = ""
    oci_runtime: str = ""
    uids: str = ""
    warm: bool = True
    preload: tuple[str, ...] | None = None
    client_requests: tuple[str, ...] = ("elicitation",)
    instances: Literal["shared", "client", "session"] = "shared"
    max_instances: int = 8
    instance_idle_s: float = 300.0
    oauth: OAuthSettings | None = None
    upstream_ca_path: Path | None = None
    upstream_headers: tuple[tuple[str, str], ...] = ()
    upstream_private: bool = False
    package: PackageSpec | None = None
    entry: str | None = None
    arguments: tuple[str, ...] = ()
    roots: tuple[Root, ...] | None = None
    """Those that give it something; None when the file states none."""
    idle_roots: tuple[str, ...] = ()
    """A sentence on each root that gives it nothing."""
    runtime: Literal["auto", "deno", "wasm"] = "auto"

    @property
    def gates(self) -> int:
        """How many sandboxes of it may have a way out at the same time, besides the one that is listed."""
        return 0 if self.instances == "shared" else self.max_instances

    @property
    def settings_environment(self) -> Mapping[str, str]:
        """Variables whose values the configuration states."""
        return settings_names(self.name, self.settings)

    @property
    def secret_settings(self) -> tuple[str, ...]:
        """Settings that look like a secret written into the file."""
        return tuple(key for key, _ in self.settings if is_secret_name(key))


def grants_of(
    *,
    environment: tuple[str, ...],
    allowed_operations: tuple[str, ...],
    sandbox: Sandbox,
    network: NetworkPolicy,
    files: FilesystemPolicy,
    secrets: tuple[SecretGrant, ...] = (),
) -> Grants:
    """The one statement of what a plugin may touch."""
    return Grants(
        network=NetworkGrant(
            allowed_domains=network.allowed_domains,
            blocked_domains=network.blocked_domains,
            allowed_ports=network.allowed_ports,
            allow_localhost=network.allow_localhost,
            localhost_ports=network.localhost_ports,
            mode=network.mode,
            max_connections=network.max_connections,
            max_mb_per_minute=network.max_mb_per_minute,
            intercept_tls=network.intercept_tls,
        ),
        files=FileGrant(
            read_only_paths=files.read_only_paths,
            writable_paths=files.writable_paths,
            blocked_paths=files.blocked_paths,
            persist=files.persist,
        ),
        limits=LimitGrant(
            max_memory_mb=sandbox.max_memory_mb,
            max_cpu_percent=sandbox.max_cpu_percent,
            execution_timeout_s=sandbox.execution_timeout_seconds,
            max_pids=sandbox.max_pids,
            max_open_files=sandbox.max_open_files,
            max_tmp_mb=sandbox.max_tmp_mb,
            start_timeout_s=sandbox.start_timeout_seconds,
            io_mbps=sandbox.io_mbps,
            idle_stop_s=sandbox.idle_stop_seconds,
        ),
        environment=environment,
        allowed_operations=allowed_operations,
        secrets=secrets,
        isolation=sandbox.isolation,
    )


def within_roots(grants: Grants, roots: tuple[Root, ...] | None, *, is_walled: bool) -> Narrowed:
    """The grants of a plugin within its roots; walls of ours stand around those alone that run here."""
    if roots is None or not is_walled:
        return Narrowed(grants=grants, roots=roots or (), idle=())
    if grants.network.mode == "learn":
        raise Wrong(
            'stands beside network_policy.mode = "learn"; roots say already what it may reach',
            remedy="take roots out while it learns, or the mode",
            key="roots",
        )
    return narrow(grants, roots)

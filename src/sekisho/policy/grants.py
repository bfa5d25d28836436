"""What one plugin may touch: the single statement that every enforcer renders.

Sandbox drivers, the egress proxy, the lock file and the review page all read this value; none of them has an
allow-list of its own. An empty grant allows nothing. Constructors refuse what cannot be honoured, so a
half-valid grant never exists. Knows no file system: whether a path exists is asked where it is mounted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from sekisho.errors import Misconfigured
from sekisho.policy.environment import is_dangerous
from sekisho.policy.secrets import SecretGrant

__all__ = ["FileGrant", "Grants", "LimitGrant", "NetworkGrant"]

MIN_MEMORY_MB: Final = 16  # below this no interpreter starts
_HOST_RULE: Final = re.compile(
    r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
)
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGrant:
    """Hosts a plugin may reach, by exact name or `*.suffix`; nothing unless listed.

    `blocked_domains` narrows: a specific block beats an allow; `*` states the default and beats nothing.
    `endpoints`: when there are any, which hosts and ports go together; it narrows, and lists nothing by itself.
    `intercept_tls`: the gate ends TLS itself, with an authority that only this plugin trusts, and reads what is inside.
    `mode`: while it learns, every public host asked for by name is reached on the web's ports, and written down.
    `max_mb_per_minute`: both directions together; 0 is no limit.
    """

    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = (80, 443)
    allow_localhost: bool = False
    localhost_ports: tuple[int, ...] = ()
    intercept_tls: bool = False
    mode: Literal["enforce", "learn"] = "enforce"
    max_connections: int = 256
    max_mb_per_minute: int = 600
    endpoints: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        for rule in self.allowed_domains + self.blocked_domains:
            if not (rule == "*" and rule in self.blocked_domains) and not _HOST_RULE.fullmatch(rule):
                raise Misconfigured(
                    "config_invalid",
                    f"{rule!r} is not a host name",
                    remedy="write a lower-case name like api.example.com or *.example.com, never an address",
                )
        for port in self.allowed_ports + self.localhost_ports:
            if not 1 <= port <= 65535:
                raise Misconfigured("config_invalid", f"{port} is not a port", remedy="use 1 to 65535")
        if self.mode not in ("enforce", "learn"):
            raise Misconfigured("config_invalid", f"mode {self.mode!r} is unknown", remedy="enforce or learn")
        for name, value, low, high in (
            ("max_connections", self.max_connections, 1, 1 << 16),
            ("max_mb_per_minute", self.max_mb_per_minute, 0, 1 << 30),
        ):
            if not low <= value <= high:
                raise Misconfigured(
                    "config_invalid", f"{name} = {value} is out of range", remedy=f"choose {low} to {high}"
                )
        if self.allow_localhost and not self.localhost_ports:
            raise Misconfigured(
                "config_invalid",
                "allow_localhost needs the ports it opens",
                remedy="list them in localhost_ports",
            )

    @property
    def is_closed(self) -> bool:
        """True when nothing at all may be reached."""
        return not self.allowed_domains and not self.allow_localhost and self.mode != "learn"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGrant:
    """Absolute paths a plugin may read or write; the longest prefix decides, and unlisted means absent.

    `persist`: where its writes go. direct: into the folders; review: into a draft, until the operator keeps or discards
    it; discard: nowhere, they end with the plugin.
    """

    read_only_paths: tuple[str, ...] = ()
    writable_paths: tuple[str, ...] = ()
    blocked_paths: tuple[str, ...] = ()
    persist: Literal["direct", "review", "discard"] = "direct"

    def __post_init__(self) -> None:
        if self.persist not in ("direct", "review", "discard"):
            raise Misconfigured(
                "config_invalid", f"persist {self.persist!r} is unknown", remedy="direct, review or discard"
            )
        for path in self.read_only_paths + self.writable_paths + self.blocked_paths:
            if not path.startswith("/") or "\0" in path or ".." in PurePosixPath(path).parts:
                raise Misconfigured(
                    "config_invalid",
                    f"{path!r} is not an absolute path",
                    remedy="write it from / and without ..",
                )
        for path in self.read_only_paths + self.writable_paths:
            if PurePosixPath(path) == PurePosixPath("/"):
                raise Misconfigured(
                    "config_invalid", "/ cannot be granted", remedy="name the folders it needs"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitGrant:
    """How much a plugin may use.

    `max_cpu_percent`: 100 is one core. `io_mbps` and `idle_stop_s`: 0 means without limit, and never.
    """

    max_memory_mb: int = 512
    max_cpu_percent: int = 100
    execution_timeout_s: float = 30.0
    max_pids: int = 64
    max_open_files: int = 1024
    max_tmp_mb: int = 64
    start_timeout_s: float = 20.0
    io_mbps: int = 0
    idle_stop_s: float = 0.0

    def __post_init__(self) -> None:
        bounds = (
            ("max_memory_mb", self.max_memory_mb, MIN_MEMORY_MB, 1 << 20),
            ("max_cpu_percent", self.max_cpu_percent, 1, 100_000),
            ("execution_timeout_seconds", self.execution_timeout_s, 0.001, 86_400),
            ("max_pids", self.max_pids, 1, 1 << 20),
            ("max_open_files", self.max_open_files, 16, 1 << 20),
            ("max_tmp_mb", self.max_tmp_mb, 1, 1 << 20),
            ("start_timeout_seconds", self.start_timeout_s, 0.001, 3_600),
            ("io_mbps", self.io_mbps, 0, 1 << 20),
            ("idle_stop_seconds", self.idle_stop_s, 0, 86_400),
        )
        for name, value, low, high in bounds:
            if not low <= value <= high:
                raise Misconfigured(
                    "config_invalid", f"{name} = {value} is out of range", remedy=f"choose {low} to {high}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """Everything one plugin may touch.

    `widened`: further settings by which more is within its walls, or other code, in the words of the file. Each is
    enforced where it is read; here they stand to be shown and approved.
    """

    network: NetworkGrant = NetworkGrant()
    files: FileGrant = FileGrant()
    limits: LimitGrant = LimitGrant()
    environment: tuple[str, ...] = ()
    allowed_operations: tuple[str, ...] = ()
    secrets: tuple[SecretGrant, ...] = ()
    isolation: str = "strict"
    widened: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = (*self.environment, *(one.name for one in self.secrets))
        for name in names:
            if not _ENV_NAME.fullmatch(name) or is_dangerous(name):
                raise Misconfigured(
                    "config_invalid",
                    f"environment name {name!r} is not allowed",
                    remedy="loader, interpreter and proxy variables never pass the wall",
                )
        for secret in self.secrets:
            if names.count(secret.name) > 1:
                raise Misconfigured(
                    "config_invalid",
                    f"{secret.name} is a secret and stands in environment too",
                    remedy="name it once: in secrets",
                )

    @property
    def needs_lease(self) -> bool:
        """True when the gate must issue placeholders or an authority before the plugin can start."""
        return self.network.intercept_tls or any(not one.in_environment for one in self.secrets)

"""What one sandboxed plugin needs, and what this host can enforce: the two values every driver reads.

Guarantees that a value of these types is complete and plausible. Deliberately knows no file system, process
or kernel: whether a path exists is asked by `closure`, whether a wall holds is tried by `probe`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants
from sekisho.sandbox.calls.watched import TOLD

__all__ = [
    "CERTIFICATE_PATH",
    "DEFAULT_SEARCH_PATH",
    "INNER_HOME",
    "Capabilities",
    "CgroupVersion",
    "Closure",
    "DriverName",
    "Level",
    "Link",
    "SandboxSpec",
    "WarmStart",
    "unavailable",
]

DEFAULT_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
INNER_HOME: Final = "/home/plugin"
CERTIFICATE_PATH: Final = (
    "/etc/sekisho/gate.pem"  # of the authority with which the gate opens the plugin's TLS
)

CgroupVersion = Literal["v1", "v2", "none"]
Level = Literal["strict", "standard", "minimal", "unsafe-none"]
DriverName = Literal["bubblewrap", "native", "oci", "landlock", "unsafe-none"]
LEVELS: Final[tuple[Level, ...]] = ("strict", "standard", "minimal", "unsafe-none")  # strongest first
CHOICES: Final = ("auto", "bubblewrap", "native", "oci", "landlock")


def unavailable(message: str, remedy: str | None = None) -> Misconfigured:
    """The one way this room says that a wall cannot be built."""
    return Misconfigured("sandbox_unavailable", message, remedy=remedy)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """Start a fork server inside the walls instead of the plugin, which it forks (`warm`).

    `interpreter` is the program with its flags, `code` the fork server, `room` how long its command line must be so
    that the plugin's own fits over it.
    """

    interpreter: tuple[str, ...]
    code: bytes = field(repr=False)
    room: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One plugin: what to run, and what it may touch.

    `environment` holds values, not names; it is the whole environment besides the fixed part of `plan`.
    `certificate`: PEM of an authority that the plugin shall trust; it stands at `CERTIFICATE_PATH` inside.
    `engine`, `image` and `oci_runtime` are for containers: an image brings the programs, which are not sought here then.
    `drafts`: the folder for what it writes, while that waits to be kept. `owner`: its own user on this host, None for
    ours. `told_paths`: which attempts on files are watched, and told where the walls refuse them. `unix_sockets`:
    whether it may make Unix sockets, beside pairs of them. `runtime_paths` are read-only extras its interpreter needs;
    `search_path` finds `argv[0]` on the host.
    """

    name: str
    argv: tuple[str, ...]
    grants: Grants
    environment: Mapping[str, str] = field(default_factory=dict)
    certificate: bytes = b""
    cwd: str | None = None
    runtime_paths: tuple[str, ...] = ()
    isolation: str = "strict"
    driver: str = "auto"
    engine: str = "auto"
    image: str = ""
    oci_runtime: str = ""
    wants_network: bool = False
    search_path: str | None = None
    warm: WarmStart | None = None
    drafts: str | None = None
    owner: int | None = None
    told_paths: str = "all"
    unix_sockets: bool = True

    def __post_init__(self) -> None:
        if not self.argv or not self.argv[0]:
            raise unavailable(
                f"plugin {self.name!r} has no command", "write its command in the configuration"
            )
        if self.isolation not in LEVELS:
            raise unavailable(f"isolation {self.isolation!r} is unknown", "write one of " + ", ".join(LEVELS))
        if self.driver not in CHOICES:
            raise unavailable(f"driver {self.driver!r} is unknown", "write one of " + ", ".join(CHOICES))
        if self.told_paths not in TOLD:
            raise unavailable(f"told_paths {self.told_paths!r} is unknown", "write one of " + ", ".join(TOLD))
        for text in (*self.argv, *self.environment, *self.environment.values(), *self.runtime_paths):
            if "\0" in text:
                raise unavailable(f"plugin {self.name!r} has a NUL character in its command or environment")
        for path in (*self.runtime_paths, *((self.cwd,) if self.cwd is not None else ())):
            if not path.startswith("/"):
                raise unavailable(f"{path!r} is not an absolute path", "write it from /")


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What this host can enforce, with one driver: `level` is the strongest that it gives here.

    `alarm` tells whether the kernel can report a refused system call to us. `missing` names each wall that
    cannot be built; empty means all stand. `cgroup_parents` are (controller, folder) pairs below which a group
    may be made; without a controller a weaker limit takes its place, and the plan says so.
    """

    bwrap: str | None
    machine: str
    cgroup: CgroupVersion = "none"
    cgroup_parents: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()
    driver: DriverName = "bubblewrap"
    level: Level = "strict"
    landlock_abi: int = 0
    alarm: bool = False

    def enforces(self, controller: str) -> bool:
        """True when the kernel itself holds this limit for a whole tree of processes."""
        names = ("io", "blkio") if controller == "io" else (controller,)
        return any(name in names for name, _ in self.cgroup_parents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link to be made inside, so that a path the host resolves also resolves there."""

    path: str
    target: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure:
    """What was found on the host for one spec: nothing in it is a decision, every path in it exists.

    `argv` is the command with an absolute program; `blocked` maps each blocked path that exists to whether it
    is a folder; `missing_blocked` are those that do not exist. `proc_masks` are parts of /proc to hide,
    `proc_folders` those of them that are folders. `localtime` is the host's time zone and
    `zone` its name. `files` are writable paths that are no folders, `mounts_below` other
    file systems inside writable ones.
    """

    argv: tuple[str, ...]
    read_only: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    blocked: tuple[tuple[str, bool], ...] = ()
    missing_blocked: tuple[str, ...] = ()
    proc_masks: tuple[str, ...] = ()
    proc_folders: tuple[str, ...] = ()
    localtime: bytes = b""
    zone: str = ""
    files: tuple[str, ...] = ()
    mounts_below: tuple[str, ...] = ()

"""Turns one spec into the exact walls around it: every argument, mount, filter and limit, printable before
anything runs.

Guarantees
- nothing of the host is inside unless it is listed here; what is listed is read-only unless granted for
  writing;
- the longest listed path decides, and of equal ones the stricter: blocked, then read-only, then writable;
- a blocked path inside a granted one is covered by an empty, read-only cover;
- no path of the kernel's own interfaces (/proc, /sys, /dev) can be granted;
- environment values travel in a descriptor, never on a command line that other users can read.

Deliberately knows no file system, process or clock: what exists was found by `closure`, what holds by
`probe`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final, Literal

from sekisho.sandbox.locks import SCRATCH_HOME, SCRATCH_TMP, Rule, rules_of, shared_rules
from sekisho.sandbox.mount import Mount, MountKind
from sekisho.sandbox.seccomp import assemble, refusals
from sekisho.sandbox.spec import (
    CERTIFICATE_PATH,
    DEFAULT_SEARCH_PATH,
    INNER_HOME,
    Capabilities,
    CgroupVersion,
    Closure,
    DriverName,
    SandboxSpec,
    unavailable,
)
from sekisho.sandbox.staged import NOTHING, Staging, staging_of

__all__ = ["OWN_PROCESSES", "SHARING", "Limits", "Mount", "MountKind", "Plan", "plan"]

INNER_ID: Final = "1000"
HOST_NAME: Final = "plugin"
PROXY_URL: Final = "http://127.0.0.1:3128"
FORK_SERVER: Final = "/etc/sekisho/warm.py"  # where the plugin may read it, and nobody may write
OWN_PROCESSES: Final = (
    2  # bwrap and the first process of the inner world count against the limit too; ours is one
)
HARD_DATA_FACTOR: Final = (
    4  # RLIMIT_DATA is per process and counts untouched pages; it only stops a sudden burst
)
MIN_DATA_BYTES: Final = 1 << 30  # Node reserves this much before it runs a line
SHM_BYTES: Final = 16 << 20  # semaphores and small shared maps; the memory limit counts it as well
_MIB: Final = 1 << 20
_KERNEL_FOLDERS: Final = ("/proc", "/sys", "/dev")
_OWN_NAMESPACES: Final = (
    "bubblewrap",
    "native",
)  # drivers with process numbers and a file system of their own
# The host's /etc is there and may not be read; git takes that for an error unless it is told not to look.
_NO_SYSTEM_FILES: Final = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}
SHARING: Final = ("landlock", "unsafe-none")  # drivers that leave the plugin in the host's own file system


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one plugin may use, and which mechanism holds it."""

    memory_bytes: int
    cpu_percent: int
    pids: int
    memory_by: Literal["cgroup", "guard"]
    pids_by: Literal["cgroup", "rlimit", "guard"]
    cpu_by: Literal["cgroup", "guard"]
    rlimits: tuple[tuple[str, int], ...]
    inner_rlimits: tuple[tuple[str, int], ...]
    io_bytes_per_s: int = 0  # without limit
    own_processes: int = OWN_PROCESSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything the driver needs, and everything a person may want to read first.

    Where bwrap raises the walls, `program` is bwrap and `options` its words; `{fd:NAME}` in them stands for a
    descriptor that holds `data[NAME]`. Elsewhere `mounts` and `rules` say the same; `{scratch}` in them stands for the
    private folder of a plugin without a file system of its own.
    """

    name: str
    program: str
    options: tuple[str, ...] = field(repr=False)
    command: tuple[str, ...]
    mounts: tuple[Mount, ...]
    environment: Mapping[str, str] = field(repr=False)  # values may be secrets
    data: Mapping[str, bytes] = field(repr=False)
    limits: Limits
    wants_network: bool
    cgroup_parents: tuple[tuple[str, str], ...]
    cgroup_version: CgroupVersion
    driver: DriverName = "bubblewrap"
    cwd: str = INNER_HOME
    rules: tuple[Rule, ...] = ()
    refusals: Mapping[int, int] = field(default_factory=dict)
    scratch_bytes: int = 0
    staging: Staging = NOTHING

    @property
    def can_be_warm(self) -> bool:
        """Whether a fork server may live in these walls: it needs processes and scratch space of its own."""
        return self.driver in _OWN_NAMESPACES

    @property
    def has_own_root(self) -> bool:
        """Whether the plugin sees a file system of its own."""
        return self.driver not in SHARING

    @property
    def argv(self) -> tuple[str, ...]:
        """The whole command, as it would be typed; environment values are hidden."""
        hidden = {index + 2 for index, word in enumerate(self.options) if word == "--setenv"}
        shown = ("…" if index in hidden else word for index, word in enumerate(self.options))
        return (self.program, *shown, "--", *self.command) if self.program else self.command

    @property
    def filter_digest(self) -> str:
        """The SHA-256 of the system call filter."""
        code = self.data.get("filter")
        return "none" if code is None else "sha256:" + hashlib.sha256(code).hexdigest()


def plan(spec: SandboxSpec, capabilities: Capabilities, closure: Closure) -> Plan:
    """Draw the walls for one spec on one host.

    Raises:
        Misconfigured: a wall cannot be built here, or a grant cannot be honoured.
    """
    driver = capabilities.driver
    if capabilities.missing or (driver == "bubblewrap" and capabilities.bwrap is None):
        missing = "; ".join(capabilities.missing) or "bwrap is not installed"
        raise unavailable(f"this host cannot wall in plugin {spec.name!r}: {missing}")
    if driver in SHARING:
        return _shared(spec, capabilities, closure)
    data = {**_filters(capabilities, shared=False), **_etc(closure)}
    if spec.certificate:
        data[CERTIFICATE_PATH] = spec.certificate
    command = closure.argv
    if spec.warm is not None:
        data[FORK_SERVER] = spec.warm.code
        command = (*spec.warm.interpreter, FORK_SERVER, "{fd:channel}", " " * spec.warm.room)
    mounts = (*_base(spec, data, closure), *_listed(spec, closure))
    staging = staging_of(spec, closure, driver, mounts)
    environment = _environment(spec, closure)
    options = () if driver != "bubblewrap" else (
        *_namespaces(spec),
        *(word for mount in mounts for word in _words(mount)),
        *(word for mount in mounts if _is_folder_cover(mount) for word in ("--remount-ro", mount.path)),
        "--remount-ro", "/dev", "--remount-ro", "/",
        "--clearenv",
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        "--chdir", spec.cwd or INNER_HOME,
        "--seccomp", "{fd:filter}",
        "--block-fd", "{fd:gate}",
        "--json-status-fd", "{fd:status}",
    )  # fmt: skip
    return Plan(
        name=spec.name,
        program=(capabilities.bwrap or "") if driver == "bubblewrap" else "",
        options=options,
        command=command,
        mounts=mounts,
        environment=environment,
        data=data,
        limits=_limits(spec, capabilities),
        wants_network=spec.wants_network,
        cgroup_parents=capabilities.cgroup_parents,
        cgroup_version=capabilities.cgroup,
        driver=driver,
        cwd=spec.cwd or INNER_HOME,
        rules=rules_of(mounts),
        refusals=refusals(capabilities.machine),
        staging=staging,
    )


def _shared(spec: SandboxSpec, capabilities: Capabilities, closure: Closure) -> Plan:
    """Walls without namespaces: no root of its own, but the same grants as rules, and a narrower filter."""
    if spec.wants_network and capabilities.driver == "landlock":
        raise unavailable(
            f"plugin {spec.name!r} wants the network, which Landlock alone cannot lead through the gate",
            "take the hosts out of network_policy, or make user namespaces work (see sekisho doctor)",
        )
    data = _filters(capabilities, shared=True) if capabilities.driver == "landlock" else {}
    if spec.warm is not None:
        raise unavailable(f"plugin {spec.name!r} cannot be forked inside walls without namespaces")
    listed = _listed(spec, closure)
    staging_of(spec, closure, capabilities.driver, listed)  # refuses what these walls cannot do
    environment = _NO_SYSTEM_FILES | _environment(
        spec, closure, home=SCRATCH_HOME, tmp=SCRATCH_TMP, has_gate=False
    )
    return Plan(
        name=spec.name,
        program="",
        options=(),
        command=closure.argv,
        mounts=tuple(mount for mount in listed if mount.kind in {"read", "write", "cover"}),
        environment=environment,
        data=data,
        limits=_limits(spec, capabilities),
        wants_network=spec.wants_network,
        cgroup_parents=capabilities.cgroup_parents,
        cgroup_version=capabilities.cgroup,
        driver=capabilities.driver,
        cwd=spec.cwd or SCRATCH_HOME,
        rules=shared_rules(listed, has_time_zone=bool(closure.localtime))
        if capabilities.driver == "landlock"
        else (),
        refusals=refusals(capabilities.machine),
        scratch_bytes=spec.grants.limits.max_tmp_mb * _MIB,
    )


def _filters(capabilities: Capabilities, *, shared: bool) -> dict[str, bytes]:
    """The system call filter; and where the kernel can report, the same one with an alarm."""
    watched = not capabilities.enforces("memory")
    silent = {"filter": assemble(capabilities.machine, shared=shared, watched=watched)}
    if not capabilities.alarm:
        return silent
    alarm = assemble(capabilities.machine, shared=shared, watched=watched, alarm=True)
    return {**silent, "alarm": alarm}


def _namespaces(spec: SandboxSpec) -> tuple[str, ...]:
    network = (
        () if spec.wants_network else ("--unshare-net",)
    )  # else the launcher made one with the gate's sockets
    return (
        "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try",
        *network,
        "--uid", INNER_ID, "--gid", INNER_ID,
        "--hostname", HOST_NAME,
        "--cap-drop", "ALL",
        "--die-with-parent", "--new-session",
    )  # fmt: skip


def _etc(closure: Closure) -> dict[str, bytes]:
    """A private /etc: names of the host's users, hosts and resolvers never show inside."""
    files = {
        "/etc/passwd": f"root:x:0:0::/:/bin/false\nplugin:x:{INNER_ID}:{INNER_ID}::{INNER_HOME}:/bin/sh\n",
        "/etc/group": f"root:x:0:\nplugin:x:{INNER_ID}:\n",
        "/etc/hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
        "/etc/hostname": f"{HOST_NAME}\n",
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
    }
    made = {path: text.encode() for path, text in files.items()}
    if closure.localtime:
        made["/etc/localtime"] = closure.localtime
    if closure.localtime and closure.zone:
        made["/etc/timezone"] = f"{closure.zone}\n".encode()
    return made


def _base(spec: SandboxSpec, data: Mapping[str, bytes], closure: Closure) -> tuple[Mount, ...]:
    """What every plugin sees: kernel views of itself, private scratch space, a private /etc."""
    scratch = spec.grants.limits.max_tmp_mb * _MIB
    return (
        Mount(kind="proc", path="/proc"),
        # Our uid may be root, and root may write kernel settings even without capabilities: core_pattern is a way out.
        Mount(kind="read", path="/proc/sys", source="/proc/sys"),
        *(_cover(path, is_folder=path in closure.proc_folders) for path in closure.proc_masks),
        Mount(kind="dev", path="/dev"),
        Mount(kind="tmpfs", path="/dev/shm", size=SHM_BYTES, mode="1777"),  # noqa: S108 - inside the wall
        Mount(kind="tmpfs", path="/tmp", size=scratch, mode="1777"),  # noqa: S108 - inside the wall
        Mount(kind="tmpfs", path=INNER_HOME, size=scratch, mode="0700"),
        *(Mount(kind="file", path=path, mode="0444") for path in data if path.startswith("/")),
    )


def _listed(spec: SandboxSpec, closure: Closure) -> tuple[Mount, ...]:
    """What is bound from the host, shallow before deep, so that the longest path is mounted last and wins."""
    files = spec.grants.files
    # Later assignments win: a path that is listed twice gets the stricter of its grants.
    chosen: dict[str, Mount] = {}
    for path in map(_normal, files.writable_paths):
        chosen[path] = Mount(kind="write", path=path, source=path)
    for path in map(_normal, files.read_only_paths):
        chosen[path] = Mount(kind="read", path=path, source=path)
    for path in closure.read_only:
        chosen.setdefault(path, Mount(kind="read", path=path, source=path))
    for path in map(_normal, (*files.writable_paths, *files.read_only_paths)):
        if _is_below(path, _KERNEL_FOLDERS):
            raise unavailable(
                f"{path} cannot be granted", "/proc, /sys and /dev are the kernel's own; leave them out"
            )
    bound = tuple(chosen)
    for path in closure.missing_blocked:
        if _is_below(path, bound):
            raise unavailable(
                f"blocked path {path} does not exist, so it cannot be covered inside a granted folder",
                "create it empty, or grant less",
            )
    for path, is_folder in closure.blocked:
        if path == "/usr":
            raise unavailable(f"blocked path {path} would hide the system itself", "block what lies below it")
        # Where nothing is bound at it or above it, nothing of the host is there to hide: what is listed below is longer
        # and wins, and the rest was never shown. So "/" says in words what holds in any case.
        if _is_below(path, bound):
            chosen[path] = _cover(path, is_folder=is_folder)
    _pin(chosen)
    links = tuple(Mount(kind="link", path=link.path, source=link.target) for link in closure.links)
    return (*links, *(chosen[path] for path in sorted(chosen, key=_depth)))


def _pin(chosen: dict[str, Mount]) -> None:
    """Mount the folders on the way to each exception too: a mount cannot be renamed.

    Else a plugin would rename the folder around a blocked path or a read-only one, put an empty one in its place, and
    find the real one open at its next start.
    """
    for path in [path for path, mount in chosen.items() if mount.kind in {"read", "cover"}]:
        for above in PurePosixPath(path).parents:
            around = next((chosen[str(one)].kind for one in above.parents if str(one) in chosen), None)
            if str(above) not in chosen and around == "write":
                chosen[str(above)] = Mount(kind="write", path=str(above), source=str(above))


def _cover(path: str, *, is_folder: bool) -> Mount:
    return Mount(kind="cover", path=path, source="" if is_folder else "/dev/null", size=4096)


def _is_folder_cover(mount: Mount) -> bool:
    return mount.kind == "cover" and not mount.source


def _words(mount: Mount) -> tuple[str, ...]:
    """One mount in the words of bwrap."""
    match mount.kind:
        case "read":
            return ("--ro-bind", mount.source, mount.path)
        case "write":
            return ("--bind", mount.source, mount.path)
        case "link":
            return ("--symlink", mount.source, mount.path)
        case "proc":
            return ("--proc", mount.path)
        case "dev":
            return ("--dev", mount.path)
        case "file":
            return ("--perms", mount.mode, "--file", "{fd:" + mount.path + "}", mount.path)
        case "tmpfs":
            return ("--perms", mount.mode, "--size", str(mount.size), "--tmpfs", mount.path)
        case "cover" if mount.source:
            return ("--ro-bind", mount.source, mount.path)
        case "cover":
            return ("--perms", "0555", "--size", str(mount.size), "--tmpfs", mount.path)


def _environment(
    spec: SandboxSpec,
    closure: Closure,
    *,
    home: str = INNER_HOME,
    tmp: str = "/tmp",  # noqa: S108 - inside the wall
    has_gate: bool = True,
) -> dict[str, str]:
    program_folder = str(PurePosixPath(closure.argv[0]).parent)
    direct = {} if spec.grants.network.allow_localhost else {"NO_PROXY": "localhost,127.0.0.1,::1"}
    proxies = {"HTTP_PROXY": PROXY_URL, "HTTPS_PROXY": PROXY_URL, **direct} if has_gate else {}
    return {
        "LANG": "C.UTF-8",
        "TMPDIR": tmp,
        **spec.environment,
        "HOME": home,
        "PATH": ":".join(dict.fromkeys((program_folder, *DEFAULT_SEARCH_PATH.split(":")))),
        **proxies,
        **{name.lower(): value for name, value in proxies.items()},
    }


def _limits(spec: SandboxSpec, capabilities: Capabilities) -> Limits:
    asked = spec.grants.limits
    if asked.io_mbps and not capabilities.enforces("io"):
        raise unavailable(
            f"io_mbps of plugin {spec.name!r} cannot be enforced: there is no control group for disks here",
            "leave io_mbps out, or delegate the io controller to this user (systemd: Delegate=yes)",
        )
    memory = asked.max_memory_mb * _MIB
    by_group = capabilities.enforces("memory")
    pids_by_group = capabilities.enforces("pids")
    is_sharing = capabilities.driver in SHARING  # then the kernel would count all processes of our user
    # Deno reserves more than any sensible limit and dies under RLIMIT_DATA; the guard alone watches it.
    bounds_data = not by_group and PurePosixPath(spec.argv[0]).name != "deno"
    data_bytes = max(memory * HARD_DATA_FACTOR, MIN_DATA_BYTES)
    pids = asked.max_pids + (spec.warm is not None)  # the fork server is no process of the plugin's
    return Limits(
        memory_bytes=memory,
        cpu_percent=asked.max_cpu_percent,
        pids=pids,
        own_processes=OWN_PROCESSES if capabilities.driver == "bubblewrap" else 1,
        memory_by="cgroup" if by_group else "guard",
        pids_by="cgroup" if pids_by_group else "guard" if is_sharing else "rlimit",
        cpu_by="cgroup" if capabilities.enforces("cpu") else "guard",
        io_bytes_per_s=asked.io_mbps * _MIB,
        rlimits=(("CORE", 0),),
        inner_rlimits=(
            ("NOFILE", asked.max_open_files),
            # Set inside, where the kernel counts the processes of this plugin alone.
            *(() if pids_by_group or is_sharing else (("NPROC", pids + 1),)),
            *((("DATA", data_bytes),) if bounds_data else ()),
        ),
    )


def _normal(path: str) -> str:
    text = str(PurePosixPath(path))
    return text[1:] if text.startswith("//") else text


def _depth(path: str) -> tuple[int, str]:
    return (path.count("/"), path)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)

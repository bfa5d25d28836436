"""Turns one spec into the exact walls around it: every argument, mount, filter and limit, printable before
anything runs.

Guarantees
- nothing of the host is inside unless it is listed here, read-only unless granted for writing (`visible`);
- a limit that nothing can hold is refused (`allowance`);
- environment values travel in a descriptor, never on a command line that other users can read.

Deliberately knows no file system, process or clock: what exists was found by `closure`, what holds by
`probe`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from sekisho.policy.grants import LimitGrant
from sekisho.sandbox.calls.seccomp import MACHINES, assemble, refusals
from sekisho.sandbox.calls.watched import TOLD, Told, Watched, watched_calls
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.allowance import SHARING, Limits, limits_of
from sekisho.sandbox.plans.bwrap_words import bwrap_words
from sekisho.sandbox.plans.locks import SCRATCH_HOME, SCRATCH_TMP, Rule, rules_of, shared_rules
from sekisho.sandbox.plans.spec import (
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
from sekisho.sandbox.plans.staged import NOTHING, Staging, staging_of
from sekisho.sandbox.plans.visible import base_mounts, listed_mounts, private_etc

__all__ = ["SHARING", "Plan", "plan"]

PROXY_URL: Final = "http://127.0.0.1:3128"
FORK_SERVER: Final = "/etc/sekisho/warm.py"  # where the plugin may read it, and nobody may write
_MIB: Final = 1 << 20
_OWN_NAMESPACES: Final = (
    "bubblewrap",
    "native",
)  # drivers with process numbers and a file system of their own
# The host's /etc is there and may not be read; git takes that for an error unless it is told not to look.
_NO_SYSTEM_FILES: Final = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_ATTR_NOSYSTEM": "1"}


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
    watched: Mapping[int, Watched] = field(default_factory=dict, repr=False)
    unix_sockets: bool = True
    granted: LimitGrant = field(default_factory=LimitGrant)  # as stated, those too that no wall holds

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
    data = {**_filters(spec, capabilities, shared=False), **private_etc(closure)}
    if spec.certificate:
        data[CERTIFICATE_PATH] = spec.certificate
    command = closure.argv
    if spec.warm is not None:
        data[FORK_SERVER] = spec.warm.code
        command = (*spec.warm.interpreter, FORK_SERVER, "{fd:channel}", " " * spec.warm.room)
    base = base_mounts(spec, data, closure, hides_first=driver == "bubblewrap")
    mounts = (*base, *listed_mounts(spec, closure))
    staging = staging_of(spec, closure, driver, mounts)
    environment = _environment(spec, closure)
    options = bwrap_words(spec, mounts, environment) if driver == "bubblewrap" else ()
    return Plan(
        name=spec.name,
        program=(capabilities.bwrap or "") if driver == "bubblewrap" else "",
        options=options,
        command=command,
        mounts=mounts,
        environment=environment,
        data=data,
        limits=limits_of(spec, capabilities),
        granted=spec.grants.limits,
        wants_network=spec.wants_network,
        cgroup_parents=capabilities.cgroup_parents,
        cgroup_version=capabilities.cgroup,
        driver=driver,
        cwd=spec.cwd or INNER_HOME,
        rules=rules_of(mounts),
        refusals=refusals(capabilities.machine),
        staging=staging,
        watched=_watched(capabilities, _told(spec)),
        unix_sockets=spec.unix_sockets,
    )


def _shared(spec: SandboxSpec, capabilities: Capabilities, closure: Closure) -> Plan:
    """Walls without namespaces: no root of its own, but the same grants as rules, and a narrower filter."""
    if spec.wants_network and capabilities.driver == "landlock":
        raise unavailable(
            f"plugin {spec.name!r} wants the network, which Landlock alone cannot lead through the gate",
            "take the hosts out of network_policy, or make user namespaces work (see sekisho doctor)",
        )
    has_filter = capabilities.driver == "landlock"
    data = _filters(spec, capabilities, shared=True) if has_filter else {}
    if spec.warm is not None:
        raise unavailable(f"plugin {spec.name!r} cannot be forked inside walls without namespaces")
    listed = listed_mounts(spec, closure)
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
        limits=limits_of(spec, capabilities),
        granted=spec.grants.limits,
        wants_network=spec.wants_network,
        cgroup_parents=capabilities.cgroup_parents,
        cgroup_version=capabilities.cgroup,
        driver=capabilities.driver,
        cwd=spec.cwd or SCRATCH_HOME,
        rules=shared_rules(listed, has_time_zone=bool(closure.localtime))
        if capabilities.driver == "landlock"
        else (),
        refusals=refusals(capabilities.machine),
        watched=_watched(capabilities, _told(spec)),
        unix_sockets=not has_filter,
        scratch_bytes=spec.grants.limits.max_tmp_mb * _MIB,
    )


def _filters(spec: SandboxSpec, capabilities: Capabilities, *, shared: bool) -> dict[str, bytes]:
    """The system call filter; and where the kernel can report, the same one with an alarm."""
    watched = not capabilities.enforces("memory")
    draw = partial(
        assemble, capabilities.machine, shared=shared, watched=watched, unix_sockets=spec.unix_sockets
    )
    if not capabilities.alarm:
        return {"filter": draw()}
    alarm = draw(alarm=True, told=_told(spec), before_bwrap=capabilities.driver == "bubblewrap")
    return {"filter": draw(), "alarm": alarm}


def _told(spec: SandboxSpec) -> Told:
    return next(told for told in TOLD if told == spec.told_paths)


def _watched(capabilities: Capabilities, told: Told) -> dict[int, Watched]:
    """The calls on files that ring, by number; none where nobody could listen."""
    known = MACHINES.get(capabilities.machine)
    if known is None or not capabilities.alarm:
        return {}
    return watched_calls(known.numbers, told, shared=capabilities.driver in SHARING)


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

"""A container engine as a program: podman or docker, found, asked, and told.

Guarantees that every command is bounded in time, that a failure is told in the engine's own last line, that an engine
which would leave out the filter, or a limit that nobody else can hold, is refused (it says so in a warning at most, and
starts all the same), and that the engine inherits only what it needs of our environment. Knows no plugin and no plan.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, Final

from sekisho.errors import Misconfigured
from sekisho.sandbox.host.obstacles import explain_here
from sekisho.sandbox.oci.frame import layer
from sekisho.sandbox.oci.rootless import lack_here
from sekisho.sandbox.oci.words import GVISOR, LABEL, EngineName
from sekisho.sandbox.plans.spec import Link, unavailable
from sekisho.sandbox.running.limits import CGROUP_ROOT

__all__ = [
    "COMMAND_S",
    "ENGINES",
    "ENGINE_VARIABLES",
    "Engine",
    "find_engine",
    "hands_out_listeners",
    "lacking",
    "owner_of",
]

ENGINES: Final[tuple[EngineName, ...]] = ("podman", "docker")
COMMAND_S: Final = 30.0  # a first import writes a layer; everything else takes a tenth of a second
FRAME: Final = "localhost/sekisho-frame"
ENGINE_VARIABLES: Final = (
    "PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS", "TMPDIR",
    "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF", "STORAGE_DRIVER", "DOCKER_HOST",
    "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY",
)  # fmt: skip
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
# podman 5 would say in the plugin's own stderr, at every start, that control groups of version 1 are deprecated.
_QUIET: Final[Mapping[EngineName, Mapping[str, str]]] = {
    "podman": {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1"},
    "docker": NOTHING,
}
# What an engine can hold, in one line of words.
_ABLE: Final[Mapping[EngineName, str]] = {
    "podman": "{{.Version.Version}} {{.Host.OCIRuntime.Version}} {{.Host.CgroupControllers}} "
    "{{if .Host.Security.SECCOMPEnabled}}seccomp{{end}}",
    "docker": "{{if .MemoryLimit}}memory {{end}}{{if .PidsLimit}}pids {{end}}{{if .CPUCfsQuota}}cpu {{end}}"
    "{{.SecurityOptions}}",
}
HELD: Final = ("memory", "pids", "cpu")
_NEEDED: Final = (*HELD, "seccomp")
_OLDEST_PODMAN: Final = (4, 3)  # that leaves a listener in a profile; others were not tried
_OLDEST_LISTENER: Final = {"crun": (1, 0), "runc": (1, 1)}
_RUNTIMES: Final = "{{range $name, $one := .Runtimes}}{{$name}} {{end}}"
_DELEGATE: Final = (
    "delegate control groups version 2 to this user (systemd: Delegate=yes), run sekisho as root, or choose another "
    "driver (see sekisho doctor)"
)
_INSTALL_GVISOR: Final = (
    "install gVisor (Debian: apt install runsc; others: https://gvisor.dev/docs/user_guide/install)"
)
_DOCKER_RUNTIME: Final = (
    ', write "runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--network=none"]}} into '
    "/etc/docker/daemon.json, and restart docker"
)
_PROGRAMS: Final = (
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where podman looks for runtimes
)
_INSTALL: Final = "install podman (apt install podman, dnf install podman), or docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Able:
    """What an engine can do here: the limits that it holds, and whether its filter can tell what it refuses."""

    limits: frozenset[str]
    alarm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """One engine of this host; `options` go before each of its commands.

    `is_rootless`: its containers are the user's own; docker's belong to its service, which is root.
    """

    name: EngineName
    program: str
    options: tuple[str, ...] = ()
    runtime: str = ""
    is_rootless: bool = False
    environment: dict[str, str] = field(default_factory=dict, repr=False)

    def command(self, *words: str) -> tuple[str, ...]:
        """The whole command line."""
        return (self.program, *self.options, *words)

    @property
    def question(self) -> tuple[str, ...]:
        """The command whose answer `lacking` reads."""
        return self.command("info", "--format", _ABLE[self.name])

    def refused(self, able: str) -> tuple[str, ...]:
        """What must be there, and is not, in its answer to `question`: whoever owns its containers can watch them."""
        missing = lacking(able)
        return tuple(one for one in missing if one not in HELD) if self.is_rootless else missing

    async def require(self) -> Able:
        """Hold it against what every container needs; returns what it can do itself.

        Raises:
            Misconfigured: it does not answer, knows no such runtime, or would start without the filter or a limit.
        """
        await self._require_runtime()
        try:
            able = await self.say("info", "--format", _ABLE[self.name])
        except Misconfigured as error:
            raise unavailable(
                error.message, explain_here(error.message) if self.is_rootless else None
            ) from error
        lack = lack_here(able) if self.is_rootless else None
        if lack is not None:
            raise unavailable(f"{self.name} cannot work for this user: {lack[0]}", lack[1])
        if missing := self.refused(able):
            raise unavailable(f"{self.name} cannot hold {', '.join(missing)} here", _DELEGATE)
        held = {*HELD} - {*lacking(able)}
        limits = frozenset(held | {"io"} if _limits_disks(able, self) else held)
        return Able(limits=limits, alarm=self.name == "podman" and hands_out_listeners(able))

    async def _require_runtime(self) -> None:
        if not self.runtime:
            return
        if self.name == "podman":
            is_known = shutil.which(self.runtime, path=_PROGRAMS) is not None
        else:
            is_known = self.runtime in (await self.say("info", "--format", _RUNTIMES)).split()
        if not is_known:
            how = f"install {self.runtime}, and name it to {self.name}"
            if self.runtime == GVISOR:
                how = _INSTALL_GVISOR + (_DOCKER_RUNTIME if self.name == "docker" else "")
            raise unavailable(f"{self.name} knows no runtime {self.runtime!r}", how)

    async def say(self, *words: str, given: bytes = b"", where: Path | None = None) -> str:
        """What one command prints, told from a folder of ours if it matters.

        Raises:
            Misconfigured: it failed, or took too long.
        """
        # files, not pipes: what an engine leaves behind for its container may hold them open for as long as that lives
        with _memory() as out, _memory() as err:
            code = await self._run(self.command(*words), given, where, (out, err))
            out.seek(0)
            err.seek(0)
            said, complaint = out.read(), err.read()
        if code is None:
            raise unavailable(f"{self.name} {words[0]} did not finish within {COMMAND_S:.0f} s")
        if code != 0:
            lines = complaint.decode(errors="replace").strip().splitlines()
            raise unavailable(f"{self.name} {words[0]}: {lines[-1] if lines else 'no reason given'}"[:500])
        return said.decode(errors="replace").strip()

    async def _run(
        self, words: Sequence[str], given: bytes, where: Path | None, to: tuple[BinaryIO, BinaryIO]
    ) -> int | None:
        """The end of one command; None when it took too long, and was ended."""
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=subprocess.PIPE if given else subprocess.DEVNULL,
            stdout=to[0],
            stderr=to[1],
            env=self.environment,
            cwd=where,
        )
        try:
            async with asyncio.timeout(COMMAND_S):
                await process.communicate(given or None)
        except (TimeoutError, asyncio.CancelledError) as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            if isinstance(error, asyncio.CancelledError):
                raise
            return None
        return process.returncode

    async def frame(self, links: Iterable[Link]) -> str:
        """An image with empty folders and these links, made once: all else of a plugin is mounted into it."""
        content = layer(links)
        tag = f"{FRAME}:{hashlib.sha256(content).hexdigest()[:16]}"
        if not await self.say("images", "--quiet", tag):
            await self.say("import", "-", tag, given=content)
        return tag

    async def sweep(self, is_alive: frozenset[str]) -> None:
        """Remove containers of owners that are dead."""
        wanted = '{{index .Config.Labels "' + LABEL + '"}}'
        for ident in (await self.say("ps", "--all", "--quiet", "--filter", f"label={LABEL}")).split():
            with contextlib.suppress(Misconfigured):  # somebody else removed it meanwhile
                owner = await self.say("inspect", "--format", wanted, ident)
                if owner not in is_alive and not _lives(owner):
                    await self.say("rm", "--force", ident)


def find_engine(wanted: str, runtime: str = "", environment: Mapping[str, str] = NOTHING) -> Engine:
    """The engine of this host, of the wanted name or any; it inherits from `environment` what it needs.

    Raises:
        Misconfigured: there is none.
    """
    for name in ENGINES:
        program = shutil.which(name)
        if program is not None and wanted in ("auto", name):
            passed = {key: environment[key] for key in ENGINE_VARIABLES if key in environment}
            options = _podman_options(runtime) if name == "podman" else ()
            return Engine(
                name=name,
                program=program,
                options=options,
                runtime=runtime,
                is_rootless=name == "podman" and os.geteuid() != 0,
                environment={**passed, **_QUIET[name]},
            )
    missing = "no container engine is installed" if wanted == "auto" else f"{wanted} is not installed"
    raise unavailable(missing, _INSTALL)


def lacking(able: str) -> tuple[str, ...]:
    """What is missing in an engine's answer: limits by their names, and the system call filter."""
    words = set(re.findall("[a-z]+", able))
    return tuple(one for one in _NEEDED if one not in words)


def _limits_disks(able: str, engine: Engine) -> bool:
    """Whether disks can be slowed down. docker does not say; its containers are in the groups of this host."""
    if engine.name == "podman":
        return bool({"io", "blkio"} & set(re.findall("[a-z]+", able)))
    try:
        return "io" in (CGROUP_ROOT / "cgroup.controllers").read_text().split()
    except OSError:
        return (CGROUP_ROOT / "blkio").is_dir()


def hands_out_listeners(able: str) -> bool:
    """Whether podman, and the runtime that it named, hand the listener of a filter to somebody else."""
    own = re.match(r"(\d+)\.(\d+)", able)
    found = re.search(r"\b(crun|runc) version (\d+)\.(\d+)", able)
    if own is None or found is None or (int(own[1]), int(own[2])) < _OLDEST_PODMAN:
        return False
    return (int(found[2]), int(found[3])) >= _OLDEST_LISTENER[found[1]]


def _memory() -> BinaryIO:
    """A file of nobody else's."""
    return os.fdopen(os.memfd_create("sekisho"), "w+b", buffering=0)


def owner_of(pid: int) -> str:
    """A process and its birth: a number that is given again is another owner."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return f"{pid}-{fields[19]}"


def _lives(owner: str) -> bool:
    pid = owner.partition("-")[0]
    return pid.isdigit() and owner_of(int(pid)) == owner


def _podman_options(runtime: str) -> tuple[str, ...]:
    """Without systemd podman has to manage control groups itself, and crun refuses their mixed form."""
    has_systemd = Path("/run/systemd/system").is_dir()
    is_mixed = not Path("/sys/fs/cgroup/cgroup.controllers").exists()
    chosen = runtime or ("runc" if is_mixed and shutil.which("runc") else "")
    return (
        *(() if has_systemd else ("--cgroup-manager", "cgroupfs")),
        "--events-backend", "none",
        *(("--runtime", chosen) if chosen else ()),
        # its own network stack has nothing to serve, and old ones do not start in an empty network
        *(("--runtime-flag", "network=none") if chosen == GVISOR else ()),
    )  # fmt: skip

"""A plan in the words of a container engine: one `create` command line that podman and docker both take.

Guarantees
- no capability, no new privilege, no network, no host file but those of the plan, a root nobody can write to, a user of
  its own, our own system call filter, every limit of the plan;
- environment values and files stand in a folder that only we can read, not on a command line.

Judgement only: which engine there is, and whether it works, is `engine`'s business. Source: podman-create(1) 4.3, docker
create 20.10; both read `--mount` as one line of CSV.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final, Literal

from sekisho.errors import Misconfigured
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.allowance import Limits
from sekisho.sandbox.plans.plan import Plan

__all__ = [
    "DOOR_FILE",
    "ENVIRONMENT_FILE",
    "FILTER_FILE",
    "GATE_FOLDER",
    "GVISOR",
    "LABEL",
    "LISTENER_FILE",
    "PID_FILE",
    "START_FILE",
    "EngineName",
    "Frame",
    "create_words",
    "environment_file",
    "sealed_below",
]

EngineName = Literal["podman", "docker"]

FILTER_FILE: Final = "filter.json"
ENVIRONMENT_FILE: Final = "environment"
LISTENER_FILE: Final = "listener"  # the socket to which the runtime brings the filter's listener
GATE_FOLDER: Final = "gate"  # what the start program is, and the door that it knows
START_FILE: Final = "start"
DOOR_FILE: Final = "door"
PID_FILE: Final = "pid"  # podman writes the first process into it
GVISOR: Final = "runsc"
# measured: 88 threads of the host for itself, and five for each process inside
GVISOR_THREADS: Final = 128
NUMBER_PROCESSES: Final = 8192
GVISOR_THREADS_EACH: Final = 6
LABEL: Final = "sekisho.owner"  # who answers for the container: process and its birth
INNER_HOST: Final = "plugin"
_ULIMITS: Final = ("NOFILE", "DATA")
_HIDDEN: Final = (
    "/sys:/proc/acpi:/proc/keys:/proc/timer_list:/proc/irq:/proc/bus:/proc/scsi:/proc/sched_debug"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where one container comes from: its engine, image and user, and the folder that holds its files on the host.

    `user` and `group` are numbers on the host, and `is_own` tells that they are ours; where `is_rootless` they are
    mapped to the plugin's. `runtime` is a name the engine knows, or empty for its own. `disks` are the files of all.
    `start` is the folder inside, by a name that no image can foresee, with the program that becomes the plugin; empty
    where the engine starts the plugin itself.
    """

    engine: EngineName
    name: str
    image: str
    folder: str
    owner: str
    user: int
    group: int
    is_rootless: bool
    is_own: bool
    runtime: str = ""
    disks: tuple[str, ...] = ()
    start: str = ""


def create_words(plan: Plan, frame: Frame) -> tuple[str, ...]:
    """The arguments of the engine that make one container; it is not started by them."""
    return (
        "create", "--interactive", "--pull", "never",
        "--name", frame.name, "--label", f"{LABEL}={frame.owner}",
        *(("--runtime", frame.runtime) if frame.runtime and frame.engine == "docker" else ()),
        "--network", "none", "--hostname", INNER_HOST, "--ipc", "private", "--cgroupns", "private",
        "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--security-opt", f"seccomp={frame.folder}/{FILTER_FILE}",
        "--log-driver", "none", "--stop-timeout", "0",
        *_of_engine(frame),
        *_held(plan.limits, frame),
        *(word for name, value in _ulimits(plan, frame) for word in ("--ulimit", f"{name}={value}:{value}")),
        *(word for mount in _mounts(plan, frame) for word in ("--mount", mount)),
        "--env-file", f"{frame.folder}/{ENVIRONMENT_FILE}",
        "--workdir", plan.cwd,
        "--entrypoint", f"{frame.start}/{START_FILE}" if frame.start else plan.command[0],
        frame.image,
        *plan.command[0 if frame.start else 1 :],
    )  # fmt: skip


def sealed_below(mounts: Sequence[Mount], below: Iterable[str]) -> tuple[Mount, ...]:
    """The mounts, and what of the host is mounted `below` a read-only one, once more and read-only.

    An engine binds a folder with everything mounted in it, and makes its top alone read-only.
    """
    listed = {mount.path: mount for mount in mounts}
    found = []
    for place in below:
        around = [str(one) for one in (PurePosixPath(place), *PurePosixPath(place).parents)]
        nearest = next((listed[one] for one in around if one in listed), None)
        if nearest is not None and nearest.kind == "read" and nearest.path != place:
            found.append(Mount(kind="read", path=place, source=place))
    return (*mounts, *found)


def environment_file(environment: Mapping[str, str]) -> bytes:
    """The environment as both engines read it from a file.

    Raises:
        Misconfigured: a value has a line end, which such a file cannot hold.
    """
    for name, value in environment.items():
        if "\n" in value or "\r" in value:
            raise Misconfigured(
                "sandbox_unavailable",
                f"the value of {name} has a line end, which no container engine takes from a file",
                remedy="take the line end out of the value, or choose another driver",
            )
    return "".join(f"{name}={value}\n" for name, value in environment.items()).encode()


def _of_engine(frame: Frame) -> Iterator[str]:
    if frame.engine == "podman":
        yield from ("--pidfile", f"{frame.folder}/{PID_FILE}")
        # its own hosts file would tell the host's names; and what it hides of /proc and /sys is too little
        yield from ("--no-hosts", "--read-only-tmpfs=false", "--security-opt", f"mask={_HIDDEN}")
    else:  # it takes no words for what to hide, and leaves most of /sys open
        yield from ("--mount", _csv("type=bind", f"source={frame.folder}/empty", "target=/sys", "readonly"))
    if frame.is_rootless:
        yield from ("--userns", "keep-id:uid=1000,gid=1000", "--user", "1000:1000")
    else:
        yield from ("--user", f"{frame.user}:{frame.group}")


def _held(limits: Limits, frame: Frame) -> Iterator[str]:
    """What the engine's control groups hold; where it has none, somebody else watches."""
    if limits.memory_by == "cgroup":
        memory = str(limits.memory_bytes)
        yield from ("--memory", memory, "--memory-swap", memory)
    if limits.pids_by == "cgroup":
        yield from ("--pids-limit", str(_processes(limits.pids, frame.runtime)))
    if limits.cpu_by == "cgroup":
        yield from ("--cpus", f"{limits.cpu_percent / 100:g}")
    for disk in frame.disks if limits.io_bytes_per_s else ():
        for way in ("read", "write"):
            yield from (f"--device-{way}-bps", f"{disk}:{limits.io_bytes_per_s}")


def _processes(count: int, runtime: str) -> int:
    """gVisor needs threads of the host for its own work and for each process inside; it ends when it gets none."""
    return count * GVISOR_THREADS_EACH + GVISOR_THREADS if runtime == GVISOR else count


def _ulimits(plan: Plan, frame: Frame) -> Iterator[tuple[str, int]]:
    yield "core", 0
    for name, value in plan.limits.inner_rlimits:
        if name in _ULIMITS:
            yield name.lower(), value
    if plan.limits.pids_by != "cgroup":
        yield "nproc", plan.limits.pids  # counted in the container's own user namespace
    elif not frame.is_own:
        # The group counts. This counts all of the same number, in other houses of the host too, so it only bounds
        # madness; an engine would set one of its own, which the container may lack the right to raise.
        yield "nproc", max(_processes(plan.limits.pids, frame.runtime) + 1, NUMBER_PROCESSES)


def _mounts(plan: Plan, frame: Frame) -> Iterator[str]:
    for mount in plan.mounts:
        line = _mount(mount, frame)
        if line:
            yield line
    if frame.start:
        yield _csv("type=bind", f"source={frame.folder}/{GATE_FOLDER}", f"target={frame.start}", "readonly")


def _mount(mount: Mount, frame: Frame) -> str:
    """One `--mount`; nothing for what every container has of its own, or what lies in the image."""
    match mount.kind:
        case "read" if not mount.path.startswith("/proc/"):
            return _csv("type=bind", f"source={mount.source}", f"target={mount.path}", "readonly")
        case "write":
            return _csv("type=bind", f"source={mount.source}", f"target={mount.path}")
        case "file":
            return _csv("type=bind", f"source={frame.folder}{mount.path}", f"target={mount.path}", "readonly")
        case "tmpfs":
            mode = "1777"  # the container's user is no owner of what the engine makes
            # else its runtime copies the folder below into it, by way of the host's own /tmp
            plain = ("notmpcopyup",) if frame.engine == "podman" else ()
            size = f"tmpfs-size={mount.size}"
            return _csv("type=tmpfs", f"target={mount.path}", size, f"tmpfs-mode={mode}", *plain)
        case "cover" if not mount.path.startswith("/proc/"):
            if mount.source:
                return _csv("type=bind", "source=/dev/null", f"target={mount.path}", "readonly")
            return _csv("type=bind", f"source={frame.folder}/empty", f"target={mount.path}", "readonly")
        case _:
            return ""


def _csv(*fields: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()

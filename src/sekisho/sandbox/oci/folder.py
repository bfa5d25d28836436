"""What a container is shown of this host: the folder with its files, and the sources that it binds.

Guarantees that the folder can be listed by nobody but us, that the environment is in it only until the container is made,
and that a source which was replaced or became a link since then is noticed. Starts nothing.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from sekisho.sandbox.oci.filter import open_profile, profile
from sekisho.sandbox.oci.start_program import MACHINES, candidates, start_program
from sekisho.sandbox.oci.words import (
    DOOR_FILE,
    ENVIRONMENT_FILE,
    FILTER_FILE,
    GATE_FOLDER,
    GVISOR,
    LISTENER_FILE,
    START_FILE,
    environment_file,
)
from sekisho.sandbox.plans.plan import Plan
from sekisho.sandbox.plans.spec import unavailable

__all__ = ["can_start", "identities", "lay", "refuse_links"]


def can_start(runtime: str, below: str | None = None) -> bool:
    """Whether our start program runs in containers here: on this machine, from where their folders lie, in this runtime.

    gVisor's kernel has neither a listener nor our socket.
    """
    may_run = not os.statvfs(below or tempfile.gettempdir()).f_flag & os.ST_NOEXEC
    return os.uname().machine in MACHINES and runtime != GVISOR and may_run


def lay(folder: Path, plan: Plan, start: str = "") -> None:
    """Write the files of one container into its folder; `start` is where it finds the program that becomes the plugin."""
    folder.chmod(0o711)  # the container's user opens what is mounted, and finds nothing by looking
    files = {path.lstrip("/"): content for path, content in plan.data.items() if path.startswith("/")}
    files |= {FILTER_FILE: _filter(folder, plan, start)}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.write_bytes(content)
        path.chmod(0o444)
    (folder / "empty").mkdir(mode=0o555)
    if start:
        _lay_start(folder / GATE_FOLDER, plan, start)
    secret = folder / ENVIRONMENT_FILE
    secret.touch(mode=0o600)
    secret.write_bytes(environment_file(plan.environment))


def _filter(folder: Path, plan: Plan, start: str) -> bytes:
    """What the engine loads. A call that it refuses would never ring, so where we load the filter it refuses none."""
    machine = os.uname().machine
    if start:
        return open_profile(machine)
    listener = str(folder / LISTENER_FILE) if "alarm" in plan.data else ""
    watched = plan.limits.memory_by != "cgroup"
    return profile(machine, watched=watched, unix_sockets=plan.unix_sockets, listener=listener)


def _lay_start(folder: Path, plan: Plan, start: str) -> None:
    """The program, which every user may run and nobody may write."""
    folder.mkdir()
    folder.chmod(0o755)
    programs = candidates(plan.command[0], plan.environment)
    content = start_program(f"{start}/{DOOR_FILE}", programs, plan.data["filter"], plan.data["alarm"])
    path = folder / START_FILE
    path.write_bytes(content)
    path.chmod(0o555)


def identities(plan: Plan) -> dict[str, tuple[int, int]]:
    """Which files lie where the host's parts come from."""
    found = {}
    for mount in plan.mounts:
        if mount.kind in ("read", "write"):
            with contextlib.suppress(OSError):
                seen = Path(mount.source).stat()
                found[mount.source] = (seen.st_dev, seen.st_ino)
    return found


def refuse_links(plan: Plan) -> None:
    """A part of the host that became a link since the walls were drawn would bring in a place that nobody listed."""
    for mount in plan.mounts:
        if mount.kind in ("read", "write") and os.path.realpath(mount.source) != mount.source:
            raise unavailable(f"{mount.source} of plugin {plan.name!r} leads through a symbolic link now")

"""What a container is shown of this host: the folder with its files, and the sources that it binds.

Guarantees that the folder can be listed by nobody but us, that the environment is in it only until the container is made,
and that a source which was replaced or became a link since then is noticed. Starts nothing.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from sekisho.sandbox.oci_filter import profile
from sekisho.sandbox.oci_words import ENVIRONMENT_FILE, FILTER_FILE, LISTENER_FILE, environment_file
from sekisho.sandbox.plan import Plan
from sekisho.sandbox.spec import unavailable

__all__ = ["identities", "lay", "refuse_links"]


def lay(folder: Path, plan: Plan) -> None:
    """Write the files of one container into its folder."""
    folder.chmod(0o711)  # the container's user opens what is mounted, and finds nothing by looking
    files = {path.lstrip("/"): content for path, content in plan.data.items() if path.startswith("/")}
    listener = str(folder / LISTENER_FILE) if "alarm" in plan.data else ""
    is_watched = plan.limits.memory_by != "cgroup"
    files |= {FILTER_FILE: profile(os.uname().machine, watched=is_watched, listener=listener)}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
        path.write_bytes(content)
        path.chmod(0o444)
    (folder / "empty").mkdir(mode=0o555)
    secret = folder / ENVIRONMENT_FILE
    secret.touch(mode=0o600)
    secret.write_bytes(environment_file(plan.environment))


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

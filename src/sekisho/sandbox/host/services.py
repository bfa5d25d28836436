"""Which services of this host listen, by a Unix socket, in what a plugin is shown.

A mount does not keep anybody from connecting to a socket, also one that is read-only: the kernel asks for the right to
write to the socket alone. An overlay does, because a socket in it is another one, and so does a cover. Whoever is told of
these refuses the plugin Unix sockets, since nothing else stands between the two.

Sees what listens now, under the name by which it was bound, in this network namespace: what comes later is not known.
Where the kernel's table cannot be read, that counts as a service: unknown means no.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from sekisho.policy.grants import FileGrant
from sekisho.policy.paths import verdict

__all__ = ["services_within"]

TABLE: Final = Path("/proc/net/unix")
_BOUND: Final = re.compile(r"(?:[0-9A-Fa-f]+:? ){6} *[0-9]+ (/.*)")  # six numbers, the inode, the path


def services_within(files: FileGrant, brought: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Paths of sockets that a plugin with this grant could reach, but for those that are listed by their own path.

    `brought` is what it is shown of this host besides, because its program needs it.
    """
    files = replace(files, read_only_paths=(*files.read_only_paths, *brought))
    listed = {os.path.normpath(path) for path in (*files.read_only_paths, *files.writable_paths)}
    if not listed:
        return ()
    try:
        lines = TABLE.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return (str(TABLE),)
    found = {_resolved(bound[1]) for line in lines if (bound := _BOUND.fullmatch(line))}
    return tuple(sorted(path for path in found - listed if _is_reached(files, path)))


def _is_reached(files: FileGrant, path: str) -> bool:
    match verdict(files, path):
        case "read":
            return True
        case "write":
            return files.persist == "direct"
        case "none":
            return False


def _resolved(name: str) -> str:
    """The folder by its real name; what is bound in it is no link."""
    folder, _, last = name.rpartition("/")
    return f"{os.path.realpath(folder or '/').rstrip('/')}/{last}"

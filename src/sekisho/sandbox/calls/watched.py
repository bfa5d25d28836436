"""Which system calls touch a path, and how: the table by which attempts on files are watched and told.

Guarantees that every call which opens, makes, cuts, renames or removes a file by its path is listed, with the place of
its arguments. Opening with O_PATH is not: it names a file and reads nothing of it. Asking (`stat`, `access`, `readlink`)
and setting times and attributes are heard only on request: a program asks for thousands of paths, and what it learns is
that nothing is there.

Judgement only. The filter (`seccomp`) lets these calls ring, a watcher in the launcher reads what they name, and lets
each go on: the walls decide, the watcher tells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sekisho.sandbox.mount import Mount

__all__ = [
    "ASKS",
    "CHANGES",
    "OPENS",
    "RUNS",
    "TOLD",
    "PlaceKind",
    "Told",
    "Watched",
    "places_of",
    "places_of_rules",
    "watched_calls",
]

Told = Literal["asked", "all", "changes", "none"]
TOLD: Final[tuple[Told, ...]] = ("asked", "all", "changes", "none")
PlaceKind = Literal["read", "write", "private", "blocked", "devices", "kernel", "root", "image"]
HERE: Final = -1  # no argument names a folder: the path starts where the process stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One call: where its paths are, and what it wants of each.

    `paths` are (what it wants, argument of the folder or -1, argument of the path). `flags` is the argument of an open's
    flags, -1 for other calls. `mode` is the argument whose set-uid and set-gid bits the filter refuses, -1 where none is.
    """

    paths: tuple[tuple[str, int, int], ...]
    flags: int = -1
    mode: int = -1


# What is wanted: "open" by its flags, "read" a file, "write" one that is there, "new" a name that is not there yet,
# "entry" of a folder, to be taken out or put in its place.
OPENS: Final = {
    "open": Watched(paths=(("open", HERE, 0),), flags=1, mode=2),
    "openat": Watched(paths=(("open", 0, 1),), flags=2, mode=3),
}
RUNS: Final = {
    "execve": Watched(paths=(("read", HERE, 0),)),
    "execveat": Watched(paths=(("read", 0, 1),)),
}
CHANGES: Final = {
    "creat": Watched(paths=(("make", HERE, 0),), mode=1),
    "truncate": Watched(paths=(("write", HERE, 0),)),
    "mkdir": Watched(paths=(("new", HERE, 0),)),
    "mkdirat": Watched(paths=(("new", 0, 1),)),
    "symlink": Watched(paths=(("new", HERE, 1),)),
    "symlinkat": Watched(paths=(("new", 1, 2),)),
    "link": Watched(paths=(("new", HERE, 1),)),
    "linkat": Watched(paths=(("new", 2, 3),)),
    "unlink": Watched(paths=(("entry", HERE, 0),)),
    "unlinkat": Watched(paths=(("entry", 0, 1),)),
    "rmdir": Watched(paths=(("entry", HERE, 0),)),
    "rename": Watched(paths=(("entry", HERE, 0), ("entry", HERE, 1))),
    "renameat": Watched(paths=(("entry", 0, 1), ("entry", 2, 3))),
    "renameat2": Watched(paths=(("entry", 0, 1), ("entry", 2, 3))),
    "chmod": Watched(paths=(("write", HERE, 0),), mode=1),
    "fchmodat": Watched(paths=(("write", 0, 1),), mode=2),
    "fchmodat2": Watched(paths=(("write", 0, 1),), mode=2),
    "chown": Watched(paths=(("write", HERE, 0),)),
    "fchownat": Watched(paths=(("write", 0, 1),)),
}

ASKS: Final = {
    **dict.fromkeys(("stat", "lstat", "access", "readlink", "chdir"), Watched(paths=(("read", HERE, 0),))),
    **dict.fromkeys(
        ("newfstatat", "statx", "faccessat", "faccessat2", "readlinkat"), Watched(paths=(("read", 0, 1),))
    ),
    **dict.fromkeys(
        ("utime", "utimes", "setxattr", "lsetxattr", "removexattr", "lremovexattr"),
        Watched(paths=(("write", HERE, 0),)),
    ),
    **dict.fromkeys(("utimensat", "futimesat"), Watched(paths=(("write", 0, 1),))),
}

# Where the host's file system is shared the filter refuses these, or answers as if they were done (`seccomp`): whoever
# listens must not say "go on" to any of them. A test compares both filters call by call.
REFUSED_WHERE_SHARED: Final = frozenset({"truncate", "chmod", "chown", "fchmodat", "fchmodat2", "fchownat"})


def watched_calls(numbers: Mapping[str, int], told: Told, *, shared: bool) -> dict[int, Watched]:
    """The calls that a watcher hears of and lets through, by their numbers on one machine.

    Args:
        shared: for a plugin without namespaces, whose filter refuses some of them, and whose walls refuse no asking.
    """
    asks = {} if shared else ASKS
    tables = {
        "asked": (OPENS, CHANGES, RUNS, asks),
        "all": (OPENS, CHANGES, RUNS),
        "changes": (OPENS, CHANGES),
        "none": (),
    }[told]
    refused = REFUSED_WHERE_SHARED if shared else frozenset()
    return {
        numbers[name]: call
        for table in tables
        for name, call in table.items()
        if name in numbers and name not in refused
    }


def places_of(mounts: Iterable[Mount]) -> tuple[tuple[str, PlaceKind], ...]:
    """What is where behind a root of its own; what is not below any of these is not there."""
    kinds: dict[str, PlaceKind] = {
        "read": "read",
        "file": "read",
        "write": "write",
        "tmpfs": "private",
        "cover": "blocked",
        "dev": "devices",
        "proc": "kernel",
    }
    found: dict[str, PlaceKind] = {"/": "root"}
    for mount in mounts:
        if mount.kind in kinds:
            found[mount.path] = kinds[mount.kind]
    return tuple(found.items())


def places_of_rules(
    rules: Iterable[tuple[str, str]], covers: Iterable[Mount] = ()
) -> tuple[tuple[str, PlaceKind], ...]:
    """What may be done where in the host's own file system; the rest is there, and refused."""
    found: dict[str, PlaceKind] = {path: "read" if right == "read" else "write" for path, right in rules}
    found |= {mount.path: "blocked" for mount in covers if mount.kind == "cover"}
    return tuple(found.items())

"""Whether the walls refuse an attempt on a path, and why: looked up from outside, through the plugin's own root.

Guarantees
- a path is followed as the plugin would follow it, links and all, and nothing of it is opened: it is only named;
- what is absent behind the walls is a refusal where it was blocked by name, or where the host has it (`host` says so);
- a question that cannot be answered is no refusal.

Tells, and decides nothing: the kernel judged, or will. What the plugin changes between our look and its own misleads
the log about that one attempt, and opens no wall.
"""

# ruff: noqa: PTH115 - pathlib is not imported here
from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final, Literal

from sekisho.launcher.calls import number_of

__all__ = ["Places", "Refusal", "Wish", "walk"]

Wish = Literal["read", "write", "make", "new", "entry"]
Act = Literal["read", "write"]
Reason = Literal["unlisted", "read_only", "blocked"]

RESOLVE_NO_MAGICLINKS: Final = 0x2
RESOLVE_IN_ROOT: Final = 0x10
# As `calls.call`, in a quarter of the time: it is asked for each file that is opened. What is the same each time is
# converted once.
_syscall: Final = ctypes.PyDLL(None, use_errno=True)["syscall"]
_syscall.restype = ctypes.c_long
_openat2: Final = ctypes.c_long.from_param(number_of("openat2"))
MAX_LINKS: Final = 40  # the kernel's own bound
MAX_PATH_BYTES: Final = 4096
OWN_ENTRIES: Final = ("/proc/self", "/proc/thread-self")
COMPILED: Final = "/__pycache__"  # Python tries to keep what it compiled, wherever its code lies
PROGRAMS: Final = ("/usr/", "/lib", "/bin/", "/sbin/")
_WRITABLE: Final = frozenset({"write", "private", "kernel"})
_HOW_BYTES: Final = ctypes.c_size_t.from_param(24)
_FOLLOWED: Final = struct.pack("=QQQ", os.O_PATH | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
_ITSELF: Final = struct.pack(
    "=QQQ", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
)


class Refusal:
    """What was wanted of which path, and why it is refused; `on_host` is what the host must have for it to be one.

    Two of the same path and reason are one, however they were found.
    """

    __slots__ = ("act", "on_host", "path", "reason")

    def __init__(self, act: Act, path: str, reason: Reason, on_host: str = "") -> None:
        self.act: Act = act
        self.path = path
        self.reason: Reason = reason
        self.on_host = on_host

    def __eq__(self, other: object) -> bool:
        """The same path and reason."""
        return isinstance(other, Refusal) and self._key == other._key

    def __hash__(self) -> int:
        """As it is compared."""
        return hash(self._key)

    def __repr__(self) -> str:
        """For who reads a test."""
        return f"Refusal{self._key!r}"

    @property
    def _key(self) -> tuple[str, str, str]:
        return self.act, self.path, self.reason


class Places:
    """What is where for one plugin.

    Args:
        table: paths and what they are; the longest that a path lies in decides.
        root: a descriptor of the plugin's root.
        is_shared: whether that is the host's own, where what is not listed is there and refused.
    """

    def __init__(self, table: list[tuple[str, str]], root: int, *, is_shared: bool) -> None:
        self._kinds = dict(table)
        self._root = root
        self._base = os.readlink(f"/proc/self/fd/{root}").rstrip(
            "/"
        )  # nothing, for the root of a mount namespace
        self._is_shared = is_shared
        # Behind a root of its own that covers nothing (but in /proc), what is there may be read.
        covers = [path for path, kind in table if kind == "blocked" and not path.startswith("/proc/")]
        self._shows_all = not is_shared and not covers
        # The folders on the way to what is listed: a root of its own shows them, with nothing else in them.
        self._above = {above for path in self._kinds for above in _folders_above(path)}
        changing = (os.fsencode(path) for path, kind in table if kind in {"write", "private"})
        self._moving = (b"/proc/", b"/dev/fd/", *changing)

    def is_still(self, path: bytes) -> bool:
        """Whether the plugin cannot change where this leads; no, where that is not to be seen at a glance."""
        return (
            path.startswith(b"/")
            and not path.startswith(self._moving)
            and b"//" not in path
            and not (b"/." in path and (b"/./" in path or b"/.." in path))
        )

    def is_there(self, path: bytes) -> bool:
        """Whether it is there and may therefore be read; False where more has to be asked (`refusal`)."""
        if not self._shows_all:
            return False
        fd: int = _syscall(_openat2, self._root, path, _FOLLOWED, _HOW_BYTES)
        if fd < 0:
            return False
        os.close(fd)
        return True

    def refusal(self, wish: Wish, path: str) -> Refusal | None:
        """Why the walls refuse this, or None when they do not, or when nobody can tell."""
        if len(path) > MAX_PATH_BYTES or "\0" in path or (self._is_shared and path.startswith(OWN_ENTRIES)):
            return None
        if wish in {"new", "entry"}:
            return self._of_name(wish, path)
        where = self._find(path, names=wish != "read" or not self._shows_all)
        if where:
            return self._of_file(wish, where)
        where = self._absent(path) if where is None else ""
        if not where:
            return None
        return self._of_name("new", where) if wish == "make" else self._of_absent(wish, where)

    def _of_file(self, wish: Wish, where: str) -> Refusal | None:
        kind = self._kind(where)
        act: Act = "read" if wish == "read" else "write"
        if kind == "blocked":
            return Refusal(act, where, "blocked")
        if kind is None and (act == "write" or where not in self._above):
            return Refusal(act, where, "unlisted", on_host=where)
        if act == "write" and kind in {"read", "image"}:
            return Refusal(act, where, "read_only")
        return None

    def _of_absent(self, wish: Wish, where: str) -> Refusal | None:
        act: Act = "read" if wish == "read" else "write"
        match self._kind(where):
            case "blocked":
                return Refusal(act, where, "blocked")
            case "image" if where.startswith(PROGRAMS):
                return None  # another system's programs and libraries are elsewhere
            case "root" | "devices" | "private" | "image":
                return Refusal(act, where, "unlisted", on_host=where)
            case _:
                return None

    def _of_name(self, wish: Wish, path: str) -> Refusal | None:
        """A name in a folder, to be made or taken out."""
        above, _, name = path.rstrip("/").rpartition("/")
        if name in {"", ".", ".."}:
            return None
        folder = self._find(above or "/")
        if folder is None:
            folder = self._absent(above) or ""
            where = f"{folder.rstrip('/')}/{name}"
            return self._of_absent("write", where) and Refusal(
                "write", where, "unlisted", on_host=folder if wish == "new" else where
            )
        if not folder:
            return None
        where = f"{folder.rstrip('/')}/{name}"
        is_there = bool(self._find(where, _ITSELF))
        if is_there and wish == "new":
            return None  # the kernel says so before it asks whether it may be made
        kind = self._kind(where)
        if kind in _WRITABLE or COMPILED in where:
            return None
        if kind == "blocked":
            return Refusal("write", where, "blocked")
        reason: Reason = "read_only" if kind in {"read", "devices", "image"} else "unlisted"
        return Refusal("write", where, reason, on_host=where if wish == "entry" else folder)

    def _absent(self, path: str) -> str | None:
        """Where a path would lead if all of it were there. Most have a folder that is: only their last step is walked."""
        above, _, name = path.rpartition("/")
        folder = self._find(above) if above and name not in {"", ".", ".."} else None
        if not folder:
            return walk(self._root, path)
        where = f"{folder.rstrip('/')}/{name}"
        try:
            os.readlink(where[1:], dir_fd=self._root)
        except (OSError, ValueError):
            return where
        return walk(self._root, path)  # a link that leads to nothing

    def _find(self, path: str, how: bytes = _FOLLOWED, *, names: bool = True) -> str | None:
        """Where a path leads behind the walls; None where nothing is, and nothing where that cannot be told.

        Args:
            names: whether what is there is to be named; else nothing is said of it.
        """
        fd: int = _syscall(_openat2, self._root, os.fsencode(path), how, _HOW_BYTES)
        if fd < 0:
            return None if ctypes.get_errno() in {errno.ENOENT, errno.ENOTDIR} else ""
        try:
            return "" if not names else os.readlink(f"/proc/self/fd/{fd}").removeprefix(self._base) or "/"
        except OSError:
            return ""
        finally:
            os.close(fd)

    def _kind(self, path: str) -> str | None:
        """What the longest listed path around this one is."""
        while path:
            kind = self._kinds.get(path)
            if kind is not None:
                return kind
            path = path.rpartition("/")[0]
        return self._kinds.get("/")


def _folders_above(path: str) -> list[str]:
    parts = path.split("/")[1:-1]
    return ["/", *("/" + "/".join(parts[: end + 1]) for end in range(len(parts)))]


def walk(root: int, path: str, shy: tuple[str, ...] = ()) -> str | None:
    """Where a path would lead if all of it were there: each link is followed from this root, without trust in any.

    None for one that leads round and round, or into one of the places that nobody should look at.
    """
    done = ""
    rest = path.split("/")[::-1]
    links = 0
    while rest:
        name = rest.pop()
        if name in {"", "."}:
            continue
        if name == "..":
            done = done.rpartition("/")[0]
            continue
        step = f"{done}/{name}"
        if f"{step}/".startswith(shy):
            return None
        try:
            target = os.readlink(step[1:], dir_fd=root)
        except (OSError, ValueError):
            done = step
            continue
        links += 1
        if links > MAX_LINKS:
            return None
        if target.startswith("/"):
            done = ""
        rest += target.split("/")[::-1]
    return done or "/"

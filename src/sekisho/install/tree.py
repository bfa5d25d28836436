"""A package's tree on the disk: read and judged before it is believed, made read-only, looked at again before a start.

Guarantees
- `take` refuses a tree with anything but folders, plain files and links that stay inside, or with a set-uid bit or a
  file that has another name (through which it could be written later), and one with more files or bytes than allowed;
  what it accepts is read-only for everybody, with one date;
- nothing is followed: a link is read as a link, and each file is opened in its folder's own descriptor;
- `look` compares every name, kind and mode with the manifest, and each file with what the kernel said of it when it
  was last hashed: a changed file has another time of change, which nobody but the kernel can set. What does not agree
  is hashed. `hash_all` hashes everything.

Knows no package and no registry; what a manifest says is `manifest`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.errors import Refused, Tampered, Unavailable
from sekisho.install.manifest import Digests, Entry, EntryKind, check_link, check_path, digests_of

__all__ = [
    "Stamp",
    "TreeLimits",
    "hash_all",
    "look",
    "remove_tree",
    "stamps_of",
    "sync_all",
    "take",
    "tree_bytes",
]

FOLDER_MODE: Final = 0o555
FILE_MODE: Final = 0o444
DATE_S: Final = (
    315_532_800  # 1980, the first that a zip file knows: a date of its own would change with every run
)
_CHUNK_BYTES: Final = 1 << 20
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER: Final = _READ | os.O_DIRECTORY

Stamp = tuple[int, int, int]  # inode, size, time of change: together they change whenever the content does


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeLimits:
    """How much one tree may be: a package must not fill the disk."""

    max_bytes: int
    max_files: int


def take(root: Path, limits: TreeLimits) -> tuple[Entry, ...]:
    """Judge a tree that nobody writes any more, make it read-only, and list what is in it.

    Raises:
        Refused: it holds something that no package needs, or too much.
    """
    entries: list[Entry] = []
    total = 0
    try:
        for path, name, folder, status in _walk(root):
            entry = _taken(path, name, folder, status)
            entries.append(entry)
            total += entry.size
            if len(entries) > limits.max_files or total > limits.max_bytes:
                raise Refused(
                    "package_refused",
                    f"the package is larger than {limits.max_files} files or {limits.max_bytes >> 20} MB",
                    remedy="raise install.max_files or install.max_tree_mb if that is meant",
                )
    except OSError as error:
        raise Refused("package_refused", f"what was unpacked cannot be read: {error.strerror}") from error
    root.chmod(FOLDER_MODE)
    os.utime(root, (DATE_S, DATE_S))
    return tuple(entries)


def look(root: Path, entries: tuple[Entry, ...], stamps: Mapping[str, Stamp]) -> bool:
    """Is the tree what the manifest says? False when stamps had to be doubted, and the files proved sound.

    Raises:
        Tampered: something was added, removed or changed.
    """
    return _compare(root, entries, stamps)


def hash_all(root: Path, entries: tuple[Entry, ...]) -> None:
    """Read every byte and compare.

    Raises:
        Tampered: something was added, removed or changed.
    """
    _compare(root, entries, {})


def stamps_of(root: Path) -> dict[str, Stamp]:
    """What the kernel says of each file now; only of a tree that was just hashed does it say anything."""
    return {path: _stamp(status) for path, _, _, status in _walk(root) if not stat.S_ISDIR(status.st_mode)}


def tree_bytes(root: Path, limits: TreeLimits) -> int:
    """How much a folder that is being written holds; stops counting beyond the limits."""
    total = files = 0
    waiting = [root]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for one in found:
                    files += 1
                    if one.is_dir(follow_symlinks=False):
                        waiting.append(Path(one.path))
                    else:
                        total += one.stat(follow_symlinks=False).st_blocks * 512
        except OSError:
            continue  # it was removed meanwhile
        if total > limits.max_bytes or files > limits.max_files:
            return max(total, limits.max_bytes + 1)
    return total


def remove_tree(root: Path) -> None:
    """Remove a tree, read-only or not, however deep; what is not there is removed already."""
    if root.is_symlink() or not root.is_dir():
        root.unlink(missing_ok=True)
        return
    root.chmod(0o700)
    while folders := list(_without_files(root)):
        for folder in folders:
            # What lies deep is moved up first: no path becomes too long, and nothing is called within itself.
            for inner in _without_files(folder):
                inner.rename(root / secrets.token_hex(8))
            folder.rmdir()
    root.rmdir()


def _without_files(folder: Path) -> Iterator[Path]:
    """Remove the files of a folder; its folders, each opened for us."""
    with os.scandir(folder) as found:
        names = list(found)
    for one in names:
        path = Path(one.path)
        if one.is_dir(follow_symlinks=False):
            path.chmod(0o700)
            yield path
        else:
            path.unlink()


def sync_all(folder: Path) -> None:
    """Have everything on the file system of this folder written to the disk.

    Raises:
        Unavailable: the disk failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(folder, _FOLDER)
    try:
        if libc.syncfs(fd) != 0:
            raise Unavailable(
                "package_unavailable", f"{folder} cannot be written: {os.strerror(ctypes.get_errno())}"
            )
    finally:
        os.close(fd)


def _walk(root: Path) -> Iterator[tuple[str, str, int, os.stat_result]]:
    """Everything below the top: its path, its name in an open folder, and its status. A folder comes after its own."""
    fd = os.open(root, _FOLDER)
    try:
        yield from _walk_folder(fd, "")
    finally:
        os.close(fd)


def _walk_folder(folder: int, above: str) -> Iterator[tuple[str, str, int, os.stat_result]]:
    for name in sorted(os.listdir(folder)):
        path = f"{above}{name}"
        check_path(path)
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            fd = os.open(name, _FOLDER, dir_fd=folder)
            try:
                yield from _walk_folder(fd, f"{path}/")
            finally:
                os.close(fd)
        yield path, name, folder, status


def _taken(path: str, name: str, folder: int, status: os.stat_result) -> Entry:
    kind = _kind(path, status)
    if kind == "l":
        target = os.readlink(name, dir_fd=folder)
        check_link(path, target)
        os.utime(name, (DATE_S, DATE_S), dir_fd=folder, follow_symlinks=False)
        return Entry(kind="l", path=path, size=len(target.encode()), digests=digests_of(target.encode()))
    mode = FILE_MODE if kind == "f" else FOLDER_MODE
    # The name is opened, not the path: between this and the look before it nobody can have put a link there.
    fd = os.open(name, _READ, dir_fd=folder)
    try:
        size, digests = (0, None) if kind == "d" else _hash(fd)
        os.fchmod(fd, mode)
        os.utime(fd, (DATE_S, DATE_S))
    finally:
        os.close(fd)
    return Entry(kind=kind, path=path, size=size, digests=digests)


def _kind(path: str, status: os.stat_result) -> EntryKind:
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        return "l"
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise Refused("package_refused", f"the package has something that is no file: {path[:80]}")
    if stat.S_ISREG(mode) and status.st_nlink != 1:
        raise Refused("package_refused", f"the package has a file that has other names, too: {path[:80]}")
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        raise Refused("package_refused", f"the package has a set-uid or set-gid bit: {path[:80]}")
    if stat.S_ISDIR(mode):
        return "d"
    return "x" if mode & 0o111 else "f"


def _hash(fd: int) -> tuple[int, Digests]:
    first, second, size = hashlib.sha256(), hashlib.blake2b(digest_size=32), 0
    while chunk := os.read(fd, _CHUNK_BYTES):
        first.update(chunk)
        second.update(chunk)
        size += len(chunk)
    return size, Digests(sha256=first.hexdigest(), blake2b=second.hexdigest())


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_ino, status.st_size, status.st_ctime_ns


def _compare(root: Path, entries: tuple[Entry, ...], stamps: Mapping[str, Stamp]) -> bool:
    expected = {entry.path: entry for entry in entries}
    is_as_stamped = True
    try:
        if stat.S_IMODE(root.lstat().st_mode) != FOLDER_MODE:
            raise _changed("the folder itself")
        for path, name, folder, status in _walk(root):
            entry = expected.pop(path, None)
            if entry is None or _kind(path, status) != entry.kind or not _has_its_mode(status):
                raise _changed(path)
            if entry.kind != "d" and stamps.get(path) != _stamp(status):
                is_as_stamped = False
                _compare_content(entry, name, folder, status)
    except (OSError, Refused) as error:
        raise _changed("a file that cannot be read, or that no package has") from error
    if expected:
        raise _changed(next(iter(expected)))
    return is_as_stamped


def _has_its_mode(status: os.stat_result) -> bool:
    mode = stat.S_IMODE(status.st_mode)
    return stat.S_ISLNK(status.st_mode) or mode in (FILE_MODE, FOLDER_MODE)


def _compare_content(entry: Entry, name: str, folder: int, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        target = os.readlink(name, dir_fd=folder).encode()
        found = len(target), digests_of(target)
    else:
        fd = os.open(name, _READ, dir_fd=folder)
        try:
            found = _hash(fd)
        finally:
            os.close(fd)
    if found != (entry.size, entry.digests):
        raise _changed(entry.path)


def _changed(path: str) -> Tampered:
    return Tampered("package_tampered", f"the installed package was changed: {path[:200]}")

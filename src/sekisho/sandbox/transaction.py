"""Keeping what a plugin wrote: all of it, or nothing.

How
1. `preparing`: everything new is copied into a fresh folder inside each granted one (the same file system), and is
   made durable there. Until here the old state stands, and recovery removes the copies.
2. `ready`: a journal that names every step is made durable. From here on the new state is certain: recovery carries
   the steps out again, and each of them may be carried out twice.
3. `applied`: all steps are done and durable; the draft is emptied, then the journal goes.

Guarantees
- whoever is let in after recovery sees the old state or the new one; every command about drafts and every start of the
  plugin recovers first;
- what is kept are copies that belong to us, or to the folder's owner: nothing the plugin still holds open, no set-uid
  or set-gid bit, no second name of another file, no extended attribute;
- no step follows a link or leaves the folder (`beneath`); a link that leads out, or a device, is never kept;
- a file that somebody else changed meanwhile is not touched unless that is forced; one that somebody puts into a folder
  while it is being removed stays, and the folder with it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from sekisho.errors import Refused, Unavailable
from sekisho.launcher.kernel import libc
from sekisho.sandbox.beneath import (
    open_beneath,
    open_file,
    open_root,
    opened,
    parent_and_name,
    remove_tree,
)
from sekisho.sandbox.changes import Change, changes_of
from sekisho.sandbox.draft import Draft, Drafts
from sekisho.sandbox.steps import NEW_FOLDER, carry_out

__all__ = ["Step", "discard", "keep", "recover"]

CHUNK_BYTES: Final = 1 << 20
MAX_JOURNAL_BYTES: Final = 256 << 20
_JOURNAL: Final = "journal.json"

Step = Callable[[str], None]
"""Told before each step, with its name; for whoever wants to show progress, or to end us there."""


@dataclass(frozen=True, slots=True)
class _Root:
    """One granted folder of a transaction: where its copies lie, and what is to be done."""

    folder: str
    identity: tuple[int, int]
    stage: str
    steps: Sequence[Sequence[Any]]

    @classmethod
    def of(cls, one: Mapping[str, Any]) -> _Root:
        return cls(one["folder"], (one["device"], one["inode"]), one["stage"], one["steps"])

    def as_json(self) -> dict[str, Any]:
        device, inode = self.identity
        return {
            "folder": self.folder, "device": device, "inode": inode, "stage": self.stage, "steps": self.steps,
        }  # fmt: skip


class _Folders(NamedTuple):
    """Open folders while copies are made; `owner` is the granted one's, whom everything shall belong to, for root."""

    upper: int
    lower: int
    stage: int
    owner: os.stat_result | None


def keep(drafts: Drafts, *, force: bool = False, step: Step = lambda name: None) -> int:
    """Make what the plugin wrote the state of its folders; returns how many changes that were.

    Call it while the drafts are yours (`Drafts.turn`).

    Raises:
        Refused: something may not be kept, or somebody else changed the same thing; nothing was changed.
        Unavailable: a folder cannot be reached or written; nothing was changed.
    """
    recover(drafts, step=step)
    found = [(draft, changes_of(draft)) for draft in drafts.all()]
    found = [(draft, changes) for draft, changes in found if changes]
    if not found:
        return 0
    _refuse_what_cannot_stay([one for _, changes in found for one in changes], force=force)
    plain = [_Root(draft.folder, _identity(draft.folder), _stage_name(), ()) for draft, _ in found]
    _write_journal(drafts, "preparing", plain)
    try:
        roots = [
            _prepared(draft, changes, root, step) for (draft, changes), root in zip(found, plain, strict=True)
        ]
        step("journal")
        _write_journal(drafts, "ready", roots)
    except OSError as error:
        recover(drafts)
        raise Unavailable(
            "changes_unavailable", f"a copy could not be made: {error.strerror} ({error.filename})"
        ) from error
    _finish(drafts, roots, step)
    return sum(len(changes) for _, changes in found)


def discard(drafts: Drafts) -> int:
    """Throw away what the plugin wrote; returns how many drafts that were."""
    recover(drafts)
    found = drafts.all()
    for draft in found:
        draft.empty()
    return len(found)


def recover(drafts: Drafts, *, step: Step = lambda name: None) -> bool:
    """Finish, or undo, what was interrupted; False when there was nothing.

    Raises:
        Unavailable: a folder of it cannot be reached now; nothing else may be done before it can.
    """
    state, roots = _read_journal(drafts)
    match state:
        case "":
            return False
        case "preparing":
            for root in roots:
                _remove_stage(root)
            _remove_journal(drafts)
        case "ready":
            _finish(drafts, roots, step)
        case _:
            _clear(drafts, roots, step)
    return True


def _refuse_what_cannot_stay(changes: Sequence[Change], *, force: bool) -> None:
    refused = [one for one in changes if one.refused]
    if refused:
        raise Refused(
            "changes_refused",
            f"{refused[0].path!r} may not be kept: {refused[0].refused}"
            + (f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""),
            remedy="discard what it wrote with --rollback, or let the plugin remove it",
        )
    conflicts = [one for one in changes if one.conflict]
    if conflicts and not force:
        raise Refused(
            "changes_refused",
            f"{conflicts[0].path!r} was changed by somebody else meanwhile"
            + (f" (and {len(conflicts) - 1} more)" if len(conflicts) > 1 else ""),
            remedy="compare them, then type --force to put the plugin's version in its place",
        )


# Preparing: nothing that anybody looks at changes here.


def _prepared(draft: Draft, changes: Sequence[Change], root: _Root, step: Step) -> _Root:
    """Copy what is new beside its place; returns the steps that put it there."""
    steps: list[list[Any]] = []
    with opened(_reach(root)) as lower, opened(open_root(str(draft.upper.resolve()))) as upper:
        step("stage")
        os.mkdir(root.stage, NEW_FOLDER, dir_fd=lower)
        owner = os.fstat(lower) if os.geteuid() == 0 else None
        with opened(open_beneath(lower, root.stage)) as stage:
            removed = [one for one in changes if _is_removed(one)]
            for one in sorted(removed, key=lambda one: one.path.count("/"), reverse=True):
                steps.append(["rmdir" if one.was == "folder" else "unlink", one.path])
            for number, one in enumerate(one for one in changes if one.what != "deleted"):
                step("copy")
                steps += _copied(one, str(number), _Folders(upper, lower, stage, owner))
            folders = [one for one in changes if one.what != "deleted" and one.kind == "folder"]
            closed = _closed_folders(lower, steps)
            # Last, because each is opened for whatever happens in it, and nobody may find it open after a crash.
            steps += [["chmod", path, mode] for path, mode in reversed(closed)]
            steps += [["chmod", one.path, one.mode] for one in reversed(folders)]
            os.fsync(stage)
        os.fsync(lower)
    return _Root(root.folder, root.identity, root.stage, steps)


def _closed_folders(lower: int, steps: Sequence[Sequence[Any]]) -> list[tuple[str, int]]:
    """Folders in which something happens although their own mode forbids it; the plugin opened and closed them again."""
    above = set[str]()
    for one in steps:
        parts = str(one[-1 if one[0] == "place" else 1]).split("/")[:-1]
        above |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    closed = []
    for path in sorted(above):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), parent_and_name(lower, path) as spot:
            mode = stat.S_IMODE(os.stat(spot[1], dir_fd=spot[0], follow_symlinks=False).st_mode)
            if mode & stat.S_IRWXU != stat.S_IRWXU:
                closed.append((path, mode))
    return closed


def _is_removed(change: Change) -> bool:
    """Whether something has to go before what is new can stand there: a file gives way to a file by itself."""
    if change.what == "deleted":
        return True
    return change.was is not None and change.was != change.kind and "folder" in (change.was, change.kind)


def _copied(change: Change, name: str, folders: _Folders) -> list[list[Any]]:
    """One new thing as a copy in the stage, and the steps that make it the real one."""
    upper, lower, stage, owner = folders
    if change.kind == "folder":
        if change.was == "folder":
            return []
        return [["mkdir", change.path, *((owner.st_uid, owner.st_gid) if owner else (-1, -1))]]
    if change.kind == "file" and not change.is_content_new:
        return [["chmod", change.path, change.mode]]
    with parent_and_name(upper, change.path) as (folder, last):
        if change.kind == "link":
            os.symlink(os.readlink(last, dir_fd=folder), name, dir_fd=stage)
        else:
            _copy_file(folder, last, stage, name, change.mode)
    if owner is not None:
        uid, gid = _owner_before(change, lower) or (owner.st_uid, owner.st_gid)
        os.chown(name, uid, gid, dir_fd=stage, follow_symlinks=False)
        if change.kind == "file":
            os.chmod(name, change.mode, dir_fd=stage)
    return [["place", name, change.path]]


def _owner_before(change: Change, lower: int) -> tuple[int, int] | None:
    """Who owned the file that is replaced."""
    if change.was != "file":
        return None
    with parent_and_name(lower, change.path) as (folder, last):
        found = os.stat(last, dir_fd=folder, follow_symlinks=False)
    return found.st_uid, found.st_gid


def _copy_file(folder: int, last: str, stage: int, name: str, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with opened(open_file(folder, last)) as source, opened(os.open(name, flags, 0o600, dir_fd=stage)) as copy:
        size = os.fstat(source).st_size
        for start, end in _filled(source, size):
            at = start
            while at < end and (chunk := os.pread(source, min(CHUNK_BYTES, end - at), at)):
                at += os.pwrite(copy, chunk, at)
        os.ftruncate(copy, size)
        os.fchmod(copy, mode)
        found = os.fstat(source)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(copy)


def _filled(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """The parts of a file that hold something: a hole costs the plugin nothing, and shall cost us nothing."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


# Finishing: each step may have been carried out before.


def _finish(drafts: Drafts, roots: Sequence[_Root], step: Step) -> None:
    try:
        _apply(roots, step)
    except OSError as error:
        raise Unavailable(
            "changes_unavailable",
            f"what was begun to be kept cannot be finished: {error.strerror} ({error.filename})",
            remedy="mend that, then type it again: it goes on where it stopped",
        ) from error
    step("applied")
    _write_journal(drafts, "applied", roots)
    _clear(drafts, roots, step)


def _apply(roots: Sequence[_Root], step: Step) -> None:
    for root in roots:
        with opened(_reach(root)) as lower:
            for one in root.steps:
                step("apply")
                carry_out(lower, root.stage, one)
            # The whole file system, because a folder may be closed to us again by now.
            if libc.syncfs(lower) != 0:
                raise OSError(errno.EIO, "what was written cannot be made durable", root.folder)


def _clear(drafts: Drafts, roots: Sequence[_Root], step: Step) -> None:
    for root in roots:
        step("clear")
        _remove_stage(root)
        drafts.of(root.folder).empty()
    step("done")
    _remove_journal(drafts)


# The journal and the stages.


def _stage_name() -> str:
    """Nobody can have made something of this name before us."""
    return f".sekisho-{secrets.token_hex(16)}"


def _identity(folder: str) -> tuple[int, int]:
    with opened(open_root(folder)) as fd:
        found = os.fstat(fd)
    return found.st_dev, found.st_ino


def _reach(root: _Root) -> int:
    try:
        fd = open_root(root.folder)
    except OSError as error:
        raise Unavailable(
            "changes_unavailable", f"{root.folder} cannot be reached: {error.strerror}"
        ) from error
    found = os.fstat(fd)
    if (found.st_dev, found.st_ino) != root.identity:
        os.close(fd)
        raise Unavailable(
            "changes_unavailable",
            f"{root.folder} is another folder than the one whose changes were begun to be kept",
            remedy="put the first one back, then type it again",
        )
    return fd


def _remove_stage(root: _Root) -> None:
    with opened(_reach(root)) as lower:
        remove_tree(lower, root.stage)
        os.fsync(lower)


def _write_journal(drafts: Drafts, state: str, roots: Sequence[_Root]) -> None:
    text = json.dumps({"state": state, "roots": [root.as_json() for root in roots]})
    fresh = drafts.place / f"{_JOURNAL}.new"
    with fresh.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(drafts.place / _JOURNAL)
    _sync(drafts.place)


def _read_journal(drafts: Drafts) -> tuple[str, list[_Root]]:
    path = drafts.place / _JOURNAL
    try:
        if path.stat().st_size > MAX_JOURNAL_BYTES:
            raise Unavailable("changes_unavailable", f"{path} is no journal of ours")
        said = json.loads(path.read_bytes())
        return str(said["state"]), [_Root.of(one) for one in said["roots"]]
    except FileNotFoundError:
        return "", []
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("changes_unavailable", f"{path} cannot be read") from error


def _remove_journal(drafts: Drafts) -> None:
    (drafts.place / _JOURNAL).unlink()
    _sync(drafts.place)


def _sync(folder: Path) -> None:
    with opened(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as fd:
        os.fsync(fd)

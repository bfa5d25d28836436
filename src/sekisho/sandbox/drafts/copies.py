"""Copies of what a plugin wrote, beside the places where they are to stand, and the steps that put them there.

Guarantees that nothing anybody looks at changes here; that a copy belongs to us, or to the folder's owner, has no set-uid
or set-gid bit and no second name, is durable, and has the holes that its original has; that a link is the one that was
judged, and what is told of a file is what its copy holds, whatever the draft has become since. Whether a change may be
kept was judged before (`transaction`).
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from sekisho.sandbox.drafts.beneath import open_beneath, open_file, open_root, opened, parent_and_name
from sekisho.sandbox.drafts.changes import Change
from sekisho.sandbox.drafts.draft import Draft
from sekisho.sandbox.drafts.journal import Root
from sekisho.sandbox.drafts.shown import Content, Shown, digest_through
from sekisho.sandbox.drafts.steps import NEW_FOLDER

__all__ = ["Step", "prepared"]

Step = Callable[[str], None]
"""Told before each step, with its name; for whoever wants to show progress, or to end us there."""


class _Folders(NamedTuple):
    """Open folders while copies are made; `owner` is the granted one's, whom everything shall belong to, for root."""

    upper: int
    lower: int
    stage: int
    owner: os.stat_result | None


def prepared(
    draft: Draft, changes: Sequence[Change], root: Root, step: Step, told: Shown | None = None
) -> Root:
    """Copy what is new beside its place; returns the steps that put it there. `told` hears what was copied."""
    steps: list[list[Any]] = []
    contents: dict[str, Content] = {}
    with opened(root.open()) as lower, opened(open_root(str(draft.upper.resolve()))) as upper:
        step("stage")
        os.mkdir(root.stage, NEW_FOLDER, dir_fd=lower)
        owner = os.fstat(lower) if os.geteuid() == 0 else None
        with opened(open_beneath(lower, root.stage)) as stage:
            removed = [one for one in changes if _is_removed(one)]
            for one in sorted(removed, key=lambda one: one.path.count("/"), reverse=True):
                steps.append(["rmdir" if one.was == "folder" else "unlink", one.path])
            for number, one in enumerate(one for one in changes if one.what != "deleted"):
                step("copy")
                steps += _copied(one, str(number), _Folders(upper, lower, stage, owner), contents)
            folders = [one for one in changes if one.what != "deleted" and one.kind == "folder"]
            closed = _closed_folders(lower, steps)
            # Last, because each is opened for whatever happens in it, and nobody may find it open after a crash.
            steps += [["chmod", path, mode] for path, mode in reversed(closed)]
            steps += [["chmod", one.path, one.mode] for one in reversed(folders)]
            os.fsync(stage)
        os.fsync(lower)
    if told is not None:
        for one in changes:
            told.add(draft, one, contents.get(one.path))
    return replace(root, steps=steps)


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


def _copied(change: Change, name: str, folders: _Folders, contents: dict[str, Content]) -> list[list[Any]]:
    """One new thing as a copy in the stage, and the steps that make it the real one.

    Whoever holds a folder of the draft open, outside of every sandbox, can still change it: nothing is read twice.
    """
    upper, lower, stage, owner = folders
    if change.kind == "folder":
        if change.was == "folder":
            return []
        return [["mkdir", change.path, *((owner.st_uid, owner.st_gid) if owner else (-1, -1))]]
    if change.kind == "file" and not change.is_content_new:
        return [["chmod", change.path, change.mode]]
    if change.kind == "link":
        os.symlink(change.target, name, dir_fd=stage)
    else:
        with parent_and_name(upper, change.path) as (folder, last):
            contents[change.path] = _copy_file(folder, last, stage, name, change.mode)
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


def _copy_file(folder: int, last: str, stage: int, name: str, mode: int) -> Content:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with opened(open_file(folder, last)) as source, opened(os.open(name, flags, 0o600, dir_fd=stage)) as copy:

        def put(chunk: bytes, at: int) -> None:
            while chunk:
                done = os.pwrite(copy, chunk, at)
                chunk, at = chunk[done:], at + done

        found = os.fstat(source)
        digest = digest_through(source, found.st_size, put)
        os.ftruncate(copy, found.st_size)
        os.fchmod(copy, mode)
        os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(copy)
    return Content(digest=digest)

"""What a plugin wrote into a draft, told as changes to the folder that it was granted.

Guarantees
- what is listed is what the plugin saw differ: added, changed and deleted files, folders and links, every deleted
  file of a deleted folder among them;
- what may not be kept is listed with the reason: a link that leads out, a device, a mark of overlayfs that the kernel
  did not set, a mount in the way;
- what somebody else changed in the folder meanwhile is listed as a conflict;
- a tree of any size is looked at within bounds, or refused as a whole.

Reads two trees through open folders (`beneath`), writes nothing. What the plugin wrote is believed in nothing: it can
neither make us leave the two trees nor wait for it.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

from sekisho.errors import Refused, Unavailable
from sekisho.sandbox.drafts.beneath import birth_ns, entered, entries, open_file, open_root, opened
from sekisho.sandbox.drafts.draft import Draft
from sekisho.sandbox.drafts.links import why_astray
from sekisho.sandbox.drafts.merged import link_at
from sekisho.sandbox.drafts.overlay_marks import OPAQUE, is_whiteout, marks_of, strange_marks

__all__ = ["MAX_ENTRIES", "Change", "Kind", "What", "changes_of"]

MAX_ENTRIES: Final = 200_000  # a plugin that writes more is asked about as a whole
MAX_DEPTH: Final = 128
CHUNK_BYTES: Final = 1 << 20
MODE: Final = 0o777  # set-uid, set-gid and sticky bits are nothing a plugin gives away

What = Literal["added", "changed", "deleted"]
Kind = Literal["file", "folder", "link", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One path below the granted folder. `was` is what stood there, `kind` what stands there now.

    `refused` says why it may not be kept; `conflict` that somebody else changed it meanwhile; `note` what a reader
    should know.
    """

    path: str
    what: What
    kind: Kind
    was: Kind | None = None
    mode: int = 0
    old_mode: int | None = None
    size: int = 0
    target: str = ""
    is_content_new: bool = False
    refused: str = ""
    conflict: bool = False
    note: str = ""


def changes_of(draft: Draft) -> tuple[Change, ...]:
    """Every change of a draft, by path.

    Raises:
        Refused: there are too many.
        Unavailable: one of the two trees cannot be read.
    """
    if not draft.upper.exists():
        return ()
    try:
        with opened(open_root(str(draft.upper.resolve()))) as upper, opened(open_root(draft.folder)) as lower:
            walk = _Walk(draft, os.fstat(upper).st_dev, os.fstat(lower).st_dev)
            walk.folder(upper, lower, (), is_opaque=False)
            found = [_judged_link(one, draft, upper, lower) for one in walk.found]
    except OSError as error:
        raise Unavailable(
            "changes_unavailable", f"{draft.folder} cannot be compared: {error.strerror} ({error.filename})"
        ) from error
    return tuple(sorted(found, key=lambda one: one.path.split("/")))


class _Spot(NamedTuple):
    """One name in the draft: the open folders it stands in, what it is now and was before, and since when."""

    upper: int
    lower: int | None
    place: tuple[str, ...]
    now: os.stat_result
    before: os.stat_result | None
    born: int

    @property
    def name(self) -> str:
        """Its last part."""
        return self.place[-1]


class _Walk:
    def __init__(self, draft: Draft, upper_device: int, lower_device: int) -> None:
        self.found: list[Change] = []
        self._draft = draft
        self._upper_device = upper_device
        self._lower_device = lower_device
        self._began_ns = draft.began_ns
        self._left = MAX_ENTRIES

    def folder(self, upper: int, lower: int | None, place: tuple[str, ...], *, is_opaque: bool) -> None:
        """One folder of the draft, and the one it lies over."""
        if len(place) > MAX_DEPTH:
            raise _too_much(f"folders more than {MAX_DEPTH} deep")
        new = self._entries(upper)
        old = {} if lower is None else self._entries(lower)
        twins = _twins(new, {} if is_opaque else old)
        for name, now in new.items():
            before = old.get(name)
            born = birth_ns(upper, name) or self._began_ns
            start = len(self.found)
            self._entry(_Spot(upper, lower, (*place, name), now, before, born))
            if name in twins and len(self.found) > start:
                self.found[start] = replace(
                    self.found[start], note=f"differs only in spelling from {twins[name]!r}"
                )
        if is_opaque and lower is not None:
            born = _born(upper) or self._began_ns
            for name in old.keys() - new.keys():
                self._deleted(lower, (*place, name), old[name], born)

    def _entry(self, spot: _Spot) -> None:
        """One name in the draft."""
        now, before, lower = spot.now, spot.before, spot.lower
        if is_whiteout(now):
            if before is not None and lower is not None:
                self._deleted(lower, spot.place, before, spot.born)
            return
        kind, was = _kind(now), None if before is None else _kind(before)
        if before is not None and lower is not None and was == "folder" != kind:
            self._below(lower, spot.place, before, spot.born)
        marks = () if kind == "other" else marks_of(spot.upper, spot.name, kind)
        refused = self._why_refused(kind, now, before, marks)
        change = Change(
            path="/".join(spot.place),
            what="added" if before is None else "changed",
            kind=kind,
            was=was,
            mode=stat.S_IMODE(now.st_mode) & MODE,
            old_mode=None if before is None else stat.S_IMODE(before.st_mode) & MODE,
            size=now.st_size if kind == "file" else 0,
            target=os.readlink(spot.name, dir_fd=spot.upper) if kind == "link" else "",
            is_content_new=was != kind or bool(refused) or not _is_same(spot, kind),
            refused=refused,
            # A folder's own time changes with every entry; who adds one to a folder changes nothing of the plugin's.
            conflict=before is not None
            and before.st_ctime_ns >= spot.born
            and (was, kind) != ("folder", "folder"),
        )
        is_mode_new = kind != "link" and change.mode != change.old_mode
        if change.what == "added" or change.is_content_new or is_mode_new:
            self.found.append(change)
        if kind == "folder" and not refused:
            self._into(spot.upper, lower if was == "folder" else None, spot.place, is_opaque=OPAQUE in marks)

    def _into(self, upper: int, lower: int | None, place: tuple[str, ...], *, is_opaque: bool) -> None:
        with entered(upper, place[-1]) as inner:
            if lower is None:
                self.folder(inner, None, place, is_opaque=True)
                return
            with entered(lower, place[-1]) as below:
                self.folder(inner, below, place, is_opaque=is_opaque)

    def _deleted(self, lower: int, place: tuple[str, ...], before: os.stat_result, born: int) -> None:
        kind = _kind(before)
        if kind == "folder":
            self._below(lower, place, before, born)
        self.found.append(
            Change(
                path="/".join(place),
                what="deleted",
                kind=kind,
                was=kind,
                old_mode=stat.S_IMODE(before.st_mode) & MODE,
                size=before.st_size if kind == "file" else 0,
                refused="" if before.st_dev == self._lower_device else "another file system is mounted there",
                conflict=before.st_ctime_ns >= born,
            )
        )

    def _below(self, lower: int, place: tuple[str, ...], before: os.stat_result, born: int) -> None:
        """Everything in a folder that is gone."""
        if len(place) > MAX_DEPTH:
            raise _too_much(f"folders more than {MAX_DEPTH} deep")
        if before.st_dev != self._lower_device:
            return
        with entered(lower, place[-1]) as folder:
            for name, one in self._entries(folder).items():
                self._deleted(folder, (*place, name), one, born)

    def _why_refused(
        self, kind: Kind, now: os.stat_result, before: os.stat_result | None, marks: Iterable[str]
    ) -> str:
        if kind == "other":
            return "it is neither a file nor a folder nor a link"
        if now.st_dev != self._upper_device:
            return "another file system is mounted there"
        if before is not None and before.st_dev != self._lower_device:
            return "another file system is mounted there"
        strange = strange_marks(marks)
        return f"it has a mark that the kernel did not set ({strange[0]})" if strange else ""

    def _entries(self, folder: int) -> dict[str, os.stat_result]:
        try:
            found = entries(folder, self._left)
        except OSError as error:
            if error.errno is not None and error.strerror == "too many entries":
                raise _too_much(f"more than {MAX_ENTRIES} files and folders") from error
            raise
        self._left -= len(found)
        return found


def _too_much(what: str) -> Refused:
    return Refused(
        "changes_refused", f"it wrote {what}", remedy="discard what it wrote, or grant it a smaller folder"
    )


def _kind(found: os.stat_result) -> Kind:
    if stat.S_ISREG(found.st_mode):
        return "file"
    if stat.S_ISDIR(found.st_mode):
        return "folder"
    return "link" if stat.S_ISLNK(found.st_mode) else "other"


def _born(folder: int) -> int | None:
    return birth_ns(folder, ".")


def _is_same(spot: _Spot, kind: Kind) -> bool:
    """Whether the plugin left the content of one thing as it was."""
    upper, lower, name, before = spot.upper, spot.lower, spot.name, spot.before
    if lower is None or before is None:
        return False
    if kind == "folder":
        return True
    if kind == "link":
        return os.readlink(name, dir_fd=upper) == os.readlink(name, dir_fd=lower)
    if spot.now.st_size != before.st_size:
        return False
    with opened(open_file(upper, name)) as new:
        try:
            old = open_file(lower, name)
        except PermissionError:
            return False  # somebody else's, whose content we cannot know
        with opened(old):
            while True:
                chunk = os.read(new, CHUNK_BYTES)
                if chunk != os.read(old, CHUNK_BYTES):
                    return False
                if not chunk:
                    return True


def _twins(new: Mapping[str, object], old: Mapping[str, object]) -> dict[str, str]:
    """Names of which another file system, or a person, would see only one."""
    seen: dict[str, str] = {}
    twins: dict[str, str] = {}
    for name in (*old, *(name for name in new if name not in old)):
        folded = unicodedata.normalize("NFKC", name).casefold()
        if folded in seen:
            twins[name] = seen[folded]
        seen.setdefault(folded, name)
    return twins


def _judged_link(change: Change, draft: Draft, upper: int, lower: int) -> Change:
    """A link that leads out of the folder is refused; judged when all is known, since links lead through links."""
    if change.kind != "link" or change.what == "deleted":
        return change
    why = why_astray(
        draft.folder,
        tuple(change.path.split("/")),
        change.target,
        lambda place: link_at(upper, lower, place),
    )
    return replace(change, refused=why) if why else change

"""Everything a draft would change, as one digest: what is kept can be held to what somebody looked at.

Guarantees
- the digest covers every change with its folder, path, kind, mode, target and content: a plugin that goes on
  writing after its changes were shown cannot have other ones kept in their place;
- what is shown of a file and what is digested is the same reading of it;
- a hole costs nothing, however large its file says it is.

What stood in the folder before is no part of it: that it changed meanwhile is a conflict (`changes`). Decides nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sekisho.sandbox.drafts.beneath import filled, open_file, open_root, opened, parent_and_name
from sekisho.sandbox.drafts.changes import Change
from sekisho.sandbox.drafts.draft import Draft

__all__ = ["Content", "Shown", "content_of", "digest_of", "digest_through", "new_content_of"]

MAX_PLAIN_BYTES: Final = 64 << 20  # up to here the digest is the one that every other program computes
CHUNK_BYTES: Final = 1 << 20
UNREAD: Final = "not read"  # closed to us, or gone since: neither can be kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One file as it was read: its digest, and all of it when it is short."""

    digest: str
    data: bytes | None = None


class Shown:
    """The digest of changes that are told one after the other."""

    def __init__(self) -> None:
        self._sum = hashlib.sha256()

    def add(self, draft: Draft, change: Change, content: Content | None) -> None:
        """One more change, in the order of the listing."""
        fields = (draft.folder, change.path, change.what, change.kind, change.was, change.mode, change.target)
        line = json.dumps([*fields, "" if content is None else content.digest])
        self._sum.update(line.encode("ascii") + b"\n")

    @property
    def digest(self) -> str:
        """Of all that was told so far."""
        return self._sum.hexdigest()


def digest_of(found: Iterable[tuple[Draft, Iterable[Change]]]) -> str:
    """The digest of all changes of all drafts as they are now."""
    shown = Shown()
    for draft, changes in found:
        for one in changes:
            shown.add(draft, one, new_content_of(draft, one))
    return shown.digest


def new_content_of(draft: Draft, change: Change, most: int = 0) -> Content | None:
    """What a change would put into its file; None where it puts nothing. Up to `most` bytes are kept."""
    if change.what == "deleted" or change.kind != "file" or not change.is_content_new:
        return None
    return content_of(str(draft.upper.resolve()), change.path, most)


def content_of(folder: str, path: str, most: int) -> Content:
    """One file below a folder."""
    try:
        with (
            opened(open_root(folder)) as root,
            parent_and_name(root, path) as (above, last),
            opened(open_file(above, last)) as fd,
        ):
            return _read(fd, os.fstat(fd).st_size, most)
    except OSError:
        return Content(digest=UNREAD)


def digest_through(fd: int, size: int, take: Callable[[bytes, int], None] | None = None) -> str:
    """The digest of a file in one reading; whoever takes its pieces, with their places, has what is digested."""
    is_plain = size <= MAX_PLAIN_BYTES
    digest, at = hashlib.sha256(b"" if is_plain else b"%d\n" % size), 0
    for start, end in filled(fd, size):
        digest.update(bytes(start - at) if is_plain else b"%d-%d\n" % (start, end))
        at = start
        while at < end and (chunk := os.pread(fd, min(CHUNK_BYTES, end - at), at)):
            digest.update(chunk)
            if take is not None:
                take(chunk, at)
            at += len(chunk)
    if is_plain:
        digest.update(bytes(size - at))
    return f"{'sha256' if is_plain else 'sha256-sparse'}:{digest.hexdigest()}"


def _read(fd: int, size: int, most: int) -> Content:
    if size > most:
        return Content(digest=digest_through(fd, size))
    data = os.pread(fd, size, 0)
    return Content(digest=f"sha256:{hashlib.sha256(data).hexdigest()}", data=data)

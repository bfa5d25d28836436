"""Where the writes of a plugin wait until somebody decides: one folder a plugin, one draft in it for each granted folder.

Guarantees
- a draft is used by one sandbox, or by whoever keeps or discards it, never by two at once: a lock says whose turn it
  is, and the mounts of this machine are asked as well, for a holder that died;
- somebody who waits for his turn is seen by the holder (`is_wanted`), and comes before the next sandbox;
- emptying a draft is one rename; what is left of the old one is removed afterwards.

Knows neither what is in a draft (`changes`) nor how it is kept (`transaction`).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.errors import Unavailable
from sekisho.keys.files import sync_folder
from sekisho.sandbox.drafts.beneath import open_root, opened, remove_tree
from sekisho.sandbox.plans.staged import draft_name, overlay_tag

__all__ = ["Draft", "Drafts", "write_whole"]

LOOK_S: Final = 0.05
UNMOUNT_S: Final = 5.0  # the kernel unmounts as soon as the last process of a sandbox is gone
TURN_S: Final = 30.0  # a plugin server looks every second and ends its plugin within five
_LOCK: Final = "lock"
_TURN: Final = "turn"
_TRASH: Final = "trash."
_PAUSE: Final = threading.Event()  # nobody sets it: what is waited for has no event


@dataclass(frozen=True, slots=True)
class Draft:
    """The writes to one granted folder."""

    place: Path
    folder: str

    @property
    def upper(self) -> Path:
        """What was written, as overlayfs keeps it."""
        return self.place / "upper"

    @property
    def work(self) -> Path:
        """The kernel's own space; nothing in it is kept."""
        return self.place / "work"

    @property
    def tag(self) -> str:
        """What its mount is called wherever it is mounted."""
        return overlay_tag(str(self.upper))

    @property
    def began_ns(self) -> int:
        """When it was last emptied."""
        return (self.place / "folder").stat().st_mtime_ns

    def make_ready(self, owner: int | None) -> None:
        """Make what is missing; the draft's top looks like the folder itself, since that is what the plugin sees."""
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = self.place / "folder"
        if (
            not name.exists() or not name.stat().st_size
        ):  # emptied on a full disk by a release before this one
            write_whole(name, os.fsencode(self.folder))
        with opened(open_root(self.folder)) as lower:
            found = os.fstat(lower)
        for path in (self.upper, self.work):
            path.mkdir(mode=0o700, exist_ok=True)
            if owner is not None:
                os.chown(path, owner, owner)
        self.upper.chmod(stat.S_IMODE(found.st_mode) & 0o777)

    def empty(self) -> None:
        """Throw away what was written."""
        for path in (self.upper, self.work):
            if path.exists():
                path.rename(self.place / f"{_TRASH}{secrets.token_hex(8)}")
        os.utime(
            self.place / "folder"
        )  # not written anew: a kill or a full disk would leave a draft of no folder
        with opened(os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)) as place:
            os.fsync(place)
            for name in os.listdir(place):  # noqa: PTH208 - of an open folder
                if name.startswith(_TRASH):
                    remove_tree(place, name)


@dataclass(frozen=True, slots=True)
class Drafts:
    """All drafts of one plugin."""

    place: Path

    def of(self, folder: str) -> Draft:
        """The draft for one granted folder."""
        return Draft(self.place / draft_name(folder), folder)

    def all(self) -> tuple[Draft, ...]:
        """Those that were ever begun, by their folders."""
        names = sorted(self.place.glob("*/folder"))
        found = (Draft(name.parent, os.fsdecode(name.read_bytes())) for name in names)
        return tuple(sorted(found, key=lambda draft: draft.folder))

    @property
    def is_wanted(self) -> bool:
        """Whether somebody waits for his turn with them."""
        return not self._take_now(_TURN, keep=False)

    def take(self) -> int:
        """For a sandbox: the lock, held while the descriptor is open.

        Raises:
            Unavailable: somebody has them, or waits for them.
        """
        held = None if self.is_wanted else self._take_now(_LOCK, keep=True)
        if held is None:
            raise Unavailable(
                "plugin_unavailable", "what it wrote is being kept or discarded, or used elsewhere"
            )
        return held

    @contextmanager
    def turn(self, wait_s: float = TURN_S) -> Iterator[None]:
        """For whoever keeps or discards them: no sandbox uses them, and none will before this ends.

        Raises:
            Unavailable: the sandbox that uses them was not ended in time.
        """
        deadline = time.monotonic() + wait_s
        turn = self._wait(_TURN, deadline)
        try:
            held = self._wait(_LOCK, deadline)
            try:
                self.wait_unmounted()
                yield
            finally:
                os.close(held)
        finally:
            os.close(turn)

    def wait_unmounted(self) -> None:
        """Until no process sees one of them as a file system; one whose holder died is still there for an instant.

        Raises:
            Unavailable: it does not end.
        """
        tags = {draft.tag for draft in self.all()}
        deadline = time.monotonic() + UNMOUNT_S
        while tags and _is_mounted(tags):
            if time.monotonic() > deadline:
                raise Unavailable(
                    "plugin_unavailable",
                    "a process still uses what the plugin wrote",
                    remedy="end the plugin first",
                )
            _PAUSE.wait(LOOK_S)

    def _wait(self, name: str, deadline: float) -> int:
        while True:
            held = self._take_now(name, keep=True)
            if held is not None:
                return held
            if time.monotonic() > deadline:
                raise Unavailable(
                    "plugin_unavailable",
                    "the plugin runs, and what it wrote cannot be touched meanwhile",
                    remedy="end the plugin, or sekisho, and type it again",
                )
            _PAUSE.wait(LOOK_S)

    def _take_now(self, name: str, *, keep: bool) -> int | None:
        self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.place / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if not keep:
            os.close(fd)
        return fd


def write_whole(path: Path, content: bytes) -> None:
    """Replace a file: whoever reads it finds the old or the new one, after a crash too."""
    fresh = path.with_name(f"{path.name}.new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    sync_folder(path.parent)


def _is_mounted(tags: set[str]) -> bool:
    for table in Path("/proc").glob("[0-9]*/mountinfo"):
        with contextlib.suppress(
            OSError
        ):  # it ended, or is not ours to look into: then it has not our mounts
            text = table.read_text(encoding="utf-8", errors="replace")
            if any(tag in text for tag in tags):
                return True
    return False

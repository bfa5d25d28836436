"""The journal of a transaction: which folders it changes, by which steps, and how far it is.

Guarantees that what is written is durable before it counts, that a journal is replaced whole, and that a folder which was
put in the place of another is never taken for it. Knows what a step looks like no more than JSON does (`steps`).
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sekisho.errors import Unavailable
from sekisho.keys.files import sync_folder
from sekisho.sandbox.drafts.beneath import open_root, opened, remove_tree
from sekisho.sandbox.drafts.draft import Drafts, write_whole

__all__ = ["Root", "State", "read_journal", "remove_journal", "write_journal"]

MAX_JOURNAL_BYTES: Final = 256 << 20
_JOURNAL: Final = "journal.json"

State = Literal["preparing", "ready", "applied", "discarding"]


@dataclass(frozen=True, slots=True)
class Root:
    """One granted folder of a transaction: where its copies lie, and what is to be done."""

    folder: str
    identity: tuple[int, int]
    stage: str
    steps: Sequence[Sequence[Any]]

    @classmethod
    def begin(cls, folder: str) -> Root:
        """A folder as it is found, with nothing to be done yet. Nobody can have made something of its stage's name."""
        with opened(open_root(folder)) as fd:
            found = os.fstat(fd)
        return cls(folder, (found.st_dev, found.st_ino), f".sekisho-{secrets.token_hex(16)}", ())

    @classmethod
    def of(cls, one: Mapping[str, Any]) -> Root:
        """From the journal."""
        return cls(one["folder"], (one["device"], one["inode"]), one["stage"], one["steps"])

    def as_json(self) -> dict[str, Any]:
        """As the journal has it."""
        device, inode = self.identity
        return {
            "folder": self.folder, "device": device, "inode": inode, "stage": self.stage, "steps": self.steps,
        }  # fmt: skip

    def open(self) -> int:
        """Open the folder, if it is still the one whose changes were begun to be kept.

        Raises:
            Unavailable: it is not, or cannot be reached.
        """
        try:
            fd = open_root(self.folder)
        except OSError as error:
            raise Unavailable(
                "changes_unavailable", f"{self.folder} cannot be reached: {error.strerror}"
            ) from error
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != self.identity:
            os.close(fd)
            raise Unavailable(
                "changes_unavailable",
                f"{self.folder} is another folder than the one whose changes were begun to be kept",
                remedy="put the first one back, then type it again",
            )
        return fd

    def remove_stage(self) -> None:
        """Remove its copies."""
        with opened(self.open()) as lower:
            remove_tree(lower, self.stage)
            os.fsync(lower)


def write_journal(drafts: Drafts, state: State, roots: Sequence[Root]) -> None:
    """Make the state durable."""
    text = json.dumps({"state": state, "roots": [root.as_json() for root in roots]})
    write_whole(drafts.place / _JOURNAL, text.encode())


def read_journal(drafts: Drafts) -> tuple[str, list[Root]]:
    """The state, "" when nothing is under way.

    Raises:
        Unavailable: the journal is none of ours.
    """
    path = drafts.place / _JOURNAL
    try:
        if path.stat().st_size > MAX_JOURNAL_BYTES:
            raise Unavailable("changes_unavailable", f"{path} is no journal of ours")
        said = json.loads(path.read_bytes())
        return str(said["state"]), [Root.of(one) for one in said["roots"]]
    except FileNotFoundError:
        return "", []
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable("changes_unavailable", f"{path} cannot be read") from error


def remove_journal(drafts: Drafts) -> None:
    """Nothing is under way any more."""
    (drafts.place / _JOURNAL).unlink(missing_ok=True)
    sync_folder(drafts.place)

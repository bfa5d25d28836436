"""The note that says which tree a plugin uses, and which ones it used before.

Guarantees that a note is the one before or the new one, whatever happens to the machine, and that one which cannot be
read is refused, not guessed.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekisho.install.durable import read_file, replace_file
from sekisho.install.kept import broken
from sekisho.install.manifest import DIGEST

__all__ = ["Active", "read_active", "write_active"]


class Active(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trees a plugin uses and used, by digest; the newest of `before` comes first.

    `asked` is what the configuration asked for when this was decided; after a step back it is not what is used.
    """

    current: str
    asked: str
    before: tuple[str, ...] = ()


def read_active(folder: Path, plugin: str) -> Active | None:
    """Which tree a plugin uses; None when none was installed for it.

    Raises:
        Tampered: the note cannot be read.
    """
    try:
        content = read_file(folder / f"{plugin}.json")
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(content, type=Active)
    except msgspec.MsgspecError as error:
        raise broken(f"the note of which package {plugin} uses cannot be read") from error
    if not all(DIGEST.fullmatch(one) for one in (found.current, *found.before)):
        raise broken(f"the note of which package {plugin} uses cannot be read")
    return found


def write_active(folder: Path, plugin: str, active: Active) -> None:
    """Let a plugin use these."""
    replace_file(folder / f"{plugin}.json", msgspec.json.encode(active) + b"\n")

"""What is in a package's tree, as text of which there is one spelling, and the digests that name it.

- One line for each folder, file and link, sorted by path: kind, mode, size, two digests of the content, path.
- Two hash families (SHA-256 and BLAKE2b) stand beside each other in every line and over the whole, so that one of
  them may break. The tree is named by the first.
- A mode is one of three: a folder, a file, a file that may be run; read by all, written by nobody.
- A path has printable characters and no step back; a link leads, by a relative path, to a place in the tree.

Judgement only: `tree` reads and writes files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sekisho.errors import Refused, Tampered

__all__ = [
    "DIGEST",
    "Digests",
    "Entry",
    "EntryKind",
    "check_link",
    "check_path",
    "digests_of",
    "read_manifest",
    "write_manifest",
]

MAX_PATH_BYTES: Final = 4096  # the kernel's own bound
MAX_DEPTH: Final = 128  # each folder on the way is held open while a tree is read
DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FIRST_LINE: Final = "sekisho tree 1"
_LINE: Final = re.compile(r"([dfxl]) ([0-9]{1,15}) ([0-9a-f]{64}|-) ([0-9a-f]{64}|-) ([^\n]+)", re.ASCII)

EntryKind = Literal["d", "f", "x", "l"]  # folder, file, file that may be run, link


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """The content of one file, or of one whole tree, in two hash families."""

    sha256: str
    blake2b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing in a tree, by its path from the top. A link's content is where it leads."""

    kind: EntryKind
    path: str
    size: int = 0
    digests: Digests | None = None

    def line(self) -> str:
        """Its line in the manifest."""
        first, second = (self.digests.sha256, self.digests.blake2b) if self.digests else ("-", "-")
        return f"{self.kind} {self.size} {first} {second} {self.path}"


def write_manifest(entries: Iterable[Entry]) -> bytes:
    """The one spelling of a tree."""
    lines = sorted(entries, key=lambda entry: entry.path.encode())
    return "\n".join((_FIRST_LINE, *(entry.line() for entry in lines), "")).encode()


def digests_of(content: bytes) -> Digests:
    """Both digests of some bytes."""
    return Digests(
        sha256=hashlib.sha256(content).hexdigest(),
        blake2b=hashlib.blake2b(content, digest_size=32).hexdigest(),
    )


def read_manifest(content: bytes) -> tuple[Entry, ...]:
    """Read a manifest.

    Raises:
        Tampered: it is not one that `write_manifest` wrote.
    """
    try:
        first, *lines, last = content.decode("utf-8").split("\n")
    except (UnicodeDecodeError, ValueError) as error:
        raise _broken() from error
    entries = tuple(_entry(line) for line in lines)
    if first != _FIRST_LINE or last or write_manifest(entries) != content:
        raise _broken()
    if len({entry.path for entry in entries}) != len(entries):
        raise _broken()
    return entries


def _entry(line: str) -> Entry:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _broken()
    kind, size, sha256, blake2b, path = found.groups()
    has_content = kind != "d"
    if (sha256 != "-") != has_content or (blake2b != "-") != has_content:
        raise _broken()
    try:
        check_path(path)
    except Refused as error:
        raise _broken() from error
    digests = Digests(sha256=sha256, blake2b=blake2b) if has_content else None
    match kind:
        case "d" | "f" | "x" | "l":
            return Entry(kind=kind, path=path, size=int(size), digests=digests)
        case _:
            raise _broken()


def check_path(path: str) -> None:
    """A path from the top of the tree, in one spelling.

    Raises:
        Refused: it is none.
    """
    parts = path.split("/")
    is_plain = path.isprintable() and all(part not in ("", ".", "..") for part in parts)
    is_short = len(path.encode("utf-8", "surrogateescape")) <= MAX_PATH_BYTES and len(parts) <= MAX_DEPTH
    if not is_plain or not is_short:
        raise Refused("package_refused", f"the package has a file whose path is not plain: {path[:80]!a}")


def check_link(path: str, target: str) -> None:
    """A link may lead only to places in the tree. `path` has no link on its way.

    Steps back come first: behind a name, which may be a link itself, they would start somewhere else than it seems.

    Raises:
        Refused: it leaves the tree, or could.
    """
    above = len(path.split("/")) - 1
    parts = target.split("/")
    back = next((place for place, part in enumerate(parts) if part != ".."), len(parts))
    is_good = bool(target) and not target.startswith("/") and target.isprintable()
    if not is_good or back > above or ".." in parts[back:]:
        raise Refused("package_refused", f"the package has a link that leaves it: {path[:80]}")


def _broken() -> Tampered:
    return Tampered("package_tampered", "the list of a package's files is not as it was written")

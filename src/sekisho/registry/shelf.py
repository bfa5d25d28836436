"""Where surfaces are kept: every one that was ever seen, by its root, never overwritten.

Guarantees: a stored surface is whole or absent (written aside, then linked into place); what is loaded is
digested again and must still have the root it is filed under; a plugin that changes its definitions forever
cannot fill the disk. The shelf does not know what is approved (`lock`): it keeps the old text so that a
reviewer can see a difference.

    <home>/registry/<plugin>/surfaces/<root in hex>.json      one file per surface, mode 0600
    <home>/registry/<plugin>/current.json                     the root seen last
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from sekisho.errors import Misconfigured, ProtocolError, Refused, SekishoError, Tampered, Unavailable
from sekisho.keys.files import sync_folder
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName
from sekisho.registry.lock import write_durably
from sekisho.registry.surface import (
    Listing,
    Surface,
    listing_from_json,
    listing_to_json,
    parse_stored,
    surface_of,
)

__all__ = ["Shelf", "Shelved"]

MAX_HISTORY: Final = 256  # surfaces per plugin; a plugin that changes on every listing must not fill the disk
_ROOT: Final = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One stored surface: its root, when it was first seen, where it lies."""

    root: str
    first_seen: str
    path: Path


class Shelf:
    """The surfaces of all plugins under one folder."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "registry"
        self._kept: dict[PluginName, str] = {}  # what this process made current

    def store(self, plugin: PluginName, listing: Listing, now: float) -> Surface:
        """Keep a listing as it was seen at `now` (Unix seconds) and make it the current one."""
        surface = surface_of(listing)
        path = self._path(plugin, surface.root)
        seen = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                self._refuse_when_full(plugin, path.parent)
                _place(path, {"first_seen": seen, "root": surface.root, "listing": listing_to_json(listing)})
            current = self._current(plugin)
            if self._kept.get(plugin) != surface.root or not current.exists():  # it is listed again and again
                _replace(current, {"root": surface.root, "seen": seen})
                self._kept[plugin] = surface.root
        except OSError as error:
            raise Unavailable(
                "log_unavailable",
                f"the definitions of {plugin} cannot be stored: {error.strerror}",
                remedy=f"free space, or mend {self._folder}",
            ) from error
        return surface

    def load(self, plugin: PluginName, root: str) -> Surface:
        """The stored surface with this root.

        Raises:
            Misconfigured: it is not on the shelf.
            Tampered: the file no longer has the root it is filed under.
        """
        stored = self._read(self._path(plugin, root))
        if stored is None:
            raise Misconfigured(
                "lock_invalid",
                f"the locked definitions of {plugin} are not on the shelf",
                remedy=f"start the plugin once so that they are listed again: sekisho review {plugin}",
            )
        try:
            surface = surface_of(listing_from_json(stored.get("listing")))
        except ProtocolError as error:
            raise _broken(plugin) from error
        if surface.root != root:
            raise _broken(plugin)
        return surface

    def find(self, plugin: PluginName, root: str) -> Surface | None:
        """Like `load`, but None when there is no such file."""
        return self.load(plugin, root) if self._path(plugin, root).exists() else None

    def current(self, plugin: PluginName) -> str | None:
        """The root that was seen last, if any."""
        stored = self._read(self._current(plugin))
        root = None if stored is None else stored.get("root")
        return root if isinstance(root, str) and _ROOT.fullmatch(root) else None

    def history(self, plugin: PluginName) -> tuple[Shelved, ...]:
        """Every surface ever stored, oldest first."""
        found = []
        for path in (self._folder / plugin / "surfaces").glob("*.json"):
            stored = self._read(path) or {}
            root, seen = stored.get("root"), stored.get("first_seen")
            if isinstance(root, str) and isinstance(seen, str):
                found.append(Shelved(root=root, first_seen=seen, path=path))
        return tuple(sorted(found, key=lambda shelved: (shelved.first_seen, shelved.root)))

    def _path(self, plugin: PluginName, root: str) -> Path:
        match = _ROOT.fullmatch(root)
        if match is None:  # the root becomes a file name: nothing but hex may reach the path
            raise Tampered("lock_invalid", f"the root of {plugin} is not a SHA-256 digest")
        return self._folder / plugin / "surfaces" / f"{match[1]}.json"

    def _current(self, plugin: PluginName) -> Path:
        return self._folder / plugin / "current.json"

    def _refuse_when_full(self, plugin: PluginName, folder: Path) -> None:
        if sum(1 for _ in folder.glob("*.json")) >= MAX_HISTORY:
            raise Refused(
                "definition_changed",
                f"{plugin} has shown {MAX_HISTORY} different surfaces; no more are stored",
                remedy=f"look why it changes so often, then move old files away from {folder}",
            )

    @staticmethod
    def _read(path: Path) -> dict[str, JsonValue] | None:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Misconfigured(
                "lock_invalid", f"{path} cannot be read: {error.strerror}", remedy="mend its permissions"
            ) from error
        try:
            value = parse_stored(data)
        except SekishoError as error:
            raise Tampered("lock_invalid", f"{path} is not as it was written") from error
        if not isinstance(value, dict):
            raise Tampered("lock_invalid", f"{path} is not as it was written")
        return value


def _broken(plugin: PluginName) -> Tampered:
    return Tampered(
        "lock_invalid",
        f"a stored surface of {plugin} is not as it was written",
        remedy="keep the file as evidence, remove it, and let the plugin list again",
    )


def _place(path: Path, content: Mapping[str, JsonValue]) -> None:
    """Create `path` with its whole content or not at all; never replaces what is already there."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")  # two processes must not share one draft
    write_durably(draft, msgspec.json.encode(content), mode=0o600)
    try:
        with suppress(
            FileExistsError
        ):  # another process stored the same surface first: same root, same content
            os.link(draft, path)
    finally:
        draft.unlink()
    sync_folder(path.parent)


def _replace(path: Path, content: Mapping[str, JsonValue]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")  # two processes must not share one draft
    write_durably(draft, msgspec.json.encode(content), mode=0o600)
    draft.replace(path)
    sync_folder(path.parent)

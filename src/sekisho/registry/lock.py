"""`sekisho.lock`: what was approved, in a file that people review and git keeps.

Guarantees:
- TOML text, sorted, one line per digest, so that a diff shows exactly what changed; every character outside
  plain ASCII is escaped, so that nothing hides in it;
- a file is accepted only when writing it again gives the same bytes, each root follows from its items and
  each `check` line from its entry: an edit by hand is refused, never half understood;
- it is replaced atomically and is on disk before `save_lock` returns.

It does not prove *who* wrote it: whoever may write the file and runs this code can write another consistent
one. That is what version control (and later signatures) are for. Below: `surface`. Above: whoever approves.
"""

from __future__ import annotations

import fcntl
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured, Tampered
from sekisho.keys.files import sync_folder
from sekisho.protocol.canonical import canonical_bytes, digest
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName, plugin_name
from sekisho.registry.surface import ItemId, ItemKind, Surface, root_of

__all__ = [
    "LockFile",
    "LockedPlugin",
    "load_lock",
    "lock_entry",
    "parse_lock",
    "render_lock",
    "save_lock",
    "update_lock",
]

MAX_LOCK_BYTES: Final = 64 << 20  # a lock file is read whole
LOCK_VERSION: Final = 1
_KINDS: Final = frozenset(kind.value for kind in ItemKind)
_HEADER: Final = """\
# sekisho.lock: what was approved, one line per digest. Written by `sekisho approve`; do not edit.
# Keep it in version control and review its changes. `sekisho lock verify` checks it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPlugin:
    """One approved plugin: how it is started, what it may touch, and every definition it had."""

    name: PluginName
    argv: tuple[str, ...]
    grants: str
    root: str
    items: dict[ItemId, str]
    approved_by: str
    approved_at: str

    @property
    def check(self) -> str:
        """A digest over the whole entry, so that editing any field of it is noticed."""
        whom: dict[str, JsonValue] = {"approved_by": self.approved_by, "approved_at": self.approved_at}
        return digest("sekisho/lock/1", canonical_bytes(self._what | whom))

    @property
    def seen(self) -> str:
        """A digest over what is approved, without by whom and when: what a person saw."""
        return digest("sekisho/seen/1", canonical_bytes(self._what))

    @property
    def _what(self) -> dict[str, JsonValue]:
        return {"name": self.name, "argv": list(self.argv), "grants": self.grants, "root": self.root}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockFile:
    """All approved plugins."""

    plugins: Mapping[PluginName, LockedPlugin] = field(default_factory=dict)

    def get(self, name: PluginName) -> LockedPlugin | None:
        """The entry of a plugin, or None when it was never approved."""
        return self.plugins.get(name)

    def with_plugin(self, entry: LockedPlugin) -> LockFile:
        """A new file in which this entry replaces an older one of the same name."""
        return LockFile(plugins={**self.plugins, entry.name: entry})

    def without(self, name: PluginName) -> LockFile:
        """A new file in which this plugin is unknown again."""
        return LockFile(plugins={key: entry for key, entry in self.plugins.items() if key != name})


def lock_entry(
    *,
    name: PluginName,
    argv: tuple[str, ...],
    grants: str,
    surface: Surface,
    approved_by: str,
    approved_at: str,
) -> LockedPlugin:
    """The entry that approves exactly this surface, launcher and set of permissions."""
    return LockedPlugin(
        name=name,
        argv=argv,
        grants=grants,
        root=surface.root,
        items=surface.digests(),
        approved_by=approved_by,
        approved_at=approved_at,
    )


def render_lock(lock: LockFile) -> str:
    """The one text of a lock file."""
    lines = [_HEADER, f"version = {LOCK_VERSION}\n"]
    for name in sorted(lock.plugins):
        entry = lock.plugins[name]
        lines.append(f"\n[plugins.{name}]\n")
        lines.append(f"approved_at = {_quoted(entry.approved_at)}\n")
        lines.append(f"approved_by = {_quoted(entry.approved_by)}\n")
        lines.append(f"argv = [{', '.join(_quoted(word) for word in entry.argv)}]\n")
        lines.append(f"check = {_quoted(entry.check)}\n")
        lines.append(f"grants = {_quoted(entry.grants)}\n")
        lines.append(f"root = {_quoted(entry.root)}\n")
        lines.append(f"\n[plugins.{name}.items]\n")
        lines += [f"{_quoted(str(key))} = {_quoted(entry.items[key])}\n" for key in sorted(entry.items)]
    return "".join(lines)


def parse_lock(text: str) -> LockFile:
    """Read a lock file and refuse every text that `render_lock` would not have written.

    Raises:
        Tampered: `lock_invalid`, with the first line that differs.
    """
    try:
        table = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise Tampered("lock_invalid", "sekisho.lock is not TOML") from error
    plugins = table.get("plugins", {})
    if table.get("version") != LOCK_VERSION or not isinstance(plugins, dict):
        raise Tampered("lock_invalid", f"sekisho.lock is not of version {LOCK_VERSION}")
    entries = [_entry(name, fields) for name, fields in plugins.items()]
    lock = LockFile(plugins={entry.name: entry for entry in entries})
    written = render_lock(lock)
    if written != text:
        raise Tampered("lock_invalid", f"sekisho.lock was edited: {_first_difference(text, written)}")
    return lock


def load_lock(path: Path) -> LockFile:
    """Read the lock file; a file that is not there approves nothing."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LOCK_BYTES + 1)
    except FileNotFoundError:
        return LockFile()
    except OSError as error:
        raise Misconfigured(
            "lock_invalid",
            f"{path} cannot be read: {error.strerror}",
            remedy="mend its path or permissions",
        ) from error
    if len(data) > MAX_LOCK_BYTES:
        raise Tampered("lock_invalid", f"{path} is larger than {MAX_LOCK_BYTES} bytes")
    try:
        return parse_lock(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Tampered("lock_invalid", f"{path} is not UTF-8") from error


def update_lock(path: Path, change: Callable[[LockFile], LockFile]) -> LockFile:
    """Read the lock file, change it and save it while nobody else does; returns what is on disk then.

    Two people who approve at one moment must not lose one of their approvals.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot_write(path, error) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # given up with the descriptor
        lock = change(load_lock(path))
        save_lock(path, lock)
        return lock
    finally:
        os.close(folder)


def save_lock(path: Path, lock: LockFile) -> None:
    """Replace the lock file atomically; it is on disk when this returns."""
    text = render_lock(lock)
    parse_lock(text)  # what could not be read back must never replace a good file
    draft = path.with_name(f".{path.name}.new")
    try:
        write_durably(draft, text.encode("utf-8"), mode=0o644)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> Misconfigured:
    return Misconfigured(
        "lock_invalid",
        f"{path} cannot be written: {error.strerror}",
        remedy="mend its path or permissions",
    )


def write_durably(path: Path, data: bytes, *, mode: int) -> None:
    """Write a whole file and wait until the disk has it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _entry(name: str, fields: object) -> LockedPlugin:
    match fields:
        case {
            "approved_at": str() as approved_at,
            "approved_by": str() as approved_by,
            "argv": list() as argv,
            "check": str() as check,
            "grants": str() as grants,
            "root": str() as root,
            "items": dict() as items,
            **unknown,
        } if not unknown and all(isinstance(word, str) for word in argv):
            entry = LockedPlugin(
                name=_name(name),
                argv=tuple(argv),
                grants=grants,
                root=root,
                items={_item_id(key): _digest(value) for key, value in items.items()},
                approved_by=approved_by,
                approved_at=approved_at,
            )
        case _:
            raise Tampered("lock_invalid", f"the entry of plugin {_quoted(name)} is incomplete")
    if root_of(entry.items) != root:
        raise Tampered("lock_invalid", f"the root of plugin {name} does not follow from its items")
    if entry.check != check:
        raise Tampered("lock_invalid", f"the check line of plugin {name} does not follow from its entry")
    return entry


def _name(text: str) -> PluginName:
    try:
        return plugin_name(text)
    except Misconfigured as error:
        raise Tampered("lock_invalid", f"{_quoted(text)} is not a plugin name") from error


def _item_id(text: str) -> ItemId:
    kind, _, name = text.partition(" ")
    if not name or kind not in _KINDS:
        raise Tampered("lock_invalid", f"{_quoted(text)} does not name an item")
    return ItemId(ItemKind(kind), name)


def _digest(value: object) -> str:
    if not isinstance(value, str):
        raise Tampered("lock_invalid", "a digest is not a text")
    return value


def _quoted(text: str) -> str:
    """A TOML basic string in plain ASCII: no character of a plugin's name can act on a terminal or hide."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    code = ord(character)
    if 0x20 <= code < 0x7F:
        return character
    return f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}"


def _first_difference(text: str, written: str) -> str:
    ours, theirs = written.splitlines(keepends=True), text.splitlines(keepends=True)
    for number, (expected, found) in enumerate(zip(ours, theirs, strict=False), start=1):
        if expected != found:
            return f"line {number} is not as written"
    return f"it has {len(theirs)} lines, not {len(ours)}"

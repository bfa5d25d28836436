"""Where trees are kept, and which one each plugin uses.

- `sha256/<digest>/` holds one tree (`tree`), its manifest, its lock and its receipt; whoever has the digest knows every
  byte.
- A tree gets its name by one rename, when it is whole and on the disk; what has a name is never written again.
- `active/<plugin>.json` says which tree a plugin uses and which ones it used before. It is replaced by one rename,
  so a reader, and a machine that lost its power, sees the old state or the new one.
- One writer at a time; readers need no lock.

Knows no package manager and no registry.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from sekisho.errors import Misconfigured, Refused, Tampered, Unavailable
from sekisho.install.active import Active, read_active, write_active
from sekisho.install.durable import read_file, replace_file
from sekisho.install.kept import Kept, Receipt, entries_of, open_kept
from sekisho.install.manifest import Digests, digests_of, write_manifest
from sekisho.install.tree import Stamp, TreeLimits, hash_all, look, remove_tree, stamps_of, sync_all, take
from sekisho.keys.files import sync_folder

__all__ = ["Step", "Store"]

KEPT_BEFORE: Final = 5  # trees that a plugin used before, and that it can go back to
Step = Literal["taken", "listed", "synced", "named", "pointed", "swept"]


class Store:
    """The packages of one installation. `at` is told after each step, so that a test can end the process there."""

    def __init__(self, folder: Path, *, at: Callable[[Step], None] = lambda _step: None) -> None:
        self.folder = folder
        self._trees = folder / "sha256"
        self._active = folder / "active"
        self._work = folder / "work"
        self._at = at

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the only one who changes the store; what a dead writer left half done is removed first.

        Raises:
            Unavailable: somebody else is at it.
            Misconfigured: the folder cannot be written.
        """
        try:
            for folder in (self.folder, self._trees, self._active, self._work):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Misconfigured(
                "config_invalid",
                f"{self.folder} cannot be written: {error.strerror}",
                remedy='choose another home: home = "/a/path" at the top of the file, or $SEKISHO_HOME',
            ) from error
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Unavailable(
                    "package_unavailable",
                    "another sekisho install is at work",
                    remedy="wait until it is done",
                ) from error
            self._clear()
            try:
                yield
            finally:
                self._clear()
        finally:
            os.close(fd)

    def _clear(self) -> None:
        for leftover in (*self._work.iterdir(), *self._active.glob("*.json.*")):
            remove_tree(leftover)

    def workplace(self) -> Path:
        """A new folder on the same file system, for us alone."""
        folder = self._work / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        return folder

    def keep(
        self,
        staged: Path,
        *,
        lock_name: str,
        lock: bytes,
        limits: TreeLimits,
        describe: Callable[[Digests, int, int], Receipt],
    ) -> Kept:
        """Take a staged tree into the store; one that is there already is proved instead.

        Args:
            staged: a folder from `workplace` that holds `tree`.
            lock_name: the name of the lock.
            lock: what exactly was installed.
            limits: how much the tree may be.
            describe: makes the receipt from the tree's digests, number of entries and bytes.
        """
        entries = take(staged / "tree", limits)
        self._at("taken")
        manifest = write_manifest(entries)
        digests = digests_of(manifest)
        size = sum(entry.size for entry in entries)
        receipt = describe(digests, len(entries), size)
        content = msgspec.json.format(msgspec.json.encode(receipt), indent=1) + b"\n"
        # The name covers the receipt too, which says what of the tree is run.
        digest = digests_of(content).sha256
        for name, data in (("manifest", manifest), (lock_name, lock), ("receipt.json", content)):
            path = staged / name
            path.write_bytes(data)
            path.chmod(0o444)
        self._at("listed")
        return self._name(staged, digest)

    def _name(self, staged: Path, digest: str) -> Kept:
        place = self._trees / digest
        if place.exists():
            try:
                kept = self.open(digest)
                hash_all(kept.tree, entries_of(kept))
            except (Tampered, Misconfigured):
                remove_tree(self._moved_aside(place))
            else:
                remove_tree(staged)
                return kept
        sync_all(staged)
        self._at("synced")
        staged.rename(place)
        place.chmod(0o755)
        sync_folder(self._trees)
        self._at("named")
        kept = self.open(digest)
        self._write_stamps(kept)
        return kept

    def _moved_aside(self, place: Path) -> Path:
        aside = self._work / secrets.token_hex(8)
        place.chmod(0o700)
        place.rename(aside)
        return aside

    def take_files(self, lock: bytes, into: Path) -> bool:
        """Move what was fetched for a lock to `into`, if it is still here. It is only as good as its digests."""
        try:
            self._files(digests_of(lock).sha256).rename(into)
        except FileNotFoundError:
            return False
        return True

    def keep_files(self, lock: bytes, files: Path) -> None:
        """Keep what was fetched, so that the same lock can be installed again without a network."""
        if files.is_symlink() or not files.is_dir():
            return  # who unpacked it was taken over and left something else: it is fetched again
        place = self._files(digests_of(lock).sha256)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        remove_tree(place)
        files.rename(place)

    def activate(self, plugin: str, digest: str, asked: str) -> Active:
        """Let a plugin use this tree from its next start on."""
        now = self.known(plugin)
        used = () if now is None else (now.current, *now.before)
        before = tuple(one for one in used if one != digest)[:KEPT_BEFORE]
        return self._point(plugin, Active(current=digest, asked=asked, before=before))

    def roll_back(self, plugin: str, asked: str) -> Active:
        """Let a plugin use the tree it used before.

        Raises:
            Refused: there is none.
            Tampered: it is not as it was installed.
        """
        now = self.active(plugin)
        if now is None or not now.before:
            raise Refused(
                "package_refused",
                f"{plugin} has used no other package before",
                remedy=f"name the release you want in its file, then type sekisho install {plugin}",
            )
        self.prove(self.open(now.before[0]))
        return self._point(plugin, Active(current=now.before[0], asked=asked, before=now.before[1:]))

    def active(self, plugin: str) -> Active | None:
        """Which tree a plugin uses; None when none was installed for it. Raises Tampered."""
        return read_active(self._active, plugin)

    def known(self, plugin: str) -> Active | None:
        """Like `active`, for whoever installs: a note that cannot be read is written anew, so it counts as none."""
        try:
            return self.active(plugin)
        except Tampered:
            return None

    def open(self, digest: str) -> Kept:
        """The tree of this name, its receipt proved by it.

        Raises:
            Misconfigured: it is not here.
            Tampered: its receipt is not as it was written.
        """
        return open_kept(self._trees, digest)

    def prove(self, kept: Kept, *, wholly: bool = False) -> None:
        """Is the tree as it was installed? `wholly` reads every byte, else what the kernel says is unchanged counts.

        Raises:
            Tampered: it is not.
        """
        entries = entries_of(kept)
        if wholly:
            hash_all(kept.tree, entries)
        elif not look(kept.tree, entries, self._stamps(kept)):
            self._write_stamps(kept)

    def sweep(self) -> None:
        """Remove trees that no plugin uses or used lately; only a writer may.

        Where the note of one plugin, or a tree it names, cannot be read, nothing is removed: that is for the start of
        this plugin to refuse, and no reason why another one cannot be installed.
        """
        with contextlib.suppress(Tampered):
            self._sweep()
        self._at("swept")

    def _sweep(self) -> None:
        used = set[str]()
        for path in self._active.glob("*.json"):
            found = self.active(path.stem)
            if found is not None:
                used |= {found.current, *found.before}
        locks = {self.open(digest).receipt.lock_sha256 for digest in used if (self._trees / digest).exists()}
        for folder in self._trees.iterdir():
            if folder.name not in used:
                remove_tree(self._moved_aside(folder))
        for stamps in (self.folder / "stamps").glob("*.json"):
            if stamps.stem not in used:
                stamps.unlink()
        for files in (self.folder / "files").glob("*"):
            if files.name not in locks:
                remove_tree(files)

    def _point(self, plugin: str, active: Active) -> Active:
        write_active(self._active, plugin, active)
        self._at("pointed")
        return active

    def _files(self, lock_sha256: str) -> Path:
        return self.folder / "files" / lock_sha256

    def _stamps(self, kept: Kept) -> dict[str, Stamp]:
        try:
            return msgspec.json.decode(read_file(self._stamps_path(kept)), type=dict[str, Stamp])
        except (OSError, msgspec.MsgspecError):
            return {}  # then everything is hashed

    def _write_stamps(self, kept: Kept) -> None:
        # Only a help against hashing each time; where it cannot be written, everything is hashed each time.
        with contextlib.suppress(OSError):
            self._stamps_path(kept).parent.mkdir(mode=0o700, exist_ok=True)
            replace_file(self._stamps_path(kept), msgspec.json.encode(stamps_of(kept.tree)))

    def _stamps_path(self, kept: Kept) -> Path:
        return self.folder / "stamps" / f"{kept.digest}.json"

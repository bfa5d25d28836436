"""Installs one package for one plugin: doubts its name, fetches it, unpacks it, judges it, and lets the plugin use it.

Guarantees
- nothing of a package is read or unpacked outside walls before it was judged, and no code of it runs at all;
- the tree is made without a network from files whose digests the lock states; the same lock makes the same tree;
- a plugin uses the old tree until the new one is whole and on the disk; whatever fails before leaves it so;
- the answer of a registry is compared with what was asked for, at every step where another answer could hide.

Stands on `stages` (what is run), `stage` (behind which walls), `locks`, `tree` and `launch` (what is accepted) and
`store` (what is kept). Asks nobody anything: the words for a person are the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sekisho.errors import Misconfigured, Refused, SekishoError
from sekisho.install.forwarding import ForwardProxy
from sekisho.install.kept import Kept, Receipt
from sekisho.install.launch import Entry, find_entry
from sekisho.install.locks import check_npm_lock, check_python_lock, write_python_lock
from sekisho.install.manifest import Digests, digests_of
from sekisho.install.names import suspicion
from sekisho.install.outlet import address_rule
from sekisho.install.package import PackageSpec
from sekisho.install.received import read_lock, read_wheels, take_over
from sekisho.install.settings import InstallSettings
from sekisho.install.stage import Reach, run
from sekisho.install.stages import LOCK_NAMES, Command, fetch, project, unpack
from sekisho.install.store import Store
from sekisho.install.tree import TreeLimits, remove_tree
from sekisho.sandbox import Driver

__all__ = ["Installed", "Installer", "Step", "Tools"]

Step = Literal["name", "fetch", "unpack", "judge", "activate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What this machine installs with. `python` has pip; `runtime` says what it can run."""

    python: str
    runtime: str
    search_path: str | None
    ca_path: Path | None
    proxy: ForwardProxy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What came of it. `is_new` is false when exactly this was installed, and sound, before."""

    kept: Kept
    is_new: bool


class Installer:
    """Installs for one store. `tell` hears of each step as it begins."""

    def __init__(
        self,
        *,
        driver: Driver,
        store: Store,
        settings: InstallSettings,
        tools: Tools,
        tell: Callable[[Step], None] = lambda _step: None,
    ) -> None:
        self._driver = driver
        self._store = store
        self._settings = settings
        self._tools = tools
        self._tell = tell
        self._limits = TreeLimits(max_bytes=settings.max_tree_mb << 20, max_files=settings.max_files)

    async def install(
        self,
        plugin: str,
        package: PackageSpec,
        *,
        entry: str | None = None,
        is_name_accepted: bool = False,
        is_fresh: bool = False,
    ) -> Installed:
        """Install a package for a plugin, which uses it from its next start on.

        Args:
            plugin: its name.
            package: exactly which release.
            entry: which of its programs; else its own.
            is_name_accepted: the operator says that a suspicious name is meant.
            is_fresh: look for newer dependencies, instead of installing what was locked before.

        Raises:
            Refused: the name is suspicious, or the package is not as a package should be.
            Unavailable: the registry cannot be reached, or somebody else is installing.
            Misconfigured: a tool is missing here, or the package has no such program.
        """
        self._tell("name")
        if not is_name_accepted:
            _refuse_suspicious(package)
        with self._store.writing():
            known = None if is_fresh else self._known(plugin, package)
            kept = self._sound(known, entry)
            is_new = kept is None
            if kept is None:
                kept = await self._install(package, None if known is None else known.lock, entry)
            self._tell("activate")
            self._store.activate(plugin, kept.digest, str(package))
            self._store.sweep()
        return Installed(kept=kept, is_new=is_new)

    def _known(self, plugin: str, package: PackageSpec) -> Kept | None:
        """What is installed for this plugin, if it is this package for this machine."""
        active = self._store.known(plugin)
        for digest in () if active is None else (active.current, *active.before):
            try:
                kept = self._store.open(digest)
            except SekishoError:
                continue  # broken or gone: it is installed anew
            if kept.receipt.package == str(package) and kept.receipt.runtime == self._runtime(package):
                return kept
        return None

    def _sound(self, known: Kept | None, entry: str | None) -> Kept | None:
        if known is None or (entry is not None and entry != known.receipt.entry):
            return None
        try:
            self._store.prove(known, wholly=True)
        except SekishoError:
            return None
        return known

    async def _install(self, package: PackageSpec, lock: bytes | None, entry: str | None) -> Kept:
        place = self._workplace()
        if lock is not None and self._store.take_files(lock, place / "files"):
            try:
                return await self._make(package, place, lock, entry)
            except Refused:
                # What was kept is damaged, or came from another registry: it is fetched again, as locked.
                place = self._workplace()
        self._tell("fetch")
        (place / "files").mkdir()
        found = await self._fetch(package, place, lock)
        # Whatever ran there may have left links where we are about to write.
        clean = self._workplace()
        take_over(place / "files", clean / "files")
        remove_tree(place)
        return await self._make(package, clean, found, entry)

    async def _make(self, package: PackageSpec, place: Path, lock: bytes, entry: str | None) -> Kept:
        """From fetched files and their lock to a tree in the store."""
        packages = _check_lock(package, lock)
        self._tell("unpack")
        _write_project(package, place / "tree", lock)
        (place / LOCK_NAMES["pypi"]).write_bytes(lock)
        registry = self._settings.registry(package.ecosystem)
        for command in unpack(package, place, registry=registry, python=self._tools.python):
            await self._run(command, place, None)
        self._tell("judge")
        return self._keep(package, place, lock, packages, entry)

    def _workplace(self) -> Path:
        place = self._store.workplace()
        for name in ("tree", "trial", "tmp"):
            (place / name).mkdir()
        return place

    async def _fetch(self, package: PackageSpec, place: Path, lock: bytes | None) -> bytes:
        reach = Reach(
            network=self._settings.grant(package.ecosystem),
            is_allowed_address=address_rule(self._settings),
            proxy=self._tools.proxy,
        )
        if lock is not None:
            (place / LOCK_NAMES["pypi"]).write_bytes(lock)
        _write_project(package, place / "trial", lock)
        ca = self._copy_ca(place)
        for command in fetch(
            package,
            place,
            registry=self._settings.registry(package.ecosystem),
            python=self._tools.python,
            ca=ca,
            has_lock=lock is not None,
        ):
            await self._run(command, place, reach)
        found = _received(package, place)
        if lock is not None and found != lock:
            raise Refused(
                "package_refused", f"the registry gives other files for {package} than when it was locked"
            )
        return found

    def _keep(self, package: PackageSpec, place: Path, lock: bytes, packages: int, entry: str | None) -> Kept:
        staged = self._store.workplace()
        take_over(place / "tree", staged / "tree")

        def describe(digests: Digests, files: int, size: int) -> Receipt:
            found: Entry = find_entry(package, staged / "tree", entry)
            return Receipt(
                package=str(package),
                entry=found.name,
                command=found.command,
                lock_name=LOCK_NAMES[package.ecosystem],
                lock_sha256=digests_of(lock).sha256,
                tree_sha256=digests.sha256,
                tree_blake2b=digests.blake2b,
                files=files,
                bytes=size,
                packages=packages,
                runtime=self._runtime(package),
            )

        kept = self._store.keep(
            staged, lock_name=LOCK_NAMES[package.ecosystem], lock=lock, limits=self._limits, describe=describe
        )
        self._store.keep_files(lock, place / "files")
        return kept

    async def _run(self, command: Command, place: Path, reach: Reach | None) -> None:
        try:
            await run(
                self._driver,
                command,
                place,
                reach=reach,
                search_path=self._tools.search_path,
                limits=self._limits,
                timeout_s=self._settings.timeout_s,
            )
        except Misconfigured as error:
            if command.argv[0] == "npm" and "is not on this host" in error.message:
                raise Misconfigured(
                    "package_unavailable", "npm is not installed here", remedy="install Node.js with npm"
                ) from error
            raise

    def _copy_ca(self, place: Path) -> Path | None:
        """The operator's certificate authorities, where the sandbox can read them."""
        source = self._settings.ca_path or self._tools.ca_path
        if source is None:
            return None
        try:
            content = source.read_bytes()
        except OSError as error:
            raise Misconfigured(
                "config_invalid",
                f"{source} cannot be read: {error.strerror}",
                remedy="correct install.ca_path",
            ) from error
        copy = place / "ca.pem"
        copy.write_bytes(content)
        return copy

    def _runtime(self, package: PackageSpec) -> str:
        return self._tools.runtime if package.ecosystem == "pypi" else "node"


def _refuse_suspicious(package: PackageSpec) -> None:
    doubt = suspicion(package)
    if doubt is None:
        return
    raise Refused(
        "package_refused",
        doubt.about(package.name),
        remedy="correct package in the configuration; if exactly this one is meant, add --accept-name",
    )


def _write_project(package: PackageSpec, folder: Path, lock: bytes | None) -> None:
    """What npm needs in a folder before it works there."""
    if package.ecosystem != "npm":
        return
    (folder / "package.json").write_bytes(project(package))
    if lock is not None:
        (folder / LOCK_NAMES["npm"]).write_bytes(lock)


def _received(package: PackageSpec, place: Path) -> bytes:
    """The lock of what came from the registry, made of the files themselves or read where npm wrote it."""
    if package.ecosystem == "npm":
        return read_lock(place / "trial", LOCK_NAMES["npm"])
    return write_python_lock(read_wheels(place / "files"))


def _check_lock(package: PackageSpec, lock: bytes) -> int:
    check = check_npm_lock if package.ecosystem == "npm" else check_python_lock
    return check(lock, package)

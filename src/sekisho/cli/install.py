"""Commands by which the package of a plugin comes and goes: `install`, `rollback`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from sekisho.cli.finding import DEFAULT_CONFIG, ConfigFile, Json, environment, find_any, home_of, workload_of
from sekisho.cli.saying import note, say, say_json
from sekisho.cli.warning import doubt
from sekisho.config import CoreConfig, PluginConfig
from sekisho.errors import Misconfigured

if TYPE_CHECKING:
    from sekisho.install.installer import Step
    from sekisho.install.kept import Kept

__all__ = ["install", "rollback"]

_SAYS: Final[dict[Step, str]] = {
    "name": "comparing the name with well-known ones",
    "fetch": "fetching from the registry, behind walls",
    "unpack": "unpacking without a network",
    "judge": "judging what was unpacked",
    "activate": "activating",
}

Name = Annotated[str, Parameter(help="The plugin's name.")]


def install(
    name: Name,
    *,
    accept_name: Annotated[
        bool,
        Parameter(
            name="--accept-name", negative="", help="The package is meant although its name is suspicious."
        ),
    ] = False,
    fresh: Annotated[
        bool, Parameter(negative="", help="Look for newer dependencies than those locked before.")
    ] = False,
    verify: Annotated[
        bool, Parameter(negative="", help="Install nothing; read every byte of what is installed.")
    ] = False,
    config: ConfigFile = DEFAULT_CONFIG,
    json: Json = False,
) -> int:
    """Install the package of a plugin.

    It is fetched behind walls, locked by hash and stored read-only; no code of it runs. A plugin that runs is started
    anew with it.
    """
    from sekisho.assembly.packages import install_package, verify_package  # noqa: PLC0415

    if verify and (fresh or accept_name):
        raise Misconfigured(
            "config_invalid",
            "these options contradict each other",
            remedy="type --verify alone: it installs nothing",
        )
    found = find_any(config)
    workload, packages = workload_of(found, name), _packages(found, config)
    if verify:
        return _tell(name, verify_package(workload, packages), "sound", json=json)
    for line in doubt(workload) if accept_name else ():
        note(line)
    with _progress(shown=not json) as tell:
        done = asyncio.run(
            install_package(
                workload,
                found.install.settings,
                packages,
                environment(),
                is_name_accepted=accept_name,
                is_fresh=fresh,
                tell=tell,
            )
        )
    return _tell(name, done.kept, "installed" if done.is_new else "already installed", json=json)


def rollback(name: Name, *, config: ConfigFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Let a plugin use the package it used before the last sekisho install."""
    from sekisho.install.store import Store  # noqa: PLC0415

    found = find_any(config)
    workload = workload_of(found, name)
    if workload.package is None:
        raise Misconfigured(
            "config_invalid",
            f"{name} is no package, so there is none to go back to",
            remedy=f"sekisho changes {name} --rollback throws away what it wrote, where that waits for you",
        )
    store = Store(_packages(found, config))
    with store.writing():
        active = store.roll_back(name, str(workload.package))
    return _tell(name, store.open(active.current), "rolled back", json=json)


def _tell(name: str, kept: Kept, what: str, *, json: bool) -> int:
    receipt = kept.receipt
    if json:
        say_json(
            {
                "plugin": name,
                "state": what,
                "package": receipt.package,
                "entry": receipt.entry,
                "digest": f"sha256:{kept.digest}",
                "tree": {"sha256": receipt.tree_sha256, "blake2b": receipt.tree_blake2b},
                "lock_sha256": receipt.lock_sha256,
                "packages": receipt.packages,
                "files": receipt.files,
                "bytes": receipt.bytes,
                "path": kept.tree,
            }
        )
    else:
        size = f"{receipt.packages} packages, {receipt.files} files, {receipt.bytes / 1e6:.1f} MB"
        say([f"{name}: {what}: {receipt.package} ({size}), sha256:{kept.digest}"])
    return 0


def _packages(found: CoreConfig | PluginConfig, config: Path) -> Path:
    from sekisho.assembly.places import Places  # noqa: PLC0415

    return Places(home=home_of(found), config=config.absolute()).packages


@contextmanager
def _progress(*, shown: bool) -> Iterator[Callable[[Step], None]]:
    """Say each step: on a terminal on one line that moves, elsewhere a line each."""
    if not shown or not sys.stderr.isatty():
        yield (lambda step: note(f"{_SAYS[step]} …")) if shown else (lambda _step: None)
        return
    from rich.console import Console  # noqa: PLC0415 - drawing is for terminals

    with Console(stderr=True).status("installing") as status:
        yield lambda step: status.update(_SAYS[step])

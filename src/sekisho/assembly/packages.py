"""Plugins that are packages: which tree one runs, what happens when there is none, and how one is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from sekisho.config import Workload
from sekisho.errors import Misconfigured, SekishoError, Unavailable
from sekisho.install import InstallSettings, PackageSpec
from sekisho.install.active import Active
from sekisho.install.forwarding import read_proxy
from sekisho.install.installer import Installed, Installer, Step, Tools
from sekisho.install.kept import Kept
from sekisho.install.launch import fill
from sekisho.install.store import Store
from sekisho.policy import Grants
from sekisho.sandbox import Driver, SandboxSpec, choose, driver_for, offers
from sekisho.telemetry import Logger

__all__ = ["follow_package", "install_package", "installed_workload", "verify_package", "wait_installed"]

LOOK_S: Final = 1.0
_WALLS: Final = ("bubblewrap", "native")
_AUTHORITIES: Final = ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")


def installed_workload(workload: Workload, packages: Path) -> Workload:
    """The workload with the command of its installed package, which was proved just now; another one as it is.

    Raises:
        Misconfigured: it is not installed, or another one is.
        Tampered: it is not as it was installed.
    """
    if workload.package is None:
        return workload
    return _installed(workload, workload.package, Store(packages), Store(packages).active(workload.name))


def _installed(workload: Workload, package: PackageSpec, store: Store, active: Active | None) -> Workload:
    kept = _kept(store, active, workload)
    store.prove(kept)
    command = fill(kept.receipt.command, tree=kept.tree, python=_interpreter(), node="node")
    # Deno is given the script alone; with its permissions, `runtimes` writes the rest.
    words = command[1:] if workload.runtime == "deno" else command
    return replace(
        workload,
        command=(*words, *workload.arguments),
        runtime_paths=(*workload.runtime_paths, kept.tree),
        # The waiting interpreter would import its modules before it knows of the tree they are in.
        warm=False,
    )


async def wait_installed(
    workload: Workload, packages: Path, log: Logger, tell: Callable[[SekishoError], None]
) -> tuple[Active | None, Workload]:
    """The workload once its package is there and sound; until then the plugin stays down, and it is said why, once."""
    told = ""
    while True:
        try:
            if workload.package is None:
                return None, workload
            store = Store(packages)
            active = store.active(workload.name)
            # The one that was read here is the one that is proved, started and told to the core.
            return active, await asyncio.to_thread(_installed, workload, workload.package, store, active)
        except SekishoError as error:
            if error.message != told:
                log.error("plugin_refused", code=error.code, reason=error.message, remedy=error.remedy)
                tell(error)
            told = error.message
        await asyncio.sleep(LOOK_S)


async def follow_package(name: str, packages: Path, active: Active) -> None:
    """Return never; raise when another package was activated, so that the plugin is started with it.

    Raises:
        Unavailable: it was.
    """
    store = Store(packages)
    while True:
        await asyncio.sleep(LOOK_S)
        if store.active(name) != active:
            raise Unavailable(
                "plugin_exited", f"another package of {name} was activated", remedy="it is started with it"
            )


async def install_package(
    workload: Workload,
    settings: InstallSettings,
    packages: Path,
    environment: Mapping[str, str],
    *,
    is_name_accepted: bool,
    is_fresh: bool,
    tell: Callable[[Step], None],
) -> Installed:
    """Install the package that the configuration names for this plugin.

    Raises:
        SekishoError: see `Installer.install`.
    """
    package = _package(workload)
    tools = _tools(environment)
    if package.ecosystem == "pypi" and importlib.util.find_spec("pip") is None:
        raise Misconfigured(
            "package_unavailable",
            "pip is missing beside sekisho",
            remedy="install pip into sekisho's environment",
        )
    async with _driver() as driver:
        installer = Installer(driver=driver, store=Store(packages), settings=settings, tools=tools, tell=tell)
        return await installer.install(
            workload.name,
            package,
            entry=workload.entry,
            is_name_accepted=is_name_accepted,
            is_fresh=is_fresh,
        )


def verify_package(workload: Workload, packages: Path) -> Kept:
    """Read every byte of what is installed for this plugin.

    Raises:
        Misconfigured: nothing is, or something else.
        Tampered: it is not as it was installed.
    """
    store = Store(packages)
    kept = _kept(store, store.active(workload.name), workload)
    store.prove(kept, wholly=True)
    return kept


def _kept(store: Store, active: Active | None, workload: Workload) -> Kept:
    package = _package(workload)
    remedy = f"run sekisho install {workload.name}"
    if active is None:
        raise Misconfigured("package_missing", f"{package} is not installed", remedy=remedy)
    if active.asked != str(package):
        raise Misconfigured(
            "package_missing", f"{active.asked} is installed, and {package} is asked for", remedy=remedy
        )
    kept = store.open(active.current)
    receipt = kept.receipt
    if workload.entry is not None and workload.entry != receipt.entry:
        raise Misconfigured(
            "package_missing", f"it was installed to run {receipt.entry}, not {workload.entry}", remedy=remedy
        )
    if receipt.runtime not in (runtime(), "node"):
        raise Misconfigured(
            "package_missing",
            f"it was installed for {receipt.runtime}, and this is {runtime()}",
            remedy=remedy,
        )
    return kept


def _package(workload: Workload) -> PackageSpec:
    if workload.package is None:
        raise Misconfigured(
            "config_invalid",
            f"plugin {workload.name!r} is no package",
            remedy='write package = "npm:name@1.2.3" or "pypi:name==1.2.3" for it',
        )
    return workload.package


def _driver() -> Driver:
    """The strongest walls here that show the installers of this machine; a container would have its own."""
    spec = SandboxSpec(name="install", argv=("pip",), grants=Grants(), wants_network=True)
    name = choose(spec, (one for one in offers(spec) if one.driver in _WALLS))
    return driver_for(replace(spec, driver=name))


def runtime() -> str:
    """What wheels this interpreter takes: its version and its machine."""
    return str(sysconfig.get_config_var("SOABI") or sys.implementation.cache_tag)


def _interpreter() -> str:
    """The interpreter ours was made from: no package of ours is beside it."""
    return os.path.realpath(sys.executable)


def _tools(environment: Mapping[str, str]) -> Tools:
    named = [Path(environment[name]) for name in _AUTHORITIES if environment.get(name)]
    return Tools(
        python=sys.executable,
        runtime=runtime(),
        search_path=environment.get("PATH"),
        ca_path=named[0] if named else _system_authorities(),
        proxy=read_proxy(environment),
    )


def _system_authorities() -> Path | None:
    import ssl  # noqa: PLC0415 - only for this

    found = Path(ssl.get_default_verify_paths().cafile or "/nowhere")
    return found if found.is_file() else None

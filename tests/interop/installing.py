"""Peers with pinned versions, each set in a folder of its own under `.cache`, made on first use and when a pin changes.

Sets that cannot live together (one client wants `mcp` 1, another `mcp` 2) never meet, nor do they meet our own
environment. Every file is checked against the hash in `packages/`, and no package runs a script of its own. It knows
nothing of what the peers are for.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dev

__all__ = ["PACKAGES", "SETS", "InstallFailed", "Unreachable", "install", "install_all", "node", "version_of"]

PACKAGES: Final = Path(__file__).resolve().parent / "packages"
SETS: Final = ("python-servers", "python-clients", "langchain", "node-servers", "node-clients")
INSTALL_S: Final = 420
MIN_NODE: Final = (22, 19)  # what the inspector asks for
_NO_NETWORK: Final = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|NewConnectionError|ConnectTimeout|ReadTimeout"
    r"|Failed to establish a new connection|name resolution|ProxyError|SSLError|timed out",
    re.IGNORECASE,
)


class InstallFailed(Exception):
    """A pinned set cannot be installed although the registry answers."""


class Unreachable(Exception):
    """There is no way to the package registry from here."""


def install_all(names: Iterable[str]) -> dict[str, Path]:
    """The folders of these sets, missing ones installed side by side.

    Raises:
        Unreachable: no registry answers.
        InstallFailed: it answers, and the set cannot be had as pinned.
    """
    chosen = list(names)
    with ThreadPoolExecutor(len(chosen)) as pool:
        return dict(zip(chosen, pool.map(install, chosen), strict=True))


def install(name: str, packages: Path = PACKAGES, cache: Path | None = None) -> Path:
    """The folder of one set; raises as `install_all` does."""
    folder = (cache or dev.CACHE).resolve() / f"interop-{name}"
    is_python = (packages / f"{name}.txt").exists()
    pins = packages / f"{name}.txt" if is_python else packages / name / "package-lock.json"
    stamp = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()
    with _alone(folder):
        if not dev.once(folder, stamp):
            shutil.rmtree(folder, ignore_errors=True)
            (_install_python if is_python else _install_node)(folder, pins)
            dev.done(folder, stamp)
    return folder


def node() -> Path:
    """A Node.js that is new enough for every peer: the system's, else the one `dev.py` keeps."""
    system = shutil.which("node")
    if system is not None and _node_version(Path(system)) >= MIN_NODE:
        return Path(system).resolve()
    with _alone(dev.CACHE / "interop-node"):
        try:
            dev.npm_ci("node", "installing node")
        except subprocess.CalledProcessError as error:
            raise Unreachable("node cannot be installed") from error
    return next((dev.CACHE.resolve() / "demo" / "node").glob("node_modules/node-linux-*/bin/node"))


def version_of(requirement: str) -> str:
    """The pinned version of "npm:NAME" or "pypi:NAME", from the files alone."""
    kind, _, name = requirement.partition(":")
    pattern = rf'"{re.escape(name)}": "([^"]+)"' if kind == "npm" else rf"^{re.escape(name)}==([^\s\\]+)"
    for path in sorted(PACKAGES.glob("*/package.json" if kind == "npm" else "*.txt")):
        if found := re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE):
            return found[1]
    raise KeyError(requirement)


def _install_python(folder: Path, pins: Path) -> None:
    venv.create(folder, with_pip=False, symlinks=True)
    into = ["--python", str(folder / "bin" / "python"), "install", "--requirement", str(pins)]
    quiet = ["--quiet", "--disable-pip-version-check", "--no-input"]
    _run([sys.executable, "-m", "pip", *into, *quiet, "--require-hashes", "--only-binary=:all:"], folder)


def _install_node(folder: Path, pins: Path) -> None:
    shutil.copytree(pins.parent, folder)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], folder)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_S
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"{folder.name}: no end after {INSTALL_S} s") from error
    except OSError as error:
        raise InstallFailed(f"{folder.name}: {error}") from error
    if done.returncode == 0:
        return
    said = done.stderr.strip()
    if _NO_NETWORK.search(said):
        raise Unreachable(f"{folder.name}: {said[-300:]}")
    raise InstallFailed(f"{folder.name}: {said[-2000:]}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two runs at once must not install over each other."""
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _node_version(program: Path) -> tuple[int, int]:
    shown = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2])) if found else (0, 0)

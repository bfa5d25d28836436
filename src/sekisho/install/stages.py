"""The command lines by which a package is fetched and unpacked: what each installer is told, and what it may not do.

- No code of a package runs: pip takes wheels only and may start no program, npm is told to run no script and no git.
- Fetching may reach the registries; unpacking and compiling reach nothing, and take only files whose digest the lock
  states.
- Nobody's configuration is read: every setting that matters is on the command line, and each installer's home is empty.

Judgement only. The folders are those of one workplace: `tree` becomes the package, `files` holds what was fetched.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sekisho.install.package import PackageSpec

__all__ = ["LOCK_NAMES", "SITE", "Command", "fetch", "project", "unpack"]

SITE: Final = "site"  # where a Python package's modules stand below its tree
LOCK_NAMES: Final = {"npm": "package-lock.json", "pypi": "requirements.txt"}
_NPM: Final = (
    "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error", "--omit=dev",
    "--omit-lockfile-registry-resolved", "--install-strategy=hoisted", "--fetch-retries=1",
    "--fetch-retry-mintimeout=1000",
    # The `.npmrc` of a repository may name the program that is run as git; newer ones can be told to leave git alone.
    "--git=/nowhere/git", "--allow-git=none",
)  # fmt: skip
# A dependency may be the address of a source archive or a repository at the registry's own host, and pip would build
# it to read its metadata, wheels only or not. What else it starts only describes the machine; musl's version is asked so.
_WITHOUT_PROGRAMS: Final = """
import runpy, sys
def hook(event, args):
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn"):
        if not str(args[:1]).rpartition("/")[2].startswith("ld-musl-"):
            raise PermissionError("no program may be started: a dependency that is no wheel is not built")
sys.addaudithook(hook)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_PIP: Final = (
    "-I", "-c", _WITHOUT_PROGRAMS, "--isolated", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
    "--no-color",
)  # fmt: skip

# Bytecode that a package brings along could do other things than the source beside it, which is what people read.
_SOURCES_ONLY: Final = (
    "import pathlib, shutil, sys\n"
    "for one in [*pathlib.Path(sys.argv[1]).rglob('__pycache__')]:\n"
    "    shutil.rmtree(one)\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One program to run in the workplace. `may_fail` says that its status means nothing."""

    argv: tuple[str, ...]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    may_fail: bool = False


def fetch(
    package: PackageSpec, place: Path, *, registry: str, python: str, ca: Path | None, has_lock: bool
) -> tuple[Command, ...]:
    """Resolve and download; with a lock, exactly what it states."""
    if package.ecosystem == "npm":
        return _fetch_npm(place, registry, ca, has_lock)
    locked = ("--require-hashes", "--no-deps", "-r", str(place / LOCK_NAMES["pypi"]))
    wanted = locked if has_lock else (package.requirement,)
    argv = (
        python, *_PIP, "download", "--only-binary=:all:", "--progress-bar=off", "--retries=1",
        f"--index-url={registry}", *((f"--cert={ca}",) if ca else ()), f"--dest={place / 'files'}", *wanted,
    )  # fmt: skip
    return (Command(argv=argv, cwd=place),)


def unpack(package: PackageSpec, place: Path, *, registry: str, python: str) -> tuple[Command, ...]:
    """Make the tree from what was fetched from this registry and the lock, without any network."""
    tree = place / "tree"
    if package.ecosystem == "npm":
        argv = ("npm", "ci", "--offline", f"--registry={registry}/", f"--cache={place / 'files'}", *_NPM)
        return (Command(argv=argv, cwd=tree, environment=_NPM_ENVIRONMENT),)
    site = tree / SITE
    install = (
        python, *_PIP, "install", "--no-index", f"--find-links={place / 'files'}", "--require-hashes",
        "--only-binary=:all:", "--no-deps", "--no-compile", "--no-warn-script-location", "--progress-bar=off",
        f"--target={site}", "-r", str(place / LOCK_NAMES["pypi"]),
    )  # fmt: skip
    # Compiled once, here, because nobody may write beside the sources later; the same bytes in every run: no date,
    # no path of this workplace, no order of sets that changes from run to run. Old files that do not compile stay.
    compile_ = (
        python, "-s", "-P", "-m", "compileall", "-q", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash",
        "-s", str(tree), "-p", "/package", str(site),
    )  # fmt: skip
    return (
        Command(argv=install, cwd=place),
        Command(argv=(python, "-I", "-c", _SOURCES_ONLY, str(site)), cwd=place),
        Command(argv=compile_, cwd=place, environment={"PYTHONHASHSEED": "0"}, may_fail=True),
    )


def project(package: PackageSpec) -> bytes:
    """The project whose only dependency is the package: what npm installs is always a project's."""
    # With a name and version of its own, so that nothing of this machine gets into the lock.
    value = {
        "name": "plugin",
        "version": "1.0.0",
        "private": True,
        "dependencies": {package.name: package.version},
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def _fetch_npm(place: Path, registry: str, ca: Path | None, has_lock: bool) -> tuple[Command, ...]:
    # A copy of the tree is made only to have every file of it fetched and compared with its digest.
    folder = place / "trial"
    environment = {**_NPM_ENVIRONMENT, **({"NODE_EXTRA_CA_CERTS": str(ca)} if ca else {})}
    shared = (
        f"--registry={registry}/", f"--cache={place / 'files'}", *((f"--cafile={ca}",) if ca else ()), *_NPM
    )  # fmt: skip
    resolve = Command(
        argv=("npm", "install", "--package-lock-only", *shared), cwd=folder, environment=environment
    )
    download = Command(argv=("npm", "ci", *shared), cwd=folder, environment=environment)
    return (download,) if has_lock else (resolve, download)


# Inside the walls the home is empty; a configuration of the whole system could lie beside npm.
_NPM_ENVIRONMENT: Final = {"npm_config_globalconfig": "/nowhere/npmrc"}

"""From a tree to the command that starts its program.

Guarantees that the program is one the package itself announces (a console script, a `bin`), that the release in the
tree is the one that was asked for, and that the command names nothing but the interpreter and the tree. Files of the
package are read as data, bounded in size; nothing of it is imported.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sekisho.errors import Misconfigured, Refused, RemoteProtocolError
from sekisho.install.locks import LIMITS, is_same_release
from sekisho.install.manifest import check_path
from sekisho.install.package import PackageSpec, normal_python_name
from sekisho.install.stages import SITE
from sekisho.protocol import check_text

__all__ = ["NODE", "PYTHON", "TREE", "Entry", "fill", "find_entry"]

PYTHON: Final = "{python}"
NODE: Final = "{node}"
TREE: Final = "{tree}"
MAX_TEXT_BYTES: Final = 1 << 20
MAX_SHOWN: Final = 8
_DOTTED: Final = r"([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
_OBJECT: Final = re.compile(rf"{_DOTTED}[ \t]*:[ \t]*{_DOTTED}[ \t]*(?:\[[^\]]*\])?", re.ASCII)
_SCRIPT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
# The package's modules come last, behind the standard library, and no module of this machine's own comes between.
_START: Final = (
    "import site,sys;site.setquit();site.sethelper();site.addsitedir({site!r});sys.argv[0]={name!r};"
    "from importlib import import_module as i;from operator import attrgetter as a;"
    "sys.exit(a({attribute!r})(i({module!r}))())"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One program of a package, and the command that starts it, with the places to be filled in."""

    name: str
    command: tuple[str, ...]


def find_entry(package: PackageSpec, tree: Path, wanted: str | None) -> Entry:
    """The program that was asked for, or the package's own.

    Raises:
        Refused: the tree is not of this release, or what it announces cannot be run.
        Misconfigured: it has several programs, or not the one that was asked for.
    """
    read = _npm_entry if package.ecosystem == "npm" else _python_entry
    try:
        return read(package, tree, wanted)
    except OSError as error:
        raise Refused(
            "package_refused", f"{package} has no file where one must be: {error.strerror}"
        ) from error


def fill(command: tuple[str, ...], *, tree: Path, python: str, node: str) -> tuple[str, ...]:
    """The command with its places filled in."""
    whole = {PYTHON: python, NODE: node}
    return tuple(whole.get(word) or word.replace(TREE, str(tree)) for word in command)


def _python_entry(package: PackageSpec, tree: Path, wanted: str | None) -> Entry:
    info = _dist_info(package, tree / SITE)
    try:
        scripts = _console_scripts(_text(info / "entry_points.txt"))
    except FileNotFoundError:
        scripts = {}
    name = _choose(package, {normal_python_name(one): one for one in scripts}, wanted)
    found = _OBJECT.fullmatch(scripts[name])
    if found is None or not _SCRIPT_NAME.fullmatch(name):
        raise Refused("package_refused", f"the program {name[:40]!a} of {package} cannot be read")
    code = _START.format(site=f"{TREE}/{SITE}", name=name, module=found[1], attribute=found[2])
    return Entry(name=name, command=(PYTHON, "-I", "-S", "-c", code))


def _console_scripts(text: str) -> dict[str, str]:
    """The programs of a package. Each line is split once: a reader of INI files needs hours for a line of many blanks."""
    scripts: dict[str, str] = {}
    section = ""
    for line in map(str.strip, text.splitlines()):
        name, equals, value = line.partition("=")
        if line.startswith("["):
            section = line
        elif section == "[console_scripts]" and equals and not line.startswith(("#", ";")):
            if name.rstrip() in scripts:
                raise Refused("package_refused", f"a program is announced twice: {name[:40]!a}")
            scripts[name.rstrip()] = value.lstrip()
    return scripts


def _dist_info(package: PackageSpec, site: Path) -> Path:
    wanted = normal_python_name(package.name)
    found = [
        one for one in site.glob("*.dist-info") if normal_python_name(one.name.partition("-")[0]) == wanted
    ]
    if len(found) > 1:  # a dependency can bring a folder of any name, and with it another program
        raise Refused("package_refused", f"several of the packages say that they are {package}")
    for folder in found:
        version = folder.name.removesuffix(".dist-info").partition("-")[2]
        fields = dict(
            re.findall(r"(?m)^(Name|Version):[ \t]*(\S+)[ \t]*$", _text(folder / "METADATA")[:4096])
        )
        is_it = normal_python_name(fields.get("Name", "")) == wanted
        versions = (version, fields.get("Version", ""))
        if is_it and all(is_same_release(one, package.version) for one in versions):
            return folder
        raise Refused("package_refused", f"what was installed says it is {ascii(fields)[:80]}, not {package}")
    raise Refused("package_refused", f"what was installed does not say that it is {package}")


def _npm_entry(package: PackageSpec, tree: Path, wanted: str | None) -> Entry:
    folder = PurePosixPath("node_modules") / package.name
    try:
        text = _text(tree / folder / "package.json")
        check_text(text.encode(), LIMITS)
        told: Any = json.loads(text)
        name, version, bins = told["name"], told["version"], told.get("bin", {})
    except (RemoteProtocolError, ValueError, KeyError, TypeError, AttributeError, FileNotFoundError) as error:
        raise Refused("package_refused", f"what was installed does not say that it is {package}") from error
    if (name, version) != (package.name, package.version):
        raise Refused(
            "package_refused", f"what was installed says it is {ascii((name, version))[:80]}, not {package}"
        )
    own = package.name.rpartition("/")[2]
    programs = {own: bins} if isinstance(bins, str) else bins
    if not isinstance(programs, dict) or not all(isinstance(one, str) for one in programs.values()):
        raise Refused("package_refused", f"the programs of {package} cannot be read")
    chosen = _choose(package, {one: one for one in programs}, wanted)
    path = os.path.normpath(folder / programs[chosen])
    check_path(path)
    if not path.startswith(f"{folder}/") or not _is_node_script(tree / path):
        raise Refused("package_refused", f"the program {chosen[:40]!a} of {package} is no script of Node.js")
    return Entry(name=chosen, command=(NODE, f"{TREE}/{path}"))


def _choose(package: PackageSpec, programs: dict[str, str], wanted: str | None) -> str:
    """One of the programs, by the normal spelling of its name: the one asked for, the package's own, or the only one."""
    own = package.name.rpartition("/")[2]
    keys = (wanted,) if wanted is not None else (own, normal_python_name(own))
    for key in keys:
        for spelling in (key, normal_python_name(key)):
            if spelling in programs:
                return programs[spelling]
    if wanted is None and len(programs) == 1:
        return next(iter(programs.values()))
    shown = ", ".join(ascii(one)[1:-1] for one in sorted(programs.values())[:MAX_SHOWN])
    if not programs:
        raise Refused("package_refused", f"{package} has no program to start: it is a library")
    raise Misconfigured(
        "config_invalid",
        f"{package} has {'no program ' + wanted if wanted is not None else 'several programs'}",
        remedy=f"write entry = with one of: {shown}",
    )


def _is_node_script(path: Path) -> bool:
    try:
        first = _text(path).partition("\n")[0]
    except FileNotFoundError:
        return False
    return "node" in first if first.startswith("#!") else path.suffix in (".js", ".cjs", ".mjs")


def _text(path: Path) -> str:
    """A file of the package, which is read-only and inside the tree by now."""
    with path.open("rb") as file:
        return file.read(MAX_TEXT_BYTES).decode("utf-8", "replace")

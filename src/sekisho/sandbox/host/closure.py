"""Looks at the host for one spec: where the program is, what its interpreter needs, whether the granted paths
exist.

Guarantees
- the program is found the way the host finds it, and every link on the way to it is remembered;
- the program brings what it needs to run (`trail`), and never a whole home folder;
- a granted path that does not exist, or that leads elsewhere through a symbolic link, is refused.

Decides nothing about walls: `plan` does. Reads the file system, writes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sekisho.sandbox.host.trail import SYSTEM_FOLDERS, Trail, which
from sekisho.sandbox.mount import is_below
from sekisho.sandbox.plans.spec import DEFAULT_SEARCH_PATH, Closure, Link, SandboxSpec, unavailable

__all__ = ["brought", "mounts_below", "survey", "zone_name"]

_SYSTEM_FILES: Final = (
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/mime.types",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/crypto-policies",
)
# Parts of /proc about the host that only their owner may read or write. Inside, the plugin has the kernel's idea of our
# uid, so they are hidden when that is root; tried on Linux 6.18: the rest asks for capabilities, which it has not.
_ROOT_PROC: Final = (
    "acpi",
    "bus",
    "irq",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "sched_debug",
    "scsi",
    "slabinfo",
    "timer_list",
    "vmallocinfo",
)
_PROC: Final = ("keys",)  # names the keys of our uid to whoever shares it
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(?:/[A-Za-z0-9_+-]{1,30}){0,2}")
_OCTAL: Final = re.compile(r"\\([0-7]{3})")  # how the mount table writes spaces and their kin
_NOTHING: Final[tuple[tuple[str, ...], tuple[Link, ...]]] = ((), ())


def survey(spec: SandboxSpec) -> Closure:
    """Everything on this host that `plan` must know about one spec.

    Raises:
        Misconfigured: a path or the program is missing, or a granted path leads elsewhere.
    """
    argv, trail, system, links = _shown(spec)
    files = spec.grants.files
    listed = tuple(dict.fromkeys((*files.read_only_paths, *files.writable_paths)))
    for path in listed:
        _refuse_astray(path)
    blocked, missing = _blocked(files.blocked_paths)
    masks = [Path("/proc", name) for name in (*_PROC, *(_ROOT_PROC if os.geteuid() == 0 else ()))]
    return Closure(
        argv=argv,
        read_only=tuple(dict.fromkeys((*system, *trail.folders))),
        links=tuple(dict.fromkeys((*links, *trail.links))),
        blocked=blocked,
        missing_blocked=missing,
        proc_masks=tuple(str(path) for path in masks if path.exists()),
        proc_folders=tuple(str(path) for path in masks if path.is_dir()),
        localtime=_localtime(),
        zone=zone_name(),
        files=tuple(path for path in map(os.path.normpath, files.writable_paths) if not Path(path).is_dir()),
        mounts_below=mounts_below(files.writable_paths) if files.persist != "direct" else (),
    )


def brought(spec: SandboxSpec) -> tuple[str, ...]:
    """What it is shown of this host because its program needs it; raises Misconfigured."""
    _, trail, system, _ = _shown(spec)
    return (*system, *trail.folders)


def _shown(spec: SandboxSpec) -> tuple[tuple[str, ...], Trail, tuple[str, ...], tuple[Link, ...]]:
    trail = Trail(spec.search_path or DEFAULT_SEARCH_PATH)
    argv = spec.argv if spec.image else _follow_command(spec, trail)  # an image brings its own programs
    system, links = _system() if not spec.image else _NOTHING
    for path in spec.runtime_paths:
        trail.follow_listed(path)
    return argv, trail, system, links


def _follow_command(spec: SandboxSpec, trail: Trail) -> tuple[str, ...]:
    """The command with an absolute program; the trail knows then what it needs."""
    program, arguments = _program(spec), spec.argv[1:]
    trail.follow_program(program)
    for argument in _script_arguments(arguments):
        trail.follow_script(argument)
    return (str(program), *arguments)


def _program(spec: SandboxSpec) -> Path:
    name = spec.argv[0]
    if "/" in name:
        if not name.startswith("/"):
            raise unavailable(
                f"program {name!r} is neither a plain name nor an absolute path", "write it from /"
            )
        found: str | None = name if os.access(name, os.X_OK) and Path(name).is_file() else None
    else:
        path = spec.search_path or DEFAULT_SEARCH_PATH
        found = which(name, path)
    if found is None:
        raise unavailable(
            f"program {name!r} of plugin {spec.name!r} is not on this host",
            "install it, or write its absolute path",
        )
    return Path(os.path.normpath(found))


def _script_arguments(arguments: tuple[str, ...]) -> Iterator[Path]:
    """The script given to an interpreter is the first argument that is a file; later ones are data, and need
    grants.
    """
    for argument in arguments:
        if argument.startswith("/") and Path(argument).is_file():
            yield Path(os.path.normpath(argument))
            return


def _refuse_astray(path: str) -> None:
    """A listed path must exist and be where it says: a link would grant a place that nobody listed."""
    if not Path(path).exists():
        raise unavailable(
            f"granted path {path} does not exist", "create it, or take it out of filesystem_policy"
        )
    normal = os.path.normpath(path)
    real = os.path.realpath(path)
    if real != normal:
        raise unavailable(
            f"granted path {path} leads through a symbolic link to {real}",
            f"list {real} itself if the plugin may touch it",
        )


def _blocked(paths: tuple[str, ...]) -> tuple[tuple[tuple[str, bool], ...], tuple[str, ...]]:
    found: dict[str, bool] = {}
    missing: list[str] = []
    for path in paths:
        real = os.path.realpath(path)
        if Path(real).exists():
            found[real] = Path(real).is_dir()
        else:
            missing.append(real)
    return tuple(found.items()), tuple(missing)


def mounts_below(paths: tuple[str, ...]) -> tuple[str, ...]:
    """File systems inside these folders: an overlay hides them, and a container engine binds them as they are."""
    folders = tuple(map(os.path.normpath, paths))
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    places = dict.fromkeys(
        _OCTAL.sub(lambda code: chr(int(code[1], 8)), line.split(" ")[4]) for line in lines
    )
    return tuple(place for place in places if place not in folders and is_below(place, folders))


def _system() -> tuple[tuple[str, ...], tuple[Link, ...]]:
    """/usr and its kin: real folders are bound, links (merged /usr) are made again."""
    folders: list[str] = []
    links: list[Link] = []
    for name in SYSTEM_FOLDERS:
        path = Path(name)
        if path.is_symlink():
            links.append(Link(path=name, target=str(path.readlink())))
        elif path.is_dir():
            folders.append(name)
    folders += [name for name in _SYSTEM_FILES if Path(name).exists() and not Path(name).is_symlink()]
    return tuple(folders), tuple(links)


def zone_name(etc: Path = Path("/etc")) -> str:
    """The name of the host's time zone, such as Asia/Tokyo; empty when nobody says it.

    Programs that want a name, not only the rules, look for it where the link leads or in a file beside it.
    """
    try:
        named = str((etc / "localtime").readlink()).partition("/zoneinfo/")[2]
    except OSError:
        named = ""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        named = named or (etc / "timezone").read_text(encoding="ascii").strip()
    return named if _ZONE.fullmatch(named) else ""


def _localtime() -> bytes:
    """The time zone as bytes, so that the link of the host need not be followed inside."""
    path = Path("/etc/localtime")
    return path.read_bytes() if path.is_file() else b""

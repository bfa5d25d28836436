"""Looks at the host for one spec: where the program is, what its interpreter needs, whether the granted paths
exist.

Guarantees
- the program is found the way the host finds it, and every link on the way to it is remembered;
- a virtual environment brings its base interpreter, a `node_modules` entry brings its whole tree, a script
  brings the interpreter of its first line; never a whole home folder, only `bin`, `lib` and their kin below a
  prefix;
- a granted path that does not exist, or that leads elsewhere through a symbolic link, is refused.

Decides nothing about walls: `plan` does. Reads the file system, writes nothing.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from sekisho.sandbox.spec import DEFAULT_SEARCH_PATH, Closure, Link, SandboxSpec, unavailable

__all__ = ["mounts_below", "survey"]

MAX_LINK_HOPS: Final = 40  # the kernel's own bound
MAX_SCRIPT_HOPS: Final = 4  # a script whose interpreter is a script whose interpreter ...
_SYSTEM_FOLDERS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_PREFIX_FOLDERS: Final = ("bin", "lib", "lib64", "pyvenv.cfg")  # what an interpreter reads below its prefix
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
# Version managers put scripts here that look for the real program at run time; inside the wall they would not
# find it.
_OCTAL: Final = re.compile(r"\\([0-7]{3})")  # how the mount table writes spaces and their kin
_SHIM_FOLDER: Final = "shims"
_NOTHING: Final[tuple[tuple[str, ...], tuple[Link, ...]]] = ((), ())


def survey(spec: SandboxSpec) -> Closure:
    """Everything on this host that `plan` must know about one spec.

    Raises:
        Misconfigured: a path or the program is missing, or a granted path leads elsewhere.
    """
    trail = _Trail(spec.search_path or DEFAULT_SEARCH_PATH)
    argv = spec.argv if spec.image else _follow_command(spec, trail)  # an image brings its own programs
    system, links = _system() if not spec.image else _NOTHING
    for path in spec.runtime_paths:
        trail.follow_listed(path)
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
        files=tuple(path for path in map(os.path.normpath, files.writable_paths) if not Path(path).is_dir()),
        mounts_below=mounts_below(files.writable_paths) if files.persist != "direct" else (),
    )


def _follow_command(spec: SandboxSpec, trail: _Trail) -> tuple[str, ...]:
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
        found = _which(name, path)
    if found is None:
        raise unavailable(
            f"program {name!r} of plugin {spec.name!r} is not on this host",
            "install it, or write its absolute path",
        )
    return Path(os.path.normpath(found))


def _which(name: str, search_path: str) -> str | None:
    folders = (folder for folder in search_path.split(":") if PurePosixPath(folder).name != _SHIM_FOLDER)
    return shutil.which(name, path=":".join(folder for folder in folders if folder.startswith("/")))


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
    return tuple(place for place in places if place not in folders and _is_below(place, folders))


def _system() -> tuple[tuple[str, ...], tuple[Link, ...]]:
    """/usr and its kin: real folders are bound, links (merged /usr) are made again."""
    folders: list[str] = []
    links: list[Link] = []
    for name in _SYSTEM_FOLDERS:
        path = Path(name)
        if path.is_symlink():
            links.append(Link(path=name, target=str(path.readlink())))
        elif path.is_dir():
            folders.append(name)
    folders += [name for name in _SYSTEM_FILES if Path(name).exists() and not Path(name).is_symlink()]
    return tuple(folders), tuple(links)


def _localtime() -> bytes:
    """The time zone as bytes, so that the link of the host need not be followed inside."""
    path = Path("/etc/localtime")
    return path.read_bytes() if path.is_file() else b""


class _Trail:
    """Collects the folders and links on the way from a name to the files a program needs."""

    def __init__(self, search_path: str) -> None:
        self._search_path = search_path
        self.folders: list[str] = []
        self.links: list[Link] = []
        self._system = tuple(
            dict.fromkeys((*_SYSTEM_FOLDERS, *(os.path.realpath(f) for f in _SYSTEM_FOLDERS)))
        )

    def follow_program(self, program: Path, depth: int = 0) -> None:
        real = self._walk(program)
        if depth < MAX_SCRIPT_HOPS:
            for interpreter in _interpreters(real, self._search_path):
                self.follow_program(interpreter, depth + 1)

    def follow_script(self, script: Path) -> None:
        self._walk(script)

    def follow_listed(self, path: str) -> None:
        if not Path(path).exists():
            raise unavailable(
                f"runtime path {path} does not exist", "create it, or take it out of runtime_paths"
            )
        self._walk(Path(os.path.normpath(path)), whole=True)

    def _walk(self, path: Path, *, whole: bool = False) -> Path:
        """Follow `path` link by link; what stands beside each stop is added, so each stop resolves inside
        too.
        """
        for _ in range(MAX_LINK_HOPS):
            self._stop(path)
            hop = _first_link(path)
            if hop is None:
                if whole:
                    self._add(path)
                return path
            link, target = hop
            self._link(link, target)
            path = Path(os.path.normpath(link.parent / target)) / path.relative_to(link)
        raise unavailable(f"{path} is a circle of symbolic links", "mend the link")

    def _stop(self, path: Path) -> None:
        modules = _node_modules(path)
        if modules is not None:
            self._walk_folder(modules)
        prefix = path.parent.parent
        if path.parent.name == "bin" and _is_prefix(prefix):
            self._prefix(prefix)
        elif not path.is_symlink():
            self._add(path)

    def _prefix(self, prefix: Path) -> None:
        if any(str(prefix / "bin") == folder for folder in self.folders):
            return
        for name in _PREFIX_FOLDERS:
            if (prefix / name).exists():
                self._add_or_link(prefix / name)
        base = _venv_home(prefix)
        if base is not None and base.is_dir():
            for name in _PREFIX_FOLDERS:
                if (base.parent / name).exists():
                    self._add_or_link(base.parent / name)

    def _walk_folder(self, folder: Path) -> None:
        if _first_link(folder) is None:
            self._add(folder)

    def _add_or_link(self, path: Path) -> None:
        if path.is_symlink():
            self._link(path, str(path.readlink()))
        else:
            self._add(path)

    def _link(self, link: Path, target: str) -> None:
        # Inside a bound folder the link is there already; elsewhere it has to be made. Below another link it is made
        # where that one leads to: made here too, its folder would stand where the other link belongs.
        if not self._covered(str(link)) and _first_link(link.parent) is None:
            self.links.append(Link(path=str(link), target=target))

    def _add(self, path: Path) -> None:
        if _first_link(path) is None and path.exists() and not self._covered(str(path)):
            self.folders.append(str(path))

    def _covered(self, path: str) -> bool:
        return _is_below(path, (*self._system, *self.folders))


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def _first_link(path: Path) -> tuple[Path, str] | None:
    """The first component of a path that is a symbolic link, and where it points."""
    for part in (*reversed(path.parents), path):
        if part.is_symlink():
            return part, str(part.readlink())
    return None


def _node_modules(path: Path) -> Path | None:
    """The outermost `node_modules` folder around a path."""
    for part in reversed(path.parents):
        if part.name == "node_modules":
            return part
    return None


def _is_prefix(prefix: Path) -> bool:
    """True for a folder that an interpreter calls its prefix; `bin` alone proves nothing."""
    return (
        (prefix / "pyvenv.cfg").is_file()
        or any((prefix / "lib").glob("python3*"))
        or (prefix / "lib" / "node_modules").is_dir()
    )


def _venv_home(prefix: Path) -> Path | None:
    config = prefix / "pyvenv.cfg"
    if not config.is_file():
        return None
    for line in config.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "home" and value.strip().startswith("/"):
            return Path(os.path.realpath(value.strip()))
    return None


def _interpreters(program: Path, search_path: str) -> Iterator[Path]:
    """The programs the first line of a script names: `#!/path`, or `#!/usr/bin/env name`."""
    with program.open("rb") as file:
        line = file.readline(4096)
    if not line.startswith(b"#!"):
        return
    words = line[2:].decode("utf-8", "replace").split()
    if words and words[0].startswith("/") and Path(words[0]).is_file():
        yield Path(os.path.normpath(words[0]))
        if PurePosixPath(words[0]).name == "env":
            for word in words[1:]:
                if not word.startswith("-") and "=" not in word:
                    found = _which(word, search_path)
                    if found is not None:
                        yield Path(found)
                    return

"""From the name of a program to every folder and link that it needs to run.

Guarantees
- every link on the way is remembered, so that each name leads inside to where it leads outside;
- a virtual environment brings its base interpreter, a `node_modules` entry brings its whole tree, a script brings the
  interpreter of its first line;
- never a whole home folder: only `bin`, `lib` and their kin below what an interpreter calls its prefix.

Reads the file system, writes nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from sekisho.sandbox.mount import is_below
from sekisho.sandbox.plans.spec import Link, unavailable

__all__ = ["SYSTEM_FOLDERS", "Trail", "which"]

MAX_LINK_HOPS: Final = 40  # the kernel's own bound
MAX_SCRIPT_HOPS: Final = 4  # a script whose interpreter is a script whose interpreter ...
SYSTEM_FOLDERS: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_PREFIX_FOLDERS: Final = ("bin", "lib", "lib64", "pyvenv.cfg")  # what an interpreter reads below its prefix
# Version managers put scripts here that look for the real program at run time; inside the wall they would not
# find it.
_SHIM_FOLDER: Final = "shims"


class Trail:
    """Collects the folders and links on the way from a name to the files a program needs."""

    def __init__(self, search_path: str) -> None:
        self._search_path = search_path
        self.folders: list[str] = []
        self.links: list[Link] = []
        self._system = tuple(dict.fromkeys((*SYSTEM_FOLDERS, *(os.path.realpath(f) for f in SYSTEM_FOLDERS))))

    def follow_program(self, program: Path, depth: int = 0) -> None:
        """What a program needs, and the interpreter of a script, and what that one needs."""
        real = self._walk(program)
        if depth < MAX_SCRIPT_HOPS:
            for interpreter in _interpreters(real, self._search_path):
                self.follow_program(interpreter, depth + 1)

    def follow_script(self, script: Path) -> None:
        """What stands around a script that an interpreter is given."""
        self._walk(script)

    def follow_listed(self, path: str) -> None:
        """A path that the operator names; raises Misconfigured when it is not there."""
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
        return is_below(path, (*self._system, *self.folders))


def which(name: str, search_path: str) -> str | None:
    """A program by its plain name; relative folders and shims are passed over."""
    folders = (folder for folder in search_path.split(":") if PurePosixPath(folder).name != _SHIM_FOLDER)
    return shutil.which(name, path=":".join(folder for folder in folders if folder.startswith("/")))


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
                    found = which(word, search_path)
                    if found is not None:
                        yield Path(found)
                    return

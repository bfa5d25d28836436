"""The single steps by which a folder becomes what a plugin made of it, each of which may be carried out again.

Guarantees that a step which was done before does nothing, that none follows a link or leaves its folder, and that what
somebody else put into a folder which is to go stays there, and the folder with it. Knows neither drafts nor journals.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sekisho.errors import Unavailable
from sekisho.sandbox.drafts.beneath import FOLDER, open_beneath, opened, parent_and_name

__all__ = ["NEW_FOLDER", "carry_out"]

NEW_FOLDER: Final = 0o700  # until its content is there


def carry_out(lower: int, stage: str, step: Sequence[Any]) -> None:
    """Do one step in an open folder; `stage` is the folder in it where copies wait.

    Raises:
        OSError: it cannot be done now.
        Unavailable: it is no step.
    """
    match step:
        case ["unlink", path]:
            with _missing_is_done(), parent_and_name(lower, path) as (folder, name):
                os.unlink(name, dir_fd=folder)
        case ["rmdir", path]:
            with _missing_is_done(), parent_and_name(lower, path) as (folder, name):
                os.rmdir(name, dir_fd=folder)
        case ["mkdir", path, uid, gid]:
            with _made_parent(lower, path) as (folder, name):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, NEW_FOLDER, dir_fd=folder)
                if uid != -1:
                    _give(folder, name, uid, gid)
        case ["chmod", path, mode]:
            with _missing_is_done(), parent_and_name(lower, path) as (folder, name):
                _set_mode(folder, name, mode)
        case ["place", name, path]:
            with opened(open_beneath(lower, stage)) as copies, _made_parent(lower, path) as (folder, last):
                if _is_there(copies, name):
                    os.rename(name, last, src_dir_fd=copies, dst_dir_fd=folder)
        case _:
            raise Unavailable("changes_unavailable", "the journal has a step that is unknown")


@contextlib.contextmanager
def _made_parent(root: int, path: str) -> Iterator[tuple[int, str]]:
    """The folder for something new. Whoever removed it while we worked was too early: it is part of the new state."""
    above = path.split("/")[:-1]
    for depth in range(1, len(above) + 1):
        with (
            parent_and_name(root, "/".join(above[:depth])) as (folder, name),
            contextlib.suppress(FileExistsError),
        ):
            os.mkdir(name, dir_fd=folder)
    with parent_and_name(root, path) as found:
        yield found


def _give(folder: int, name: str, uid: int, gid: int) -> None:
    """Give away a folder that is ours and empty, as a new one is: whoever owns the folder around it may have put
    something of root's in its place.
    """
    with _missing_is_done(), opened(os.open(name, FOLDER, dir_fd=folder)) as made:
        if os.fstat(made).st_uid == os.geteuid() and not os.listdir(made):  # noqa: PTH208
            os.fchown(made, uid, gid)


def _set_mode(folder: int, name: str, mode: int) -> None:
    with opened(os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)) as named:
        if not stat.S_ISLNK(os.fstat(named).st_mode):
            os.chmod(f"/proc/self/fd/{named}", mode)  # noqa: PTH101 - the thing itself, whatever its name means by now


@contextlib.contextmanager
def _missing_is_done() -> Iterator[None]:
    """What is not there any more, or has made room for another kind of thing, went before; what is not empty stays."""
    try:
        yield
    except OSError as error:
        done = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY)
        if error.errno not in done:
            raise


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True

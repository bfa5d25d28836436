"""What a plugin's walls bind from the host, prepared in a mount namespace of our own before they are raised.

Guarantees
- each part of the host is opened once, without following a link, and what was opened is what the walls bind: names of
  the host mean nothing any more when they are raised;
- a granted folder whose writes are collected is covered by an overlay, which keeps them elsewhere; the plugin cannot
  tell where, and cannot set the overlay's own marks;
- for a plugin with a user of its own, what belongs to a granted folder's owner belongs to that user inside, and the
  other way round; nothing of what follows runs as root, whose folders had to be entered to get here;
- all of it is gone with the last process of the plugin.

Needs Linux 5.6 for opening, 5.11 for an overlay of an ordinary user's (6.6 where it lies in memory), 5.12 and a file
system that can for another owner. Knows no grant: it carries out a list.
"""

# ruff: noqa: PTH102 - pathlib is not imported here
from __future__ import annotations

import contextlib
import errno
import functools
import os
import signal
import stat
import struct
import sys
from collections.abc import Mapping
from typing import Any, Final

from sekisho.launcher.calls import AT_EMPTY_PATH, AT_RECURSIVE, call, prctl, unshare
from sekisho.launcher.folders import MOVE_FROM_EMPTY, MOVE_TO_EMPTY
from sekisho.launcher.kernel import die_with_parent, libc, write
from sekisho.launcher.mounts import (
    NODEV,
    NOSUID,
    OPEN_TREE_CLOEXEC,
    OPEN_TREE_CLONE,
    fresh,
    open_plain,
)
from sekisho.launcher.network import map_ids
from sekisho.launcher.program import decoded
from sekisho.launcher.root import OPTIONS_END, STAGE, bind_whole, gather, put_together

__all__ = ["STAGE", "probe_staging", "stage"]

STAGE_BYTES: Final = 1 << 20
CLONE_NEWNS: Final = 0x2_0000
CLONE_NEWUSER: Final = 0x1000_0000
MS_REC_PRIVATE: Final = 0x4000 | 0x4_0000
MOUNT_ATTR_IDMAP: Final = 0x10_0000
PR_SET_DUMPABLE: Final = 4
KEYCTL_JOIN_SESSION: Final = 1
BINDS: Final = ("--bind", "--ro-bind")
# No redirects and no files of metadata alone: what the upper folder says is all there is to say.
FLAGS: Final = {"redirect_dir": "nofollow", "index": "off", "metacopy": "off", "xino": "off", "userxattr": ""}
_REFUSED: Final = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOSPC, errno.EINVAL)


def stage(request: dict[str, Any]) -> None:
    """Prepare what the request binds, and let it bind that instead; become the plugin's own user, if it has one.

    Where nothing has to be prepared and this host allows no namespace, the request stays as it is.
    """
    wishes = request["staging"]
    owner: int | None = wishes["owner"]
    is_needed = bool(wishes["overlays"]) or owner is not None
    if not is_needed and (request["kind"] != "bubblewrap" or not wishes["sources"]):
        return
    try:
        is_able = enter() and is_with_launcher()
    except OSError as error:
        if is_needed or error.errno not in _REFUSED:
            raise
        return
    for overlay in wishes["overlays"]:
        cover(overlay, owner)
    covered = [overlay["path"] for overlay in wishes["overlays"]]
    mapped = set(wishes["mapped"])
    trees = {}
    for source in wishes["sources"]:
        is_given = source in mapped and not is_below(source, covered)  # what is covered is given already
        trees[source] = take(source, owner if is_given else None, needed=source in wishes["writable"])
    if request["kind"] != "bubblewrap" or not furnish_root(request, trees, is_able=is_able):
        places = lay_out(trees)
        request["options"] = rebound(request["options"], places)
        for mount in request.get("mounts", ()):
            if mount["kind"] in {
                "read",
                "write",
            }:  # what a link says is no source, even where it says the same
                mount["source"] = places.get(mount["source"], mount["source"])
    if owner is not None:
        become_user(owner)


def furnish_root(request: dict[str, Any], trees: Mapping[str, int], *, is_able: bool) -> bool:
    """Put the whole root together for bwrap; False where this kernel cannot, and bwrap does it piece by piece.

    Args:
        is_able: whether our like may mount in the plugin's namespaces: then its watcher can cover parts of its /proc.
    """
    owner = request["staging"]["owner"]
    try:
        parts = gather(request["mounts"], trees, owner)
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        return False
    put_together(parts, decoded(request["data"]), owner)
    drawn = request["options"]
    request["options"] = bind_whole(drawn, request["mounts"])
    if is_able:
        request["uncovered"] = bind_whole(drawn, request["mounts"], covers=False)
    request["is_whole"] = True
    return True


def enter() -> bool:
    """A mount namespace in which nothing we do is seen elsewhere; whether we had the right to make one as we are."""
    is_able = True
    try:
        unshare(CLONE_NEWNS, "cannot make a mount namespace")
    except PermissionError:  # an ordinary user, or a root that lacks the right to
        is_able = False
        ids = os.geteuid(), os.getegid()
        unshare(CLONE_NEWUSER | CLONE_NEWNS, "cannot make a mount namespace")
        map_ids(ids, ids)
    if libc.mount(None, b"/", None, MS_REC_PRIVATE, None) != 0:
        raise OSError(errno.EPERM, "the host's mounts cannot be detached from ours")
    return is_able


def is_with_launcher() -> bool:
    """Whether we are in the user namespace of the launcher: its watcher has the rights that we have, then."""
    try:
        return os.path.samestat(os.stat("/proc/self/ns/user"), os.stat(f"/proc/{os.getppid()}/ns/user"))  # noqa: PTH116
    except OSError:
        return False


def is_below(path: str, folders: list[str]) -> bool:
    return any(path == folder or path.startswith(folder + "/") for folder in folders)


def cover(overlay: Mapping[str, Any], owner: int | None) -> None:
    """Lay an overlay over one granted folder. Without a place to keep writes they stay in memory, and end with it."""
    path = overlay["path"]
    if owner is not None:
        attach(take(path, owner, needed=True), path)
    lower = open_plain(path)
    options = {"lowerdir": lower}
    memory = None
    if overlay["upper"]:
        options |= {"upperdir": open_plain(overlay["upper"]), "workdir": open_plain(overlay["work"])}
    else:
        memory = fresh("tmpfs", {"size": str(overlay["size"]), "mode": "0700"}, NOSUID | NODEV)
        # Linux 6.12 makes no overlay of what is mounted nowhere; so it lies below the overlay, where nobody sees it
        attach(os.dup(memory), path)
        options |= {name: make_like(lower, memory, name) for name in ("upperdir", "workdir")}
    # By descriptor: what was opened is what is mounted, and the mount table tells nothing of the host.
    words = {name: f"/proc/self/fd/{fd}" for name, fd in options.items()}
    try:
        fd = fresh("overlay", {"source": overlay["tag"], **words, **FLAGS}, NOSUID | NODEV)
    except OSError as error:
        raise OSError(error.errno, f"overlay on {path}: {error.strerror or error}") from error
    for one in (*options.values(), *(() if memory is None else (memory,))):
        os.close(one)
    attach(fd, path)


def make_like(lower: int, memory: int, name: str) -> int:
    """A folder in memory that looks like the one it will lie over."""
    os.mkdir(name, 0o700, dir_fd=memory)
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=memory)
    found = os.fstat(lower)
    if os.geteuid() == 0:
        os.fchown(fd, found.st_uid, found.st_gid)
    os.fchmod(fd, stat.S_IMODE(found.st_mode) & 0o777)
    return fd


def take(path: str, owner: int | None, *, needed: bool) -> int:
    """A part of the host with everything below it, detached; seen as the owner's when it is told whose."""
    source = open_plain(path)
    flags = AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC
    tree = call("open_tree", source, b"", flags)
    if owner is None:
        os.close(source)
        return tree
    found = os.fstat(source)
    os.close(source)
    if found.st_uid != owner:
        try:
            give(tree, (found.st_uid, found.st_gid), owner)
        except OSError as error:
            if needed:
                raise OSError(
                    error.errno,
                    f"{path}: its file system cannot show it as another user's ({error.strerror}): put it on ext4, "
                    'xfs or btrfs, or write uids = "" into the plugin\'s sandbox',
                ) from error
            # What is only read stays its owner's: the plugin reads what everybody may.
    return tree


def give(tree: int, real: tuple[int, int], owner: int) -> None:
    """Show files of one user as another's, in this mount alone; what the other makes there belongs to the first."""
    wanted = struct.pack("=QQQQ", MOUNT_ATTR_IDMAP, 0, 0, map_of(real, owner))
    call("mount_setattr", tree, b"", AT_EMPTY_PATH | AT_RECURSIVE, wanted, len(wanted))


@functools.cache  # most of what is granted belongs to one user, and this process ends soon
def map_of(real: tuple[int, int], owner: int) -> int:
    """A user namespace that says who is shown as whom; nobody lives in it."""
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            unshare(CLONE_NEWUSER, "cannot make a user namespace")
            os.write(ready[1], b"x")
            os.close(done[1])
            os.read(done[0], 1)
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        if os.read(ready[0], 1) != b"x":
            raise OSError(errno.EPERM, "cannot make a user namespace")
        write(f"/proc/{pid}/uid_map", f"{real[0]} {owner} 1")
        write(f"/proc/{pid}/gid_map", f"{real[1]} {owner} 1")
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for fd in (ready[0], *done):
            os.close(fd)


def lay_out(trees: Mapping[str, int]) -> dict[str, str]:
    """Give each detached tree a name that nobody else can change; returns them."""
    shelf = fresh("tmpfs", {"size": str(STAGE_BYTES), "mode": "0755"}, NOSUID | NODEV)
    place = open_plain(STAGE)
    call("move_mount", shelf, b"", place, b"", MOVE_FROM_EMPTY | MOVE_TO_EMPTY)
    for fd in (shelf, place):
        os.close(fd)
    places = {}
    for number, (source, tree) in enumerate(trees.items()):
        spot = f"{STAGE}/{number}"
        if stat.S_ISDIR(os.fstat(tree).st_mode):
            os.mkdir(spot, 0o755)
        else:
            os.close(os.open(spot, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        attach(tree, spot)
        places[source] = spot
    return places


def attach(tree: int, path: str) -> None:
    target = open_plain(path)
    call("move_mount", tree, b"", target, b"", MOVE_FROM_EMPTY | MOVE_TO_EMPTY)
    for fd in (tree, target):
        os.close(fd)


def become_user(uid: int) -> None:
    """From here on we are this user and nobody else, without a capability and with a key ring of our own."""
    launcher = os.getppid()
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl("dumpable", PR_SET_DUMPABLE, 1)  # who changes users cannot write its own maps of users
    with contextlib.suppress(OSError):  # a filter around us, or a kernel without keys
        call("keyctl", KEYCTL_JOIN_SESSION, None)
    die_with_parent(launcher)  # new credentials clear the request


def rebound(words: list[str], places: Mapping[str, str]) -> list[str]:
    """The options with each source that was prepared in the place of its name."""
    end = words.index(OPTIONS_END) if OPTIONS_END in words else 0
    return [
        places.get(word, word) if 0 < index < end and words[index - 1] in BINDS else word
        for index, word in enumerate(words)
    ]


def probe_staging() -> None:
    """Try an overlay once, for `sekisho doctor`; says nothing when it stands."""
    try:
        enter()
        if os.geteuid() == 0:
            take("/usr", os.stat("/usr").st_uid + 1, needed=True)  # noqa: PTH116
        cover({"path": "/usr", "upper": "", "work": "", "size": STAGE_BYTES, "tag": "probe"}, None)
    except OSError as error:
        sys.stdout.write(str(error))

"""What a forked child does before it is the plugin: join its limits, then raise the walls of the kind it was told."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from typing import Any, Final, NoReturn

from sekisho.launcher.alarm import load, send_listener
from sekisho.launcher.calls import no_new_privileges
from sekisho.launcher.confined import confine
from sekisho.launcher.kernel import close_others, die_with_parent, memory_file, set_limit, write
from sekisho.launcher.native import raise_walls
from sekisho.launcher.network import enter_network, hand_over, open_gate_sockets
from sekisho.launcher.program import Ends, decoded, default_signals
from sekisho.launcher.staging import stage

__all__ = ["Ends", "become", "beyond_reach", "fill"]

NEW_NETWORK: Final = "--unshare-net"
BINDS: Final = ("--bind", "--ro-bind")
TAKES_TWO: Final = ("--bind", "--ro-bind", "--setenv")
SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
MFD_EXEC: Final = 0x10
OTHERS_WRITE: Final = 0o022
LET_PASS: Final = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF_0000)  # return SECCOMP_RET_ALLOW


def become(
    control: socket.socket,
    launch_id: int,
    request: dict[str, Any],
    theirs: list[int],
    ends: Ends,
    *,
    is_apart: bool,
) -> NoReturn:
    """In the child: join the limits, then raise the walls; what fails is said to the launcher.

    Args:
        is_apart: whether it is in a network of its own already.
    """
    try:
        launcher = os.getppid()
        die_with_parent(launcher)
        for path in request["join"]:
            write(path, "0")
        for name, value in request["rlimits"].items():
            set_limit(name, value, 0)
        leave_groups()
        if is_apart:
            use_network(control, launch_id, request)
        stage(request)
        match request["kind"]:
            case "bubblewrap":
                become_bwrap(control, launch_id, request, theirs, ends)
            case "native":
                raise_walls(control, launch_id, request, theirs, ends)
            case "landlock" | "unsafe-none":
                confine(request, theirs, ends)
            case other:
                raise ValueError(f"walls of kind {other!r} are unknown")
    except (OSError, ValueError, KeyError) as error:
        os.write(ends.failure, str(error).encode()[:4000] or b"unknown")
    finally:
        os._exit(127)


def use_network(control: socket.socket, launch_id: int, request: dict[str, Any]) -> None:
    """The network that we are in is the plugin's: what would make another is left out."""
    if request["network"]:
        hand_over(control, launch_id, open_gate_sockets())
    request["network"] = False
    request["is_apart"] = True
    options = request["options"]
    if NEW_NETWORK in options:
        options.remove(NEW_NETWORK)  # the first one: values stand behind it


def become_bwrap(
    control: socket.socket, launch_id: int, request: dict[str, Any], theirs: list[int], ends: Ends
) -> NoReturn:
    """Enter the network namespace, drop everything else, become bwrap."""
    launcher = os.getppid()
    if request["network"]:
        enter_network()
        die_with_parent(launcher)  # new credentials clear the request
        hand_over(control, launch_id, open_gate_sockets())
    data = decoded(request["data"])
    stdio, channel = theirs[:3], theirs[3:]
    numbers = {"gate": ends.gate, "status": ends.status}
    if channel:
        numbers["channel"] = channel[0]
    asked = set(request["options"]) | set(request["command"])
    numbers |= {name: memory_file(content) for name, content in data.items() if "{fd:" + name + "}" in asked}
    words = [fill(word, numbers) for word in request["options"]]
    if not request.get("is_whole"):  # else no part of the host is named in them
        refuse_links(words)
    program = request.get("copy") or beyond_reach(request["program"])
    default_signals()  # which opens a file: behind the filter that would ring
    # In a descriptor, because a command line is public and these words hold the plugin's environment.
    options = memory_file(listed(words))
    uncovered: list[str] | None = request.get("uncovered")
    if "alarm" in data and ring(data["alarm"], ends.gate, covers=uncovered is not None):
        rewrite(numbers["filter"], LET_PASS)  # one that refuses by itself would silence the alarm
        if uncovered is not None:  # from here on no file can be made in memory
            rewrite(options, listed([fill(word, numbers) for word in uncovered]))
    keep = {*numbers.values(), options, ends.failure, *([program] if isinstance(program, int) else [])}
    command = [fill(word, numbers) if channel else word for word in request["command"]]
    for target, fd in enumerate(stdio):
        os.dup2(fd, target)
    close_others(keep)
    for fd in keep - {ends.failure, program}:
        os.set_inheritable(fd, True)
    os.umask(0o022)
    os.chdir("/")
    argv = ["bwrap", "--args", str(options), "--", *command]
    os.execve(program, argv, {})  # noqa: S606 - no shell is the point


def listed(words: list[str]) -> bytes:
    """Options as bwrap reads them from a descriptor."""
    return b"".join(word.encode() + b"\0" for word in words)


def refuse_links(words: list[str]) -> None:
    """A part of the host that became a link since the walls were drawn would bring in a place that nobody listed."""
    at = 0
    while at < len(words):
        if words[at] in BINDS and os.path.realpath(words[at + 1]) != words[at + 1]:
            raise ValueError(f"{words[at + 1]} leads through a symbolic link now")
        at += 3 if words[at] in TAKES_TWO else 1  # a value of the environment is no option


def beyond_reach(path: str) -> str | int:
    """A sealed copy in memory of a program that our uid may write, as root may; else the program itself.

    The inner world's first process is this program, and a plugin, which has our uid, finds its file in /proc: on the
    host's own mount, where it could be written as soon as nobody runs it (the way of CVE-2019-5736).
    """
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is not imported here
        owner = os.fstat(file.fileno())
        if owner.st_uid != os.geteuid() and not owner.st_mode & OTHERS_WRITE:
            return path
        content = file.read()
    flags = os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC
    try:
        copy = os.memfd_create("bwrap", flags | MFD_EXEC)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        copy = os.memfd_create("bwrap", flags)  # before Linux 6.3 every one may be executed
    os.write(copy, content)
    fcntl.fcntl(copy, fcntl.F_ADD_SEALS, SEALS)
    return copy


def rewrite(fd: int, content: bytes) -> None:
    """Another content for a memory file, which still reads from its start."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, content, 0)


def leave_groups() -> None:
    """Groups of the host open files of the host; only root may leave them."""
    if os.geteuid() == 0 and os.getgroups():
        with contextlib.suppress(PermissionError):  # root of a namespace that has no groups to leave
            os.setgroups([])


def ring(code: bytes, gate: int, *, covers: bool) -> bool:
    """Load the filter with its alarm before bwrap, which knows only silent ones; False where none may be had.

    Args:
        covers: whether the watcher is to cover parts of /proc, once there is one.

    The launcher lets bwrap's own calls through until bwrap has read the byte at its gate, which it does after its last
    wall and before the plugin runs.
    """
    no_new_privileges()
    try:
        listener = load(code, alarm=True)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        listener = None
    with socket.socket(fileno=os.dup(gate)) as sender:
        send_listener(sender, listener, covers=covers)
    return listener is not None


def fill(word: str, numbers: dict[str, int]) -> str:
    """`{fd:NAME}` becomes the number of that descriptor."""
    return str(numbers[word[4:-1]]) if word.startswith("{fd:") and word[4:-1] in numbers else word

"""The fork server inside one plugin's own walls: imports once what the plugin imports, then forks the plugin itself.

Guarantees
- it never leaves the walls it was started in, and serves no other plugin;
- a plugin starts as `python` would have started it: its arguments, `sys.path[0]`, `__main__`, signals, standard files
  and command line; of this file it keeps no descriptor, and no way to read or write its parent's memory;
- "exit" is told after every process of the plugin is dead and its scratch space is empty; what cannot be cleaned ends
  the walls instead, and with them everything.

Runs as `python <the plugin's own flags> warm.py FD`, from a file that is mounted read-only, under whichever Python the
plugin needs (3.9 or later): the standard library only, and nothing newer. Knows no rule and no other process of ours;
what it says is believed as little as anything else that comes out of the walls.
"""

# ruff: noqa: PTH100, PTH106, PTH108, PTH109, PTH118, PTH120, PTH123, PTH208 - pathlib is left to the plugin
from __future__ import annotations

import array
import builtins
import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import stat
import sys
import types
from collections.abc import Iterator
from importlib.machinery import BuiltinImporter, SourceFileLoader
from typing import Any

PR_SET_DUMPABLE = 4  # prctl(2); 0 closes /proc/<pid>/mem and fd to others of the same user
PR_SET_CHILD_SUBREAPER = 36
MAX_MESSAGE_BYTES = 64 << 10
STDIO = 3
MAX_LEFT = 2_000  # files a plugin leaves behind; more are not worth deleting one by one
MAX_DEPTH = 32
SYSTEM_V = ("/proc/sysvipc/shm", "/proc/sysvipc/sem", "/proc/sysvipc/msg")


def serve(channel: socket.socket) -> dict[str, Any]:
    """Fork a plugin for each message. Returns only in a child: what it is to run."""
    setup = json.loads(channel.recv(MAX_MESSAGE_BYTES))
    if not is_inside():
        tell(channel, event="unfit", reason="it is not the first process of a wall")
        os._exit(0)
    shield()
    awake, wake = socket.socketpair()
    for end in (awake, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    at_first = contents(setup["scratch"])
    aim(setup)
    loaded = preload(setup["preload"])
    if len(os.listdir("/proc/self/task")) > 1:
        tell(channel, event="unfit", reason="an import started a thread")
        os._exit(0)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # what an import printed must not come out of every plugin again
    gc.collect()
    gc.freeze()
    tell(channel, event="ready", loaded=loaded)
    child = 0
    while True:
        ready = select.select([channel, awake], [], [])[0]
        if awake in ready:
            with contextlib.suppress(BlockingIOError):
                awake.recv(4096)
            status = reap(child)
            if status is not None:
                child = 0
                sweep(setup["scratch"], at_first)
                tell(channel, event="exit", status=status)
        if channel in ready:
            fds = receive(channel)
            if not fds:
                end_all()
            elif child == 0:
                child = os.fork()
                if child == 0:
                    channel.close()
                    awake.close()
                    wake.close()
                    adopt(fds, setup)
                    return dict(setup)
                tell(channel, event="started")
            for fd in fds:
                os.close(fd)


def is_inside() -> bool:
    """Whether these are walls of ours: their first process started us, and there is one user and no other. Elsewhere
    `end_all` would end all that this user runs.
    """
    with open("/proc/self/uid_map") as file:
        return os.getppid() == 1 and file.read().split()[2:] == ["1"]


def shield() -> None:
    """Out of the plugin's reach, though it has the same user; and parent of whatever it leaves behind."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) or libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def aim(setup: dict[str, Any]) -> None:
    """Point `sys.path` to where `python` would have, before anything is imported from it."""
    if sys.flags.isolated or getattr(sys.flags, "safe_path", False):
        return
    target = setup["target"]
    firsts = {"file": os.path.dirname(os.path.realpath(target)), "module": os.getcwd(), "code": ""}
    sys.path[0] = firsts[setup["mode"]]


def preload(names: list[str]) -> list[str]:
    """Import what can be imported; what cannot is the plugin's own affair, should it want it."""
    loaded = []
    for name in names:
        with contextlib.suppress(Exception, SystemExit):
            importlib.import_module(name)
            loaded.append(name)
    return loaded


def receive(channel: socket.socket) -> list[int]:
    """The pipes of the next plugin, or nothing: end the one that runs. Our owner's end is our end."""
    room = socket.CMSG_SPACE(STDIO * array.array("i").itemsize)
    data, extras, _, _ = channel.recvmsg(MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    if not data:
        os._exit(0)
    fds = array.array("i")
    for level, kind, content in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return fds.tolist()


def reap(child: int) -> int | None:
    """Collect every process that ended; the status of the plugin when it is among them."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                ended = os.waitstatus_to_exitcode(status)
    return ended


def end_all() -> None:
    """Kill everybody in this process namespace but its first process and ourselves, at one stroke of the kernel."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)


def sweep(scratch: list[str], at_first: dict[str, tuple[int, int]]) -> None:
    """Leave nothing of the plugin that ended: no process, no file, no segment; or end the walls."""
    end_all()
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    try:
        for folder in scratch:
            for path in leftovers(folder, os.lstat(folder).st_dev):
                if path not in at_first:
                    remove(path)
        is_clean = contents(scratch) == at_first and not any(map(holds_segments, SYSTEM_V))
    except OSError:
        is_clean = False
    if not is_clean:
        os._exit(1)


def contents(scratch: list[str]) -> dict[str, tuple[int, int]]:
    """What lies in the scratch space, which before the first plugin are links and folders that lead to grants."""
    found = {}
    for folder in scratch:
        for path in leftovers(folder, os.lstat(folder).st_dev):
            status = os.lstat(path)
            found[path] = (status.st_ino, status.st_mode)
            if len(found) > MAX_LEFT:
                os._exit(1)
    return found


def holds_segments(table: str) -> bool:
    """Whether a table of System V objects has a line below its head; a kernel without them has no table."""
    try:
        with open(table) as file:
            return len(file.readlines()) > 1
    except FileNotFoundError:
        return False


def leftovers(folder: str, device: int, depth: int = 0) -> Iterator[str]:
    """Everything below a folder, deepest first. What is mounted there is granted from outside: not ours to touch."""
    if depth > MAX_DEPTH:
        os._exit(1)
    names = os.listdir(folder)
    if len(names) > MAX_LEFT:
        os._exit(1)
    for name in names:
        path = os.path.join(folder, name)
        found = os.lstat(path)
        if found.st_dev != device:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from leftovers(path, device, depth + 1)
        yield path


def remove(path: str) -> None:
    """One file, link or folder; a folder that is not empty has a grant mounted in it."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        with contextlib.suppress(OSError):
            os.rmdir(path)
    else:
        os.unlink(path)


def adopt(fds: list[int], setup: dict[str, Any]) -> None:
    """In the child: become what `python` would have made of the plugin's command."""
    try:
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        os.closerange(STDIO, 1 << 20)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        entitle(setup["command"])
        sys.orig_argv = list(setup["command"])
        sys.argv = list(setup["argv"])
    except OSError:
        os._exit(126)


def entitle(words: list[str]) -> None:
    """The plugin's own command line over ours, as far as there is room."""
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
    with contextlib.suppress(OSError), open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(text.ljust(end - start, b"\0"))


def run(setup: dict[str, Any]) -> None:
    """The plugin, as `__main__`. Its exceptions and exits are the interpreter's, as always."""
    main = types.ModuleType("__main__")
    names = main.__dict__
    names.update(__builtins__=builtins, __loader__=BuiltinImporter)
    if sys.version_info < (3, 14):  # later ones make it when it is first asked for
        names["__annotations__"] = {}
    sys.modules["__main__"] = main
    mode, target = setup["mode"], setup["target"]
    if mode == "module":
        runpy._run_module_as_main(target)  # type: ignore[attr-defined]  # what `python -m` itself calls
        return
    if mode == "code":
        exec(compile(target, "<string>", "exec", dont_inherit=True), names)  # noqa: S102 - what -c is
        return
    path = os.path.abspath(target)
    with open(path, "rb") as file:
        source = file.read()
    names.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
    exec(compile(source, path, "exec", dont_inherit=True), names)  # noqa: S102 - what a script is


def tell(channel: socket.socket, **message: Any) -> None:
    """Say something to our owner; when nobody listens, there is nothing left to do."""
    try:
        channel.send(json.dumps(message).encode())
    except OSError:
        os._exit(0)


if __name__ == "__main__":
    _control = socket.socket(fileno=int(sys.argv[1]))
    _control.set_inheritable(False)
    run(serve(_control))

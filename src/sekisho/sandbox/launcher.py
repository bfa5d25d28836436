"""The launcher: a small, single-threaded process that forks, enters new namespaces and becomes bwrap.

Guarantees
- it is warm: one per plugin server, started once, so a plugin costs a fork and not an interpreter;
- a child gets exactly its three pipes, an empty environment and default signals; no other descriptor passes;
- with a network, the gate's four sockets are opened inside the child's own network namespace and handed to
  the owner;
- "started" is reported only after every wall of bwrap stands; a wall that fails is reported as "failed";
- nothing outlives it: it dies with its owner, and each child dies with it.

Runs as `python -I -S launcher.py FD OWNER_PID`, or is forked off by an owner that has neither threads nor
secrets yet (`fork_off`), which spares it an interpreter of its own. Imports the standard library only, and
knows no grant and no rule: it does what one message says. Messages are JSON over a SOCK_SEQPACKET pair; a
launch carries a memfd, three pipes and, for a plugin that is forked inside its walls, one end of a channel.
"""

from __future__ import annotations

import array
import base64
import contextlib
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

PR_SET_PDEATHSIG: Final = 1
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 1
BACKLOG: Final = 128  # connections that may wait while the gate is busy

MAX_MESSAGE_BYTES: Final = 64 << 10  # the launch itself travels in a memfd
MAX_REQUEST_BYTES: Final = 16 << 20
MAX_FDS: Final = 5  # a memfd, three pipes and a channel
SET_UP_S: Final = 10.0  # a child that has not become bwrap by then never will
END_S: Final = 2.0  # killing a process namespace takes milliseconds
GUARD_PERIOD_S: Final = 0.05  # 20 Hz: a 400 MB hog passes 128 MB by less than a third
MAX_TREE: Final = 100_000

# Where the gate listens inside; any 127.x.y.z reaches the last three, so that an address can stand for a
# name.
GATE_SOCKETS: Final = (
    (socket.SOCK_STREAM, "127.0.0.1", 3128),
    (socket.SOCK_STREAM, "0.0.0.0", 443),
    (socket.SOCK_STREAM, "0.0.0.0", 80),
    (socket.SOCK_DGRAM, "127.0.0.1", 53),
)

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Ends:
    """The child's ends: the gate it waits at, bwrap's report, and our own complaint."""

    gate: int
    status: int
    failure: int


@dataclass(slots=True)
class Child:
    """One bwrap and the world below it."""

    id: int
    pid: int
    pidfd: int
    gate: socket.socket
    status_fd: int
    inner_rlimits: dict[str, int]
    guard_bytes: int
    guard_pids: int
    started: bool = False
    exceeded: bool = False
    inner_pidfd: int | None = None
    status: bytes = field(default=b"")


def main(arguments: list[str]) -> None:
    """Serve one owner until it goes away."""
    owner = int(arguments[1])
    if arguments[0] == "probe":
        die_with_parent(owner)
        probe_network()
        return
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    serve_owner(control, owner)


def fork_off() -> tuple[int, socket.socket]:
    """A launcher as a child of this process: its process and our end of its control socket.

    Call it before anything is opened or learned that a launcher must not have: it starts as a copy of us.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    owner = os.getpid()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    try:
        ours.close()
        close_others({theirs.fileno()})
        entitle("python", "-I", "-S", __file__, str(theirs.fileno()), str(owner))
        null = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1):
            os.dup2(null, target)
        os.close(null)
        serve_owner(theirs, owner)
    finally:
        os._exit(0)


def serve_owner(control: socket.socket, owner: int) -> None:
    """Live as long as the owner does."""
    die_with_parent(owner)
    # Ctrl-C reaches the whole group; the owner decides what it means
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Launcher(control).serve()


def entitle(*words: str) -> None:
    """Write another command line over our own, as far as it has room: `ps` then tells forked processes apart."""
    fields = read_text("/proc/self/stat").rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5)
    text = b"".join(os.fsencode(word) + b"\0" for word in words)[: end - start - 1]
    with open("/proc/self/mem", "r+b", buffering=0) as memory:  # noqa: PTH123 - pathlib is not imported here
        memory.seek(start)
        memory.write(text.ljust(end - start, b"\0"))


class Launcher:
    """Turns messages into children and their ends into messages."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, Child] = {}
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)
        self._guard_at = 0.0

    def serve(self) -> None:
        """Until the owner's end closes: then everything is killed."""
        try:
            while self._turn():
                pass
        finally:
            for child in self._children.values():
                kill_tree(child)

    def _turn(self) -> bool:
        guarded = any(child.guard_bytes or child.guard_pids for child in self._children.values())
        ready = {fd for fd, _ in self._poll.poll(GUARD_PERIOD_S * 1000 if guarded else None)}
        for child in list(self._children.values()):
            if child.status_fd in ready:
                self._read_status(child)
            if not child.started and child.gate.fileno() in ready:
                self._gate_moved(child)
            if child.pidfd in ready:
                self._reap(child)
        if guarded and time.monotonic() >= self._guard_at:
            self._guard_at = time.monotonic() + GUARD_PERIOD_S
            self._guard()
        return self._receive() if self._control.fileno() in ready else True

    def _receive(self) -> bool:
        try:
            data, fds = receive(self._control)
        except ConnectionError:
            return False
        if not data:
            return False
        message = json.loads(data)
        match message["op"]:
            case "launch":
                try:
                    self._launch(message["id"], fds)
                except OSError as error:
                    self._tell(event="failed", id=message["id"], message=str(error))
                finally:
                    for fd in fds:
                        os.close(fd)
            case "kill" if message["id"] in self._children:
                kill_tree(self._children[message["id"]])
        return True

    def _launch(self, launch_id: int, fds: list[int]) -> None:
        request = json.loads(os.pread(fds[0], MAX_REQUEST_BYTES, 0))
        gate, inner_gate = socket.socketpair()
        status, inner_status = os.pipe()
        failure, inner_failure = os.pipe()
        pid = os.fork()
        if pid == 0:
            ends = Ends(gate=inner_gate.fileno(), status=inner_status, failure=inner_failure)
            become(self._control, launch_id, request, fds[1:], ends)
        inner_gate.close()
        os.close(inner_status)
        os.close(inner_failure)
        # The pidfd is taken before anything can reap the child, so it names this child for ever.
        child = Child(
            id=launch_id,
            pid=pid,
            pidfd=os.pidfd_open(pid),
            gate=gate,
            status_fd=status,
            inner_rlimits=request["inner_rlimits"],
            guard_bytes=request["guard_bytes"],
            guard_pids=request["guard_pids"],
        )
        message = read_failure(failure)
        if message:
            signal.pidfd_send_signal(child.pidfd, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._close(child)
            raise OSError(message)
        self._children[launch_id] = child
        for fd in (child.pidfd, child.status_fd, child.gate.fileno()):
            self._poll.register(fd, select.POLLIN)

    def _read_status(self, child: Child) -> None:
        chunk = os.read(child.status_fd, 65536)
        if not chunk:
            self._poll.unregister(child.status_fd)
        child.status += chunk
        inner = status_member(child.status, "child-pid")
        if inner is not None and child.inner_pidfd is None:
            self._bound(child, inner)

    def _bound(self, child: Child, inner: int) -> None:
        """The inner world has its first process, which waits at the gate: give it its limits, then let it go
        on.
        """
        try:
            child.inner_pidfd = os.pidfd_open(inner)
            for name, value in child.inner_rlimits.items():
                set_limit(name, value, inner)
            child.gate.send(b"x")
        except OSError as error:
            if child.inner_rlimits and not isinstance(error, (ProcessLookupError, BrokenPipeError)):
                sys.stderr.write(f"launcher: limits of a plugin were refused: {error}\n")
            kill_tree(child)

    def _gate_moved(self, child: Child) -> None:
        """bwrap reads the gate after its last mount; closing it unread means that it died before."""
        try:
            stands = child.gate.recv(1) == b"" and child.inner_pidfd is not None
        except ConnectionError:
            stands = False
        self._poll.unregister(child.gate.fileno())
        if stands:
            child.started = True
            self._tell(
                event="started", id=child.id, pid=child.pid, inner=status_member(child.status, "child-pid")
            )

    def _reap(self, child: Child) -> None:
        _, status = os.waitpid(child.pid, 0)
        end_inner(child)
        while chunk := os.read(child.status_fd, 65536):
            child.status += chunk
        if child.started:
            code = os.waitstatus_to_exitcode(status)
            ran = status_member(child.status, "exit-code") is not None
            self._tell(event="exit", id=child.id, code=code, ran=ran, exceeded=child.exceeded)
        else:
            self._tell(event="failed", id=child.id, message="")
        del self._children[child.id]
        for fd in (child.pidfd, child.status_fd, child.gate.fileno()):
            with contextlib.suppress(KeyError):
                self._poll.unregister(fd)
        self._close(child)

    def _close(self, child: Child) -> None:
        child.gate.close()
        for fd in (child.pidfd, child.status_fd, child.inner_pidfd):
            if fd is not None:
                os.close(fd)

    def _guard(self) -> None:
        for child in self._children.values():
            members = list(tree(child.pid)) if child.guard_bytes or child.guard_pids else []
            if child.guard_pids and len(members) > child.guard_pids:
                kill_tree(child)  # RLIMIT_NPROC says nothing to root, so we count as well
            elif child.guard_bytes and sum(map(resident, members)) > child.guard_bytes:
                child.exceeded = True
                kill_tree(child)

    def _tell(self, **message: object) -> None:
        with contextlib.suppress(ConnectionError):  # an owner that is gone is noticed at the next receive
            self._control.send(json.dumps(message).encode())


def die_with_parent(parent: int) -> None:
    """Ask the kernel for our death with our parent's; the second look closes the race before the request."""
    if _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot bind to the life of the parent")
    if os.getppid() != parent:
        sys.exit(1)


def kill_tree(child: Child) -> None:
    """Kill the first process of the inner world: the kernel then kills all others, before it can be
    reaped.
    """
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(child.inner_pidfd or child.pidfd, signal.SIGKILL)


def end_inner(child: Child) -> None:
    """bwrap goes as soon as the plugin's first process does; what that one left behind goes before we
    report.
    """
    if child.inner_pidfd is not None:
        kill_tree(child)
        if not select.select([child.inner_pidfd], [], [], END_S)[0]:
            sys.stderr.write(f"launcher: the world of process {child.pid} does not end\n")


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One message and its descriptors, closed on exec (socket.recv_fds forgets its flags)."""
    room = socket.CMSG_SPACE(MAX_FDS * struct.calcsize("i"))
    data, extras, _, _ = control.recvmsg(MAX_MESSAGE_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in extras:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist()


def become(
    control: socket.socket,
    launch_id: int,
    request: dict[str, Any],
    theirs: list[int],
    ends: Ends,
) -> NoReturn:
    """In the child: join the limits, enter the network namespace, drop everything else, become bwrap."""
    try:
        launcher = os.getppid()
        die_with_parent(launcher)
        for path in request["join"]:
            write(path, "0")
        if request["network"]:
            enter_network()
            die_with_parent(launcher)  # new credentials clear the request
            hand_over(control, launch_id, open_gate_sockets())
        for name, value in request["rlimits"].items():
            set_limit(name, value, 0)
        numbers = {"gate": ends.gate, "status": ends.status}
        for name, content in request["data"].items():
            numbers[name] = memory_file(base64.b64decode(content))
        stdio, channel = theirs[:3], theirs[3:]
        if channel:
            numbers["channel"] = channel[0]
        words = [fill(word, numbers) for word in request["options"]]
        # In a descriptor, because a command line is public and these words hold the plugin's environment.
        options = memory_file(b"".join(word.encode() + b"\0" for word in words))
        keep = {*numbers.values(), options, ends.failure}
        command = [fill(word, numbers) if channel else word for word in request["command"]]
        for target, fd in enumerate(stdio):
            os.dup2(fd, target)
        close_others(keep)
        for fd in keep - {ends.failure}:
            os.set_inheritable(fd, True)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        os.chdir("/")
        argv = ["bwrap", "--args", str(options), "--", *command]
        os.execve(request["program"], argv, {})  # noqa: S606 - no shell is the point
    except (OSError, ValueError, KeyError) as error:
        os.write(ends.failure, str(error).encode()[:4000] or b"unknown")
    finally:
        os._exit(127)


def fill(word: str, numbers: dict[str, int]) -> str:
    """`{fd:NAME}` becomes the number of that descriptor."""
    return str(numbers[word[4:-1]]) if word.startswith("{fd:") and word[4:-1] in numbers else word


def memory_file(content: bytes) -> int:
    """A descriptor that reads `content` from its start."""
    fd = os.memfd_create("sekisho")
    os.write(fd, content)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def close_others(keep: set[int]) -> None:
    """A descriptor that leaks is a door: close all but the standard three and these."""
    previous = 2
    for fd in sorted(keep):
        os.closerange(previous + 1, fd)
        previous = fd
    os.closerange(previous + 1, 1 << 20)


def enter_network() -> None:
    """A network namespace of our own with nothing in it but a loopback."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        raise OSError(
            ctypes.get_errno(), "cannot make a network namespace: " + os.strerror(ctypes.get_errno())
        )
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", f"{uid} {uid} 1")
    write("/proc/self/gid_map", f"{gid} {gid} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = bytearray(struct.pack("16sh14x", b"lo", 0))
        fcntl.ioctl(probe, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", request, 16)
        struct.pack_into("h", request, 16, flags | IFF_UP)
        fcntl.ioctl(probe, SIOCSIFFLAGS, request)


def open_gate_sockets() -> list[socket.socket]:
    """The four doors of the gate, in the order of the hand-off: proxy, 443, 80, names."""
    doors = []
    for kind, host, port in GATE_SOCKETS:
        door = socket.socket(socket.AF_INET, kind)
        door.bind((host, port))
        if kind == socket.SOCK_STREAM:
            door.listen(BACKLOG)
        doors.append(door)
    return doors


def hand_over(control: socket.socket, launch_id: int, doors: list[socket.socket]) -> None:
    """Give the doors to the owner; our own copies close with the exec."""
    payload = json.dumps({"event": "sockets", "id": launch_id}).encode()
    fds = array.array("i", [door.fileno() for door in doors])
    control.sendmsg([payload], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def set_limit(name: str, value: int, pid: int) -> None:
    """Lower one limit, never raise it: what the host already refuses stays refused."""
    which = getattr(resource, f"RLIMIT_{name}")
    _, hard = resource.prlimit(pid, which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(pid, which, (value, value))


def read_failure(fd: int) -> str:
    """What the child says before it becomes bwrap; nothing when the exec closed its end."""
    try:
        if not select.select([fd], [], [], SET_UP_S)[0]:
            return "the child did not start in time"
        return os.read(fd, 4096).decode(errors="replace")
    finally:
        os.close(fd)


def status_member(status: bytes, name: str) -> int | None:
    """One number of bwrap's status lines, once its line is complete."""
    for line in status.split(b"\n")[:-1]:
        value = json.loads(line).get(name)
        if isinstance(value, int):
            return value
    return None


def write(path: str, text: str) -> None:
    """One write to a kernel file; the error names the file."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    finally:
        os.close(fd)


def tree(root: int) -> Iterator[int]:
    """A process and all below it; orphans of the inner world hang below its first process, so none
    escapes.
    """
    waiting = [root]
    for _ in range(MAX_TREE):
        if not waiting:
            return
        pid = waiting.pop()
        yield pid
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib costs three times as much
                waiting += [int(word) for word in read_text(f"/proc/{pid}/task/{task}/children").split()]


def resident(pid: int) -> int:
    """Pss in bytes; a process that is gone uses nothing.

    A process may hide its maps (PR_SET_DUMPABLE), but not its size: that one counts whole, shared parts and all.
    """
    try:
        for line in read_text(f"/proc/{pid}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except PermissionError:
        return resident_at_most(pid)
    except OSError:
        return 0
    return 0


def resident_at_most(pid: int) -> int:
    """Resident pages in bytes."""
    try:
        return int(read_text(f"/proc/{pid}/statm").split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def read_text(path: str) -> str:
    """A kernel file as text."""
    with open(path, encoding="ascii", errors="replace") as file:  # noqa: PTH123 - pathlib is not imported here
        return file.read()


def probe_network() -> None:
    """Try the network wall once, for `sekisho doctor`; says nothing when it stands."""
    try:
        enter_network()
        for door in open_gate_sockets():
            door.close()
    except OSError as error:
        sys.stdout.write(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])

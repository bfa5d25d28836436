"""What a forked child does before it is the plugin: join its limits, enter its network, drop all else, become bwrap."""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from typing import Any, NoReturn

from sekisho.launcher.kernel import close_others, die_with_parent, memory_file, set_limit, write
from sekisho.launcher.network import enter_network, hand_over, open_gate_sockets

__all__ = ["Ends", "become", "fill"]


@dataclass(frozen=True, slots=True)
class Ends:
    """The child's ends: the gate it waits at, bwrap's report, and our own complaint."""

    gate: int
    status: int
    failure: int


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

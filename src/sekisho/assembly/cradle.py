"""The supervisor's end of the nursery: starts it, asks it for children, and hears how they end.

Guarantees that a child is known by a descriptor of its process and never by its number; that the death of the nursery is
the death of every child, told once the kernel has ended each; and that the next request after it starts another
nursery. The environment of a plugin server, and its orders, travel in a memory file, never on a command line.

Knows roles only as words. What a child may do is decided in the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from typing import Final

import msgspec

from sekisho.assembly.births import NO_ORDERS, Born, Contents, Ended, Failed, Job, Message, receive, send
from sekisho.assembly.children import command_line
from sekisho.errors import Unavailable

__all__ = ["Cradle"]

BIRTH_S: Final = 30.0  # the first one waits for the nursery's imports, on a busy machine too
TITLE_ROOM: Final = 1024  # a child's command line holds two paths; what does not fit is not shown
# What decides where files of a process go before it knows its role; everything else comes with the role.
KEPT: Final = ("TMPDIR", "TEMP", "TMP", "TZ", "LD_LIBRARY_PATH")


class Cradle:
    """Starts children by fork. A context: leaving it ends the nursery, and every child that is left with it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._kept = {name: value for name, value in environment.items() if name in KEPT}
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._is_heard = False
        self._births: dict[int, asyncio.Future[_Forked]] = {}
        self._living: dict[int, _Forked] = {}

    def __enter__(self) -> Cradle:
        """Start the nursery, so that it imports while its owner does other things."""
        self._open()
        return self

    def __exit__(self, *_exc: object) -> None:
        """End it."""
        self._close()

    @property
    def environment(self) -> Mapping[str, str]:
        """Ours, of which each child gets what concerns it."""
        return self._environment

    async def start(
        self,
        arguments: list[str],
        environment: Mapping[str, str] | None = None,
        orders: bytes | None = None,
    ) -> _Forked:
        """A new child with this role; without an environment, a plugin server has ours and others next to nothing.

        Without orders a plugin server reads the core file itself.

        Raises:
            Unavailable: the nursery could not fork it.
        """
        if self._control is None:
            self._open()
        assert self._control is not None  # noqa: S101  # just opened
        loop = asyncio.get_running_loop()
        if not self._is_heard:
            self._is_heard = True
            loop.add_reader(self._control, self._hear)
        ident = next(self._numbers)
        if environment is None:
            environment = self._environment if arguments[0] == "plugin" else self._kept
        said = NO_ORDERS if orders is None else msgspec.Raw(orders)
        contents = Contents(dict(environment), said)
        birth: asyncio.Future[_Forked] = loop.create_future()
        self._births[ident] = birth
        ours, theirs = os.pipe()
        try:
            self._ask(Job(ident, tuple(arguments)), contents, theirs)
            async with asyncio.timeout(BIRTH_S):
                child = await birth
        except (OSError, TimeoutError) as error:
            os.close(ours)
            self._lose()  # a child that is born later dies with it
            raise Unavailable("internal", f"the nursery does not answer: {error}") from error
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
            self._births.pop(ident, None)
        await child.listen(ours)
        return child

    def _ask(self, job: Job, contents: Contents, output: int) -> None:
        assert self._control is not None  # noqa: S101  # start opened it
        with open(os.memfd_create("sekisho"), "w+b", buffering=0) as letter:  # noqa: PTH123  # it has no path
            letter.write(msgspec.json.encode(contents))
            send(self._control, job, (letter.fileno(), output))

    def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        words = command_line("nursery", str(theirs.fileno()), " " * TITLE_ROOM)
        with theirs:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env=self._kept,
                pass_fds=(theirs.fileno(),),
            )
        self._control = ours

    def _hear(self) -> None:
        """Everything the nursery has to say right now."""
        while self._control is not None:
            try:
                data, fds = receive(self._control)
            except BlockingIOError:
                return
            if not data:
                self._lose()
                return
            self._heard(msgspec.json.decode(data, type=Message), fds)

    def _heard(self, message: Message, fds: list[int]) -> None:
        birth = self._births.get(message.id)
        match message:
            case Born():
                child = self._living[message.id] = _Forked(message.pid, fds[0])
                if birth is None or birth.done():
                    child.send_signal(signal.SIGKILL)  # nobody waits for it any more
                else:
                    birth.set_result(child)
            case Failed() if birth is not None and not birth.done():
                birth.set_exception(Unavailable("internal", f"a process cannot be forked: {message.reason}"))
            case Ended():
                self._living.pop(message.id).end(message.status)

    def _lose(self) -> None:
        """The nursery is gone or dismissed; the kernel ends its children."""
        if self._is_heard and self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
        self._is_heard = False
        self._close()
        for birth in self._births.values():
            if not birth.done():
                birth.set_exception(Unavailable("internal", "the nursery ended"))
        living, self._living = self._living, {}
        for child in living.values():
            child.orphan()

    def _close(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class _Forked:
    """One child of the nursery, as a life (`children`)."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.output = asyncio.StreamReader()
        self._pidfd: int | None = pidfd
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def listen(self, fd: int) -> None:
        """Read its output from this descriptor, which is ours now."""
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self.output), os.fdopen(fd, "rb", buffering=0)
        )

    def send_signal(self, number: int) -> None:
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def end(self, status: int) -> None:
        """It has ended; its parent says how."""
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if not self._ended.done():
            self._ended.set_result(status)

    def orphan(self) -> None:
        """Its parent is gone and so is whoever knew its status: the kernel's signal is the answer."""
        assert self._pidfd is not None  # noqa: S101  # it is still among the living
        self.send_signal(signal.SIGKILL)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, self._gone)

    def _gone(self) -> None:
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
        self.end(-signal.SIGKILL)

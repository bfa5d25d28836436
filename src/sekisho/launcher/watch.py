"""A plugin's watcher, in a process of its own: answers what its filter lets ring, and tells what was refused.

Guarantees
- what the filter refuses stays refused, and an attempt on a file goes on to the walls: they decide, not we;
- a call that is refused anyway is let through only while bwrap raises walls, before any program of the plugin's runs;
- a plugin that rings for ever, or opens files for ever, waits for us: refusals come at a bounded rate, and files take a
  bounded share of a processor, so that what it costs is its own time;
- whatever the plugin's memory, its paths and its file systems do, nobody waits for it but the plugin itself;
- without its watcher the plugin fails at its next call, and is ended.

A process of its own, because the launcher also guards memory and starts other instances; it dies with the launcher.
Knows no grant: which calls ring and what lies where comes with the launch.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from sekisho.launcher.alarm import COVERS, Alarm
from sekisho.launcher.calls import number_of
from sekisho.launcher.covering import Covers
from sekisho.launcher.host import Host
from sekisho.launcher.kernel import is_taken, receive
from sekisho.launcher.ledger import Ledger, Purse
from sekisho.launcher.places import Places, Refusal, Wish
from sekisho.launcher.words import Memory, anchored

__all__ = ["Call", "rehearse", "watch"]

PERIOD_S: Final = 0.05
COUNT_EVERY: Final = 64  # calls between two looks at the processor time
SET_ID: Final = 0o6000
MAKES: Final = os.O_CREAT | 0o20000000  # O_TMPFILE without the O_DIRECTORY in it
CHANGES: Final = os.O_WRONLY | os.O_RDWR | os.O_TRUNC
# A plugin that opens nothing for so long does something else. Each look takes a processor from it and finds cold
# caches: a server that starts opens two files a millisecond, with pauses between them in which it works.
IDLE_MS: Final = 250
LATER_S: Final = (
    0.8  # and what one that never rests has opened is looked at by then; it is told within a second
)
MAX_LATER: Final = 1024  # paths that wait for a look
LOOKS: Final = 16  # of them at once: who rings meanwhile waits for so many
PAUSE_MS: Final = (
    1  # and between them: who rang last goes on where we were, and who sleeps is woken elsewhere
)
RUNS: Final = {number_of("execve"), number_of("execveat")}  # by them a process gets another memory
UMOUNT: Final = number_of("umount2")  # of the old root, by bwrap, after the last thing that it mounts
MAX_SEEN: Final = 4096  # paths that are known to be allowed, for as long as nothing can change them
MAX_SEEN_BYTES: Final = 256  # of one of them: a plugin that makes them up fills a MiB at most
MAX_SHOWN: Final = 1024  # characters of a path that are passed on
REHEARSED: Final = {"0": [[["open", 0, 1]], 2, 3]}


class Call:
    """One call that touches a path; see `sandbox.watched`.

    `is_run`: by it a process executes a program.
    """

    def __init__(
        self, paths: list[tuple[str, int, int]], flags: int, mode: int, *, is_run: bool = False
    ) -> None:
        self.paths = paths
        self.flags = flags
        self.mode = mode
        self.is_run = is_run

    def is_refused(self, arguments: Sequence[int]) -> bool:
        """What the filter says of it: never set-uid or set-gid, where the mode means anything."""
        if self.mode < 0 or (self.flags >= 0 and not arguments[self.flags] & MAKES):
            return False
        return bool(arguments[self.mode] & SET_ID)

    def wish(self, kind: str, arguments: Sequence[int]) -> Wish:
        """What it wants of one of its paths."""
        if kind != "open":
            return kind  # type: ignore[return-value]  # our own table
        flags = arguments[self.flags]
        if not flags & CHANGES:
            return "read"
        return "make" if flags & os.O_CREAT else "write"


def watch(request: dict[str, Any], gate: socket.socket, line: socket.socket) -> None:
    """In the watcher: wait for the listener at the gate, then serve it until nobody is left who could ring.

    It comes from whoever loaded the filter, past the launcher, which waits for that process to have raised its walls.
    """
    word, fds = take_listener(gate)
    line.send(b"listens" if fds else b"silent")
    if not fds:
        return
    refusals = {int(number): error for number, error in request["refusals"].items()}
    covers = Covers([(path, source) for path, source in request["covers"]]) if word == COVERS else None
    _Watch(Alarm(fds[0], refusals), request, gate, line, covers).run()


def rehearse() -> None:
    """Do once what is done for every call: the pages that this writes to are our own copies afterwards."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            request = {"refusals": {}, "watched": REHEARSED, "places": [["/usr", "read"]], "kind": "landlock"}
            _Watch(Alarm(null, {}), json.loads(json.dumps(request)), ours, theirs).rehearse()
        os.close(null)


def take_listener(gate: socket.socket) -> tuple[bytes, list[int]]:
    """The listener of a filter with an alarm, and a word; nothing where none may be had, or its sender is gone."""
    try:
        return receive(gate)
    except ConnectionError:
        return b"", []


def moved(poll: select.poll, before: int, now: int) -> int:
    """Wait for this descriptor, if there is one, in the place of the one before; returns it."""
    if before >= 0:
        poll.unregister(before)
    if now >= 0:
        poll.register(now, select.POLLIN)
    return now


class _Watch:
    """The watcher's own side."""

    def __init__(
        self,
        alarm: Alarm,
        request: dict[str, Any],
        gate: socket.socket,
        line: socket.socket,
        covers: Covers | None = None,
    ) -> None:
        now = time.monotonic()
        self._alarm = alarm
        self._line = line
        self._gate = gate
        watched = {int(number): one for number, one in request["watched"].items()}
        hears_each = watched.keys() >= RUNS  # else one could be executed that we do not hear of
        self._calls = {
            number: Call(
                [(kind, folder, at) for kind, folder, at in paths],
                flags,
                mode,
                is_run=hears_each and number in RUNS,
            )
            for number, (paths, flags, mode) in watched.items()
        }
        self._memory = Memory()
        self._table = [(path, kind) for path, kind in request["places"]]
        self._is_shared: bool = request["kind"] == "landlock"
        self._is_building: bool = request["kind"] == "bubblewrap"
        self._is_let_go = False
        self._is_due = False  # the launcher has said the word
        self._covers = covers  # to be placed before anybody hears it
        self._places: Places | None = None
        self._host = Host()
        self._ledger = Ledger(self._host.has, now)
        self._purse = Purse(now, time.process_time())
        self._fine: set[bytes] = set()  # to read
        self._later: list[bytes] = []
        self._look_by = 0.0
        self._is_looking = False  # not all that waits has been looked at yet
        self._heard = 0
        self._rests_until = 0.0

    def run(self) -> None:
        """Until everybody whom it watches is gone."""
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        poll.register(self._alarm.fd, select.POLLIN)
        listener, end, resting, wait = self._alarm.fd, -1, False, poll.poll
        while True:
            timeout_ms = self._timeout_ms() if resting or self._ledger.due_at is not None else None
            events = wait(PAUSE_MS if self._is_looking else IDLE_MS if self._later else timeout_ms)
            event = self._hear_of(events, end)
            if event & select.POLLIN:
                self._serve()
                resting = self._is_resting()
                if resting:
                    poll.unregister(listener)
            elif event:
                break
            if self._memory.end != end:
                end = moved(poll, end, self._memory.end)
            if self._looks_now(is_idle=not events):
                self._look(LOOKS)
                self._is_looking = bool(self._later)
                timeout_ms = 0
            if timeout_ms is None:
                continue
            now = time.monotonic()
            if resting and now >= self._rests_until:
                resting = False
                self._alarm.refill()
                poll.register(listener, select.POLLIN)
            if self._ledger.due_at is not None and now >= self._ledger.due_at:
                self._flush(now)
        self._look(len(self._later))
        self._flush(time.monotonic(), is_last=True)

    def _hear_of(self, events: list[tuple[int, int]], end: int) -> int:
        """What the listener has for us; all else that happened is seen to before that is taken from it."""
        event = 0
        for fd, seen in events:
            if fd == self._alarm.fd:
                event = seen
            elif fd == end:
                self._memory.forget()
            elif not self._take_word():
                event = select.POLLHUP
        return event

    def rehearse(self) -> None:
        """One call of our own, which nobody waits for."""
        here = ctypes.create_string_buffer(b"/usr/../etc/none")
        self._serve()
        self._memory.path(os.getpid(), ctypes.addressof(here))
        self._memory.executes(os.getpid())
        self._observe(0, os.getpid(), self._calls[0], [0, ctypes.addressof(here), 0, 0, 0, 0])
        self._memory.forget()
        self._later.append(b"/usr/bin/none")
        self._look(LOOKS)
        self._is_resting()
        self._ledger.note(Refusal("read", "/etc/none", "unlisted"), time.monotonic())
        self._timeout_ms()
        self._flush(0.0)
        poll = select.poll()
        poll.register(self._line, select.POLLIN)
        poll.poll(0)

    def _timeout_ms(self) -> float:
        """Until the rest is over, or something is to be told."""
        at = [one for one in (self._rests_until, self._ledger.due_at) if one]
        return max(0.0, min(at) - time.monotonic()) * 1000 + 1

    def _is_resting(self) -> bool:
        """Whether this plugin has had enough of us for now."""
        self._heard += 1
        self._rests_until = 0.0
        if self._alarm.is_patient:
            self._rests_until = time.monotonic() + PERIOD_S
        if self._heard % COUNT_EVERY == 0:
            now = time.monotonic()
            pause_s = self._purse.pause_s(now, time.process_time())
            if pause_s:
                self._rests_until = max(self._rests_until, now + pause_s)
        return bool(self._rests_until)

    def _take_word(self) -> bool:
        """A word of the launcher's; False when it has no more."""
        try:
            word = self._line.recv(16)
        except ConnectionError:
            return False
        if word == b"go":
            self._is_due = True
            if self._covers is None:
                self._let_go()
        return bool(word)

    def _let_go(self) -> None:
        """Only who gives the word knows at every moment whether it was given."""
        with contextlib.suppress(OSError):
            self._gate.send(b"x")
        self._is_let_go = True
        if not self._is_building:
            self._gate.close()

    def _serve(self) -> None:
        notice = self._alarm.hear()
        if notice is None:
            return
        key, pid, number, arguments = notice
        if self._is_building and self._still_builds():
            if self._covers is not None and number == UMOUNT:
                self._cover(self._covers, pid, key)
            self._alarm.let_pass(key)
            return
        call = self._calls.get(number)
        if call is not None and not call.is_refused(arguments):
            self._observe(key, pid, call, arguments)
        elif self._alarm.is_absent(number):
            self._alarm.be_absent(key)
        elif self._alarm.refuse(key, number) and self._alarm.count(number):
            self._tell(event="alarm", call=number, times=1)

    def _cover(self, covers: Covers, pid: int, key: int) -> None:
        """bwrap is about to leave the host's root: its own /proc stands. If this fails we end, and with us the plugin."""
        try:
            covers.place(pid, lambda: self._alarm.still_waits(key))
        except OSError as error:
            self._tell(event="uncovered", message=f"parts of /proc cannot be covered: {error}")
            raise
        self._covers = None
        if self._is_due:
            self._let_go()

    def _still_builds(self) -> bool:
        """Asked after the call was received: whoever calls has then done everything that comes before the call."""
        self._is_building = not (self._is_let_go and is_taken(self._gate))
        if not self._is_building:
            self._gate.close()
        return self._is_building

    def _observe(self, key: int, pid: int, call: Call, arguments: Sequence[int]) -> None:
        """Let it go on. What can change meanwhile is looked at before, all else after."""
        places = self._places_of(pid)
        if places is None:
            self._let_pass(key, pid, call)
            return
        later: bytes | None = None  # no call reads two
        found: list[Refusal] | None = None
        for kind, folder, at in call.paths:
            path = self._memory.path(pid, arguments[at])
            wish = call.wish(kind, arguments)
            if not path or (wish == "read" and path in self._fine):
                continue
            # What would be written to is looked at now: once the plugin is gone its devices are, and look like new files.
            if wish == "read" and later is None and places.is_still(path):
                later = path
                continue
            text = anchored(pid, None if folder < 0 else arguments[folder], path)
            refusal = None if text is None else places.refusal(wish, text)
            if refusal is not None:
                found = [refusal] if found is None else [*found, refusal]
        if not self._let_pass(key, pid, call):
            return  # what we read may have been somebody else's
        if later is not None:
            if not self._later:
                self._look_by = time.monotonic() + LATER_S
            self._later.append(later)
        if found is not None:
            now = time.monotonic()
            for refusal in found:
                self._ledger.note(refusal, now)

    def _let_pass(self, key: int, pid: int, call: Call) -> bool:
        if call.is_run:
            self._memory.executes(pid)
        return self._alarm.let_pass(key)

    def _looks_now(self, *, is_idle: bool) -> bool:
        if not self._later:
            return False
        return (
            is_idle or self._is_looking or len(self._later) >= MAX_LATER or time.monotonic() >= self._look_by
        )

    def _look(self, most: int) -> None:
        """What nothing can change is looked at when the plugin does not wait for us, so much at once."""
        later, self._later = self._later[:most], self._later[most:]
        places, fine, now = self._places, self._fine, time.monotonic()
        if places is None:
            return
        for path in later:
            if path in fine:
                continue
            refusal = None if places.is_there(path) else places.refusal("read", os.fsdecode(path))
            if refusal is not None:
                self._ledger.note(refusal, now)
            elif len(fine) < MAX_SEEN and len(path) <= MAX_SEEN_BYTES:
                fine.add(path)

    def _places_of(self, pid: int) -> Places | None:
        """The plugin's own root, taken from the first of its processes that opens anything; all share it."""
        if self._places is None:
            path = "/" if self._is_shared else f"/proc/{pid}/root"
            try:
                root = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                return None  # it is gone, or hides from us
            self._places = Places(self._table, root, is_shared=self._is_shared)
        return self._places

    def _flush(self, now: float, *, is_last: bool = False) -> None:
        if self._ledger.is_waiting:  # most plugins never have anything that the host must be asked for
            self._host.look()
        told, left_out = self._ledger.due(now, is_last=is_last)
        for refusal, times in told:
            found = (refusal.act, refusal.path[:MAX_SHOWN], refusal.reason, times)
            self._tell(event="path", found=found, left_out=left_out)
            left_out = 0
        if left_out:
            self._tell(event="path", found=None, left_out=left_out)
        if is_last:
            for number, times in self._alarm.counts.items():
                if times > 1:
                    self._tell(event="alarm", call=number, times=times)
            self._tell(event="over")

    def _tell(self, **message: object) -> None:
        with contextlib.suppress(ConnectionError):
            self._line.send(json.dumps(message).encode())

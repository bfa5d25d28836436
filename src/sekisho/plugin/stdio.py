"""A plugin on standard input and output: reads lines, runs each call in a thread of its own, writes whole lines.

Guarantees
- the plugin looked at its walls before the first line is read;
- nothing but MCP is ever written to standard output: what a tool prints goes to standard error;
- calls are bounded in number, a cancelled one is not answered, and at the end of input everything that still runs is
  told to stop and given a moment, then the process ends.

Threads, because a tool is mostly somebody's blocking code; an async tool gets an event loop of its own in its thread.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import BinaryIO, Final

from sekisho.plugin.call import Call
from sekisho.plugin.dialogue import Dialogue, Started, ident_key
from sekisho.plugin.faults import Cancelled, Overloaded, PluginFault
from sekisho.plugin.isolated import IsolatedPlugin, ToolUnknown, unforeseen
from sekisho.plugin.messages import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_LINE_BYTES,
    Ident,
    Message,
    RpcRefusal,
    error_line,
    notification_line,
    read_line,
    result_line,
)
from sekisho.plugin.results import failure
from sekisho.plugin.walls import SandboxConfig

__all__ = ["Conversation", "serve"]

MAX_CALLS: Final = 16  # threads count against the pids of the sandbox
GRACE_S: Final = 2.0


def serve(plugin: IsolatedPlugin, *, environment: Mapping[str, str]) -> int:
    """Serve one plugin until standard input ends; returns the exit status.

    Args:
        plugin: made, not yet initialized.
        environment: what the process was given, usually `os.environ`.
    """
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a stray print() must not break the protocol
    broken: PluginFault | None = None
    try:
        config = SandboxConfig.from_environment(environment)
        if not config.has_walls:
            sys.stderr.write("no_walls this plugin runs without a sandbox\n")
        plugin.initialize_isolated(config)
    except PluginFault as fault:
        broken = fault
    except Exception as error:  # noqa: BLE001 - the author's own beginning; it ends in a refusal of everything
        broken = unforeseen("initialize_isolated", error)
    if broken is not None:
        sys.stderr.write(f"not_initialized code={broken.code} reason={broken.message}\n")
    with source, sink:
        Conversation(plugin, Dialogue(plugin, broken), source, sink).run()
    return 0 if broken is None else 1


class Conversation:
    """The lines of one session, and the calls that run."""

    def __init__(self, plugin: IsolatedPlugin, dialogue: Dialogue, source: BinaryIO, sink: BinaryIO) -> None:
        self._plugin = plugin
        self._dialogue = dialogue
        self._source = source
        self._sink = sink
        self._lock = threading.Lock()
        self._running: dict[tuple[str, Ident], tuple[Call, threading.Thread]] = {}

    def run(self) -> None:
        """Answer until the input ends."""
        while line := self._source.readline(MAX_LINE_BYTES + 1):
            if not line.endswith(b"\n") and len(line) > MAX_LINE_BYTES:
                self._skip_rest()
            if line.strip():
                self._take(line)
        self._end()

    def _skip_rest(self) -> None:
        while (rest := self._source.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
            pass

    def _take(self, line: bytes) -> None:
        try:
            message = read_line(line)
        except RpcRefusal as refusal:
            self._write(error_line(refusal, None))
            return
        if message is None:
            return
        if message.ident is None:
            if message.method == "notifications/cancelled":
                self._cancel(message.params.get("requestId"))
            return
        try:
            answer = self._dialogue.answer(message)
            if isinstance(answer, Started):
                self._start(message, message.ident, answer)
                return
        except RpcRefusal as refusal:
            self._write(error_line(refusal, message.ident))
            return
        self._write(result_line(message.ident, answer))

    def _start(self, message: Message, ident: Ident, started: Started) -> None:
        key = ident_key(ident)
        if started.tool not in self._plugin.tools:
            raise RpcRefusal(INVALID_PARAMS, "no tool has this name", data={"code": ToolUnknown.code})
        with self._lock:
            if key in self._running:
                raise RpcRefusal(INVALID_REQUEST, "a request with this id runs already")
            if len(self._running) >= MAX_CALLS:
                full = failure(Overloaded(f"{MAX_CALLS} calls run already"), self._plugin.redaction)
                data = result_line(ident, self._dialogue.answer_of(started, full))
            else:
                call = Call(token=started.token, send=self._note)
                thread = threading.Thread(target=self._run_call, args=(ident, started, call), daemon=True)
                self._running[key] = call, thread
                thread.start()
                return
        self._write(data)

    def _run_call(self, ident: Ident, started: Started, call: Call) -> None:
        key = ident_key(ident)
        try:
            result = self._plugin.execute_tool_sandboxed(started.tool, started.arguments, call)
        except Cancelled:
            self._forget(key)
            return
        except PluginFault as fault:
            result = failure(fault, self._plugin.redaction)
        # Forgotten before it is answered, so that the client may use the id again when it has the answer.
        self._forget(key)
        if not call.is_cancelled:
            self._write(result_line(ident, self._dialogue.answer_of(started, result)))

    def _forget(self, key: tuple[str, Ident]) -> None:
        with self._lock:
            self._running.pop(key, None)

    def _cancel(self, ident: object) -> None:
        if isinstance(ident, str | int):
            with self._lock:
                found = self._running.get(ident_key(ident))
            if found is not None:
                found[0].cancel()

    def _note(self, note: dict[str, object]) -> None:
        self._write(notification_line("notifications/progress", self._redacted(note)))

    def _redacted(self, note: dict[str, object]) -> dict[str, object]:
        return {
            name: self._plugin.redaction.apply(value)
            if name == "message" and isinstance(value, str)
            else value
            for name, value in note.items()
        }

    def _write(self, line: bytes) -> None:
        with self._lock:
            try:
                self._sink.write(line)
                self._sink.flush()
            except (BrokenPipeError, ValueError):
                return  # the other side has gone; the end of input follows

    def _end(self) -> None:
        with self._lock:
            running = list(self._running.values())
        for call, _ in running:
            call.cancel()
        deadline = time.monotonic() + GRACE_S
        for _, thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))

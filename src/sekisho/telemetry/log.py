"""The running log: one line per event, a name and a few fields, on standard error.

Guarantees that a line is one line, in plain ASCII (no newline, escape or direction-changing character of a
stranger reaches a terminal), that fields with a secret-looking name are masked, and that only plain values
appear: a payload has no way in. A log that cannot be written is counted and never stops a call. It is not the
audit log.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Final, TextIO

__all__ = ["Level", "Logger", "Value"]

Scalar = str | int | float | bool | None
Value = Scalar | Sequence[Scalar]

MAX_TEXT: Final = 400  # a field names a thing; whatever is longer is on its way to being a payload
MAX_MEMBERS: Final = 32
MASK: Final = "***"
_SECRET: Final = re.compile(r"token|secret|passw|credential|authorization|cookie|(^|_)key$", re.IGNORECASE)
_SIMPLE: Final = re.compile(r"[A-Za-z0-9_.:/@+-]+")


class Level(IntEnum):
    """How much an event matters."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Logger:
    """Writes the events of one process: JSON lines, or `key=value` for a person at a terminal."""

    def __init__(
        self,
        process: str,
        *,
        level: Level | str = Level.INFO,
        stream: TextIO | None = None,
        json_lines: bool | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._process = process
        self._level = Level[level] if isinstance(level, str) else level
        self._stream = sys.stderr if stream is None else stream
        self._json_lines = not self._stream.isatty() if json_lines is None else json_lines
        self._clock = clock
        self.lost = 0

    def event(self, name: str, /, level: Level = Level.INFO, **fields: Value) -> None:
        """Write one event, if its level is wanted."""
        if level < self._level:
            return
        shown: dict[str, Value] = {
            "time": datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds"),
            "level": level.name,
            "process": self._process,
            "event": name,
        }
        # The four above come first and are ours: a field of the same name does not replace them.
        shown |= {key: _fit(key, value) for key, value in fields.items() if key not in shown}
        line = (
            json.dumps(shown)
            if self._json_lines
            else " ".join(f"{key}={_quoted(shown[key])}" for key in shown)
        )
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # a closed stream raises ValueError
            self.lost += 1

    def info(self, name: str, /, **fields: Value) -> None:
        """An event of normal life."""
        self.event(name, Level.INFO, **fields)

    def warning(self, name: str, /, **fields: Value) -> None:
        """An event that somebody should look at."""
        self.event(name, Level.WARNING, **fields)

    def error(self, name: str, /, **fields: Value) -> None:
        """An event that stops something from working."""
        self.event(name, Level.ERROR, **fields)


def _fit(key: str, value: object) -> Value:
    if _SECRET.search(key):
        return MASK
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value[:MAX_MEMBERS]] + (["..."] if len(value) > MAX_MEMBERS else [])
    return _plain(value)


def _plain(value: object) -> Scalar:
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else value[:MAX_TEXT] + "..."
    if value is None or isinstance(value, bool | int | float):
        return value
    return f"<{type(value).__name__}>"


def _quoted(value: Value) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if _SIMPLE.fullmatch(text) else json.dumps(text)

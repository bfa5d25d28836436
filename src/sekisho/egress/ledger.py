"""What the gate let through and refused, one JSON line each, in bounded files of each plugin.

- What simply went through stands in `NAME.passed.jsonl`, everything else in `NAME.jsonl`: a plugin that makes a thousand
  allowed requests a second pushes no refusal out.
- A file is rotated once (`NAME.jsonl`, `NAME.jsonl.1`), so a plugin cannot fill the disk.
- Refusals are written at a bounded rate, so that a flood of new ones does not push the old ones out; the next
  refusal says how many were left out.
- A line holds names and counts, never a payload, address or path of a request.

This is the operator's view; the proof is the audit log, which is written elsewhere. A file that cannot be
written is reported once through the log and does not stop the gate.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sekisho.egress.event import EgressEvent
from sekisho.policy import RateLimiter, RateRule

__all__ = ["PASSED_SUFFIX", "Ledger"]

PASSED_SUFFIX: Final = ".passed.jsonl"

MAX_FILE_BYTES: Final = 4 << 20
REFUSAL_RATE: Final = RateRule(per_minute=600, burst=300)
logger = logging.getLogger("sekisho.egress")


class Ledger:
    """Writes the events of one plugin."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float],
        *,
        max_bytes: int = MAX_FILE_BYTES,
        rate: RateRule = REFUSAL_RATE,
    ) -> None:
        self._path = path
        self._clock = clock
        self._max_bytes = max_bytes
        self._rate = rate
        self._limiter = RateLimiter(max_keys=1)
        self._left_out = 0
        self._is_failing = False

    def write(self, event: EgressEvent) -> bool:
        """Append one event; False when it was left out, because there are too many."""
        now = self._clock()
        if not event.allowed and self._limiter.admit("refusals", self._rate, now) > 0:
            self._left_out += 1
            return False
        entry = {
            "time": datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds"),
            "plugin": event.plugin,
            "kind": event.kind,
            "host": event.host,
            "port": event.port,
            "allowed": event.allowed,
            "reason": event.reason,
            "bytes": event.bytes,
        }
        if event.is_learned:
            entry["learned"] = True
        if self._left_out and not event.allowed:
            entry["left_out"] = self._left_out
        is_plain = event.allowed and not event.is_notable
        path = self._path.with_suffix(PASSED_SUFFIX) if is_plain else self._path
        if self._append(path, json.dumps(entry, separators=(",", ":")) + "\n") and not event.allowed:
            self._left_out = 0
        return True

    def _append(self, path: Path, line: str) -> bool:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size + len(line) > self._max_bytes:
                path.replace(path.with_name(path.name + ".1"))
            with path.open("a", encoding="ascii") as file:
                file.write(line)
        except OSError:
            if not self._is_failing:
                logger.exception("egress_ledger_failed", extra={"path": str(path)})
            self._is_failing = True
            return False
        self._is_failing = False
        return True

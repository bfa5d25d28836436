"""The line that stays open after a hand-off: what the gate refused, told to the plugin server whose sandbox it was.

- The egress process writes, the plugin server reads; whatever comes the other way ends the line. No process of a
  sandbox ever holds one of its ends.
- One packet is one refusal or observation: names, a port and our own words, never a payload. What cannot be read as
  that is dropped.
- Refusals are told at a bounded rate, of each kind and of all together, and never waited for. Whatever was left out is
  counted, and the count is told a moment later, so that a flood ends in a number and not in silence.
- The end of the line means the end of the egress process, and the sockets are handed over anew; only the word
  `replaced`, said when another sandbox took this one's place, means that nobody should.

Knows nothing of what is done with a refusal: the plugin server seals it for the core.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final, Self, get_args

from sekisho.egress.event import EgressEvent, Kind
from sekisho.errors import Refused
from sekisho.policy import RateLimiter, RateRule, canonical_host

__all__ = ["EgressRefusal", "GateLine", "LineEnd", "decode", "encode"]

MAX_PACKET_BYTES: Final = 1024  # the longest host name and our longest sentence fit twice
MAX_REASON_CHARS: Final = 200
TELLING_RATE: Final = RateRule(per_minute=600, burst=120)  # a flood must not fill the audit log
KIND_RATE: Final = RateRule(
    per_minute=150, burst=40
)  # of one kind: a flood of these must not hide one of those
LEFT_OUT_TOLD_AFTER_S: Final = 0.5
_REPLACED: Final = b'{"event":"replaced"}'
_LEARNED: Final = "let through while learning"
_KINDS: Final = frozenset(get_args(Kind))
_TYPES: Final = {
    "kind": str,
    "host": str,
    "port": int,
    "reason": str,
    "left_out": int,
    "is_observation": bool,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressRefusal:
    """One thing the gate did not let through, or (`is_observation`) let through only because it is learning.

    `left_out`: how many before it were not told. `host` is a canonical name, or empty when none could be read.
    """

    kind: Kind
    host: str
    port: int
    reason: str
    left_out: int = 0
    is_observation: bool = False


def encode(refusal: EgressRefusal) -> bytes:
    """One packet."""
    return json.dumps(asdict(refusal), separators=(",", ":")).encode("ascii")


def decode(packet: bytes) -> EgressRefusal | None:
    """The refusal in a packet; None for what is none."""
    try:
        fields = json.loads(packet)
        refusal = EgressRefusal(**fields)
    except (ValueError, TypeError, RecursionError):
        return None
    return refusal if _is_sound(refusal) else None


def _is_sound(refusal: EgressRefusal) -> bool:
    fields: dict[str, object] = asdict(refusal)  # of whatever types the packet had
    if {name: type(value) for name, value in fields.items()} != _TYPES:
        return False
    if refusal.kind not in _KINDS or not 0 <= refusal.port <= 65535 or refusal.left_out < 0:
        return False
    if len(refusal.reason) > MAX_REASON_CHARS or not refusal.reason.isprintable():
        return False
    try:
        return not refusal.host or canonical_host(refusal.host) == refusal.host
    except Refused:
        return False


class GateLine:
    """The plugin server's end. Closing it closes the gate as well."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    async def follow(self, on_refusal: Callable[[EgressRefusal], None]) -> bool:
        """Tell refusals until the line ends; True when another sandbox took this one's place."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                packet = await loop.sock_recv(self._sock, MAX_PACKET_BYTES)
            except OSError:
                return False
            if not packet or packet == _REPLACED:
                return bool(packet)
            refusal = decode(packet)
            if refusal is not None:
                on_refusal(refusal)

    def fileno(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class LineEnd:
    """The egress process's end. Owns the connection; never waits for the other side to read."""

    def __init__(
        self, connection: socket.socket, *, rate: RateRule = TELLING_RATE, kind_rate: RateRule = KIND_RATE
    ) -> None:
        self._sock = connection
        self._rate = rate
        self._kind_rate = kind_rate
        self._limiter = RateLimiter(max_keys=1 + len(_KINDS))
        self._left_out = 0
        self._last: EgressRefusal | None = None
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, event: EgressEvent) -> None:
        """Tell of a refusal or an observation; what simply went through is not told."""
        if event.allowed and not event.is_notable:
            return
        refusal = EgressRefusal(
            kind=event.kind,
            host=event.host,
            port=event.port,
            reason=(event.reason or _LEARNED)[:MAX_REASON_CHARS],
            is_observation=event.is_learned,
        )
        now = asyncio.get_running_loop().time()
        charges = (("all", self._rate), (event.kind, self._kind_rate))
        if self._limiter.admit_all(charges, now) > 0 or not self._send(refusal):
            self._leave_out(refusal)

    async def wait_closed(self) -> None:
        """Until the plugin server hangs up, or says anything at all, which it never does."""
        with contextlib.suppress(OSError):
            await asyncio.get_running_loop().sock_recv(self._sock, 1)

    def say_replaced(self) -> None:
        """Tell the plugin server that it need not come back."""
        with contextlib.suppress(OSError):
            self._sock.send(_REPLACED)

    def close(self) -> None:
        """End the line."""
        if self._timer is not None:
            self._timer.cancel()
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _send(self, refusal: EgressRefusal) -> bool:
        try:
            self._sock.send(encode(replace(refusal, left_out=self._left_out)))
        except OSError:
            return False  # it does not read, or is gone
        self._left_out = 0
        return True

    def _leave_out(self, refusal: EgressRefusal) -> None:
        self._left_out += 1
        self._last = refusal
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LEFT_OUT_TOLD_AFTER_S, self._tell_left_out)

    def _tell_left_out(self) -> None:
        self._timer = None
        if self._left_out == 0 or self._last is None:
            return
        self._left_out -= 1  # the last of them is told itself
        if not self._send(self._last):
            self._leave_out(self._last)

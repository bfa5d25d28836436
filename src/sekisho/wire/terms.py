"""What every channel of one listener shares: who we are, whom we admit, and who hears of what comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sekisho.errors import SekishoError
from sekisho.keys import HandshakeGate, Identity, ReplayWindow
from sekisho.wire.frames import Kind
from sekisho.wire.inbound import Inbound
from sekisho.wire.messages import AnswerFrame

__all__ = ["Channel", "PluginTerms"]


class Channel(Protocol):
    """One connection from a core, as its listener sees it."""

    @property
    def is_open(self) -> bool:
        """True once its core was admitted, until it ends."""

    def send(self, kind: Kind, payload: bytes, number: int = 0) -> None:
        """Send a frame that belongs to no call."""

    def cut(self) -> None:
        """End it now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginTerms:
    """What every channel of one listener shares."""

    identity: Identity
    gate: HandshakeGate
    core_token_public: bytes
    ops: frozenset[str] | None
    clock: Callable[[], float]
    replay: ReplayWindow
    on_call: Callable[[Inbound], None]
    on_cancel: Callable[[Inbound], None]
    on_answer: Callable[[AnswerFrame], None]
    on_recorded: Callable[[int], None]
    on_joined: Callable[[Channel], None]
    on_left: Callable[[Channel], None]
    on_refused: Callable[[SekishoError], None]

"""The revisions of MCP that this gateway speaks, newest first, and how a handshake picks one.

*Legacy* revisions open with `initialize`; *modern* ones state their version in every request and never
negotiate. Knows no features: what a revision changes is decided where it matters.
"""

from __future__ import annotations

from typing import Final

from sekisho.errors import RemoteProtocolError

__all__ = ["BATCHES", "LEGACY", "MODERN", "SUPPORTED", "VersionUnsupported", "negotiate"]

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
BATCHES: Final = "2025-03-26"  # the one revision in which several messages may come as one array
MODERN: Final = ("2026-07-28",)
SUPPORTED: Final = MODERN + LEGACY


def negotiate(requested: str) -> str:
    """The revision that answers `initialize`: the requested one if it is legacy, else our newest legacy."""
    return requested if requested in LEGACY else LEGACY[0]


class VersionUnsupported(RemoteProtocolError):
    """A request states a revision we do not speak; the client reads `requested` back and tries another."""

    def __init__(self, requested: str) -> None:
        self.requested = requested[:64]  # it is the client's text and goes back to it
        super().__init__(
            "version_unsupported",
            "this protocol version is not supported",
            facts={"supported": SUPPORTED, "requested": self.requested},
        )

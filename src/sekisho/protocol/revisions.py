"""The revisions of MCP that this gateway speaks, newest first, and how a handshake picks one.

*Legacy* revisions open with `initialize`; *modern* ones state their version in every request and never negotiate.
Knows no features: what a revision changes is decided where it matters.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LEGACY", "MODERN", "SUPPORTED", "negotiate"]

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN: Final = ("2026-07-28",)
SUPPORTED: Final = MODERN + LEGACY


def negotiate(requested: str) -> str:
    """The revision with which `initialize` is answered: the requested one if it is legacy, else our newest legacy."""
    return requested if requested in LEGACY else LEGACY[0]

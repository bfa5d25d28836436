"""What a plugin says before the answer of a call, as values; `remarks` judges it."""

from __future__ import annotations

import msgspec

__all__ = ["Progress", "Question"]


class Question(msgspec.Struct, frozen=True, gc=False):
    """What a plugin asks of a client in the midst of a call; `params` are of our own emission."""

    ask: str
    kind: str
    method: str
    params: bytes


class Progress(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The params of a progress notification without its token (MCP 2025-11-25, basic/utilities/progress)."""

    progress: int | float
    total: int | float | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET

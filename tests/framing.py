"""A call that differs from another one."""

from __future__ import annotations

from sekisho.wire import CallFrame

__all__ = ["another"]


def another(
    frame: CallFrame,
    *,
    tool: str | None = None,
    arguments: bytes | None = None,
    digest: str | None = None,
    timeout_s: float | None = None,
    wants_progress: bool = False,
) -> CallFrame:
    """The same call but for what is given; a call itself cannot be changed."""
    return CallFrame(
        frame.tool if tool is None else tool,
        frame.arguments if arguments is None else arguments,
        frame.digest if digest is None else digest,
        frame.timeout_s if timeout_s is None else timeout_s,
        wants_progress=wants_progress or frame.wants_progress,
        context=frame.context,
    )

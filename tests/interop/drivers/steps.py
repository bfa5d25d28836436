"""What every driver does, in any client: list the tools, call one, hear progress, be asked; and the report of it.

A driver is a process of its own, in the environment of its client. It prints one JSON line: for each step its outcome,
or under `errors` why there is none. It judges nothing; standard library only, so that it runs beside any client.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

__all__ = [
    "ANSWER", "ASK", "ECHO", "ECHO_ARGUMENTS", "SLOW", "SLOW_ARGUMENTS", "headers", "report", "url", "words"
]  # fmt: skip

STEP_S: Final = 20
ECHO: Final = "echo"
ECHO_ARGUMENTS: Final = {"message": "through the gate"}
SLOW: Final = "trigger-long-running-operation"
SLOW_ARGUMENTS: Final = {"duration": 0.4, "steps": 4}
ASK: Final = "trigger-elicitation-request"
ANSWER: Final[dict[str, str | int | float | list[str] | None]] = {"name": "Barrier Keeper", "check": True}

Step = Callable[[], Awaitable[Any]]


def url() -> str:
    """The endpoint."""
    return sys.argv[1]


def words() -> list[str]:
    """What else the row of this client says."""
    return sys.argv[2:]


def headers() -> dict[str, str]:
    """The only thing a client needs to be let in."""
    return {"Authorization": f"Bearer {os.environ['SEKISHO_TOKEN']}"}


async def report(steps: Mapping[str, Step]) -> None:
    """Take the steps in order, a failed one included, and print what came of each."""
    outcome: dict[str, Any] = {"errors": {}}
    for name, step in steps.items():
        outcomes = await asyncio.gather(asyncio.wait_for(step(), STEP_S), return_exceptions=True)
        result = outcomes[0]
        if isinstance(result, BaseException):
            outcome["errors"][name] = _reason(result)
        else:
            outcome[name] = result
    sys.stdout.write(json.dumps(outcome) + "\n")


def _reason(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"

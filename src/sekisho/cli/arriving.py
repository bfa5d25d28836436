"""Shows how plugins come up: a line for each on a terminal, lines of JSON when asked for, nothing into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sekisho.cli.saying import as_text, say_json

if TYPE_CHECKING:
    from sekisho.assembly.arrivals import Arrival

__all__ = ["shown"]

_STYLES: Final = {"ready": "green", "not running": "red", "refused": "red", "starting": "dim"}


def shown(*, json: bool) -> Callable[[Arrival], None]:
    """Who is told of each arrival."""
    if json:
        return _as_json
    return _as_line if sys.stderr.isatty() else lambda _arrival: None


def _as_json(arrival: Arrival) -> None:
    say_json(
        {
            "event": "plugin",
            "plugin": arrival.plugin,
            "state": arrival.stage,
            "seconds": arrival.seconds,
            "detail": arrival.detail,
            "remedy": arrival.remedy,
        }
    )
    sys.stdout.flush()


def _as_line(arrival: Arrival) -> None:
    # A whole line each time: every process of the house writes its log to the same terminal, and would tear a
    # display that moves.
    from rich.console import Console  # noqa: PLC0415 - drawing is for terminals
    from rich.text import Text  # noqa: PLC0415

    line = Text.assemble(
        (f"{arrival.plugin}: ", "bold"), (arrival.stage, _STYLES.get(arrival.stage, "yellow"))
    )
    if arrival.stage != "starting":
        line.append(f", {arrival.seconds:.1f} s", "dim")
    if arrival.detail:
        line.append(f" ({as_text(arrival.detail)})")
    if arrival.remedy:
        line.append(f" → {as_text(arrival.remedy)}")
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)

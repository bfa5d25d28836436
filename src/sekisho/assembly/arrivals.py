"""How each plugin comes up, in words for a person who waits in front of `sekisho up`.

Guarantees one word for each plugin at any moment, said when it becomes another and not again: starting, waiting for
approval, changed since it was approved, ready, not running, or refused. Judgement: what the core reported comes in, what
there is to say goes out; prints nothing and reads no clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["Arrival", "Arrivals"]

Stage = Literal[
    "starting", "waiting for approval", "changed since it was approved", "ready", "not running", "refused"
]
MAX_DETAIL_CHARS: Final = 200
_REVIEW: Final = "sekisho review {0}, then sekisho approve {0}"
_RUNS: Final = frozenset({"ready", "idle"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What there is to say of one plugin, and what to type where a person has to act."""

    plugin: str
    stage: Stage
    seconds: float
    detail: str = ""
    remedy: str = ""


@dataclass(slots=True)
class _Known:
    standing: str = "plugin_unavailable"
    state: str = "starting"
    detail: str = ""
    remedy: str = ""
    said: tuple[str, str] = ("", "")


class Arrivals:
    """All plugins of this machine, from `began_at` on."""

    def __init__(self, plugins: Iterable[str], began_at: float) -> None:
        self._began_at = began_at
        self._known = {name: _Known() for name in plugins}

    def begin(self) -> list[Arrival]:
        """Every plugin, as it is before anything was heard."""
        return [one for name in self._known if (one := self._news(name, self._began_at)) is not None]

    def standing(self, plugin: str, standing: str, now: float) -> Arrival | None:
        """The gate's judgement changed: `approved`, or the code of what it refuses."""
        self._known.setdefault(plugin, _Known()).standing = standing
        return self._news(plugin, now)

    def state(self, plugin: str, state: str, detail: str, now: float) -> Arrival | None:
        """A plugin server said how its plugin is."""
        known = self._known.setdefault(plugin, _Known())
        if state in _RUNS or detail:  # between two tries nothing is new
            known.state, known.detail, known.remedy = state, detail[:MAX_DETAIL_CHARS], ""
        return self._news(plugin, now)

    def held(self, plugin: str, detail: str, remedy: str, now: float) -> Arrival | None:
        """A plugin server has not started its plugin, and waits until a person has done something."""
        known = self._known.setdefault(plugin, _Known())
        known.state, known.detail, known.remedy = "held", detail[:MAX_DETAIL_CHARS], remedy[:MAX_DETAIL_CHARS]
        return self._news(plugin, now)

    def _news(self, plugin: str, now: float) -> Arrival | None:
        known = self._known[plugin]
        stage, detail = _stage(known)
        if known.said == (stage, detail):
            return None
        known.said = (stage, detail)
        needs_person = stage in ("waiting for approval", "changed since it was approved")
        return Arrival(
            plugin=plugin,
            stage=stage,
            seconds=round(now - self._began_at, 2),
            detail=detail,
            remedy=_REVIEW.format(plugin) if needs_person else known.remedy if detail else "",
        )


def _stage(known: _Known) -> tuple[Stage, str]:
    if known.state not in _RUNS and known.detail:
        return "not running", known.detail
    match known.standing:
        case "approved" if known.state in _RUNS:
            return "ready", ""
        case "approved" | "plugin_unavailable":
            return "starting", ""
        case "plugin_quarantined":
            return "waiting for approval", ""
        case "definition_changed":
            return "changed since it was approved", ""
        case code:
            return "refused", code

"""Which walls a plugin gets: the face every driver has, and the choice among what this host offers.

Guarantees
- the strongest that was asked for is given, or the start is refused: nothing is degraded in silence;
- a refusal names, for each driver that was considered, what is missing here and how to get it;
- `unsafe-none` is chosen by nobody but the operator, who wrote it.

Judgement only: what a host offers is tried by `probe`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, Self

from sekisho.sandbox.plans.plan import Plan
from sekisho.sandbox.plans.spec import LEVELS, Capabilities, DriverName, Level, SandboxSpec, unavailable
from sekisho.sandbox.running.sandbox import Sandbox

__all__ = ["AUTO_ORDER", "Driver", "Offer", "choose"]

AUTO_ORDER: Final[tuple[DriverName, ...]] = ("bubblewrap", "native", "oci", "landlock")


class Driver(Protocol):
    """What a plugin server needs of any kind of wall. A context: leaving it kills every sandbox it made."""

    @property
    def name(self) -> DriverName:
        """Which kind."""

    async def __aenter__(self) -> Self:
        """Make ready."""

    async def __aexit__(self, *_exc: object) -> None:
        """Kill what runs."""

    async def probe(self) -> Capabilities:
        """What this host can enforce with it."""

    async def plan(self, spec: SandboxSpec) -> Plan:
        """The walls for one spec."""

    async def launch(self, plan: Plan, channel: int | None = None) -> Sandbox:
        """Raise them and start the plugin; `channel` is a descriptor that a warm plan's program inherits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one driver can give on this host: the strongest level, or what is missing for any."""

    driver: DriverName
    level: Level
    missing: tuple[str, ...] = ()
    has_gate: bool = True

    def lacks(self, spec: SandboxSpec) -> str:
        """Why it will not do for this plugin; nothing when it will."""
        if self.missing:
            return "; ".join(self.missing)
        if LEVELS.index(self.level) > LEVELS.index(_level(spec)):
            return f"gives {self.level} at most"
        if spec.wants_network and not self.has_gate:
            return "has no way out for a plugin that wants the network"
        return ""


def choose(spec: SandboxSpec, offers: Iterable[Offer]) -> DriverName:
    """The first offer that will do, in the order in which they come.

    Raises:
        Misconfigured: none will; says why of each.
    """
    if spec.isolation == "unsafe-none":
        return "unsafe-none"
    reasons = []
    for offer in offers:
        lack = offer.lacks(spec)
        if not lack:
            return offer.driver
        reasons.append(f"{offer.driver}: {lack}")
    raise unavailable(
        f"plugin {spec.name!r} wants isolation = {spec.isolation!r}, which this host cannot give - "
        + " - ".join(reasons),
        _remedy(spec),
    )


def _level(spec: SandboxSpec) -> Level:
    return next(level for level in LEVELS if level == spec.isolation)


def _remedy(spec: SandboxSpec) -> str:
    weaker = LEVELS[LEVELS.index(_level(spec)) + 1 : -1]
    also = (
        "" if spec.wants_network or not weaker else f', or accept isolation = "{weaker[0]}" for this plugin'
    )
    return f"run sekisho doctor, which tries each of them and prints what to do{also}"

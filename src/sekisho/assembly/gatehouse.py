"""Makes the gate of one core process: the road of calls, the door before it, and the front where clients connect.

Everything that several workers count together is handed in here, where there are several; with one, each part counts for
itself. Makes the parts and connects them, once; judges nothing and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sekisho.assembly.clock import LoopClock
from sekisho.assembly.duties import Duties
from sekisho.assembly.household import Household, berth_limits, freight_limits, front_limits
from sekisho.audit import records
from sekisho.config import CoreConfig
from sekisho.gateway import (
    GATE,
    CallIds,
    Door,
    DoorRules,
    Freight,
    Front,
    Gate,
    LocalBerths,
    LocalEndings,
    Road,
    RoadJournal,
    Sessions,
    SharedBerths,
    SharedBudget,
    SharedEndings,
    SharedMemory,
    SharedRequestIds,
    SharedSeats,
)
from sekisho.keys import KeyFolder
from sekisho.protocol import PluginName
from sekisho.telemetry import Metrics
from sekisho.wire import PlugLine

__all__ = ["Gatehouse"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatehouse:
    """What a gate is made of."""

    config: Callable[[], CoreConfig]
    rules: Callable[[], DoorRules]
    keys: KeyFolder
    household: Household
    lines: Mapping[PluginName, PlugLine]
    memory: SharedMemory | None
    """What several workers share; None with one."""
    duties: Duties
    metrics: Metrics

    def open(self, journal: RoadJournal, gate: Gate = GATE) -> tuple[Door, Front]:
        """Make all of it."""
        config, clock = self.config(), LoopClock()
        door = self._door(config, self._road(config, journal, gate, clock), clock)
        return door, self._front(config, door)

    def _road(self, config: CoreConfig, journal: RoadJournal, gate: Gate, clock: LoopClock) -> Road:
        memory, berths = self.memory, berth_limits(config)
        return Road(
            house=self.household.house,
            lines=self.lines,
            journal=journal,
            metrics=self.metrics,
            clock=clock,
            berths=LocalBerths(berths) if memory is None else SharedBerths(memory, berths),
            freight=Freight(freight_limits(config), None if memory is None else SharedSeats(memory, "bytes")),
            # Who only has the log cannot test guesses about what was asked or answered.
            salt_of=records.salter(self.keys.ensure_secret("audit-salt")),
            gate=gate,
        )

    def _door(self, config: CoreConfig, road: Road, clock: LoopClock) -> Door:
        memory, most = self.memory, config.limits.max_ended_sessions
        endings = LocalEndings(most) if memory is None else SharedEndings(memory)
        return Door(
            rules=self.rules,
            house=self.household.house,
            road=road,
            sessions=Sessions(self.keys.ensure_secret("sessions"), endings),
            clock=clock,
            new_id=CallIds(),
            round_key=self.keys.ensure_secret("rounds"),
            elsewhere=self.duties,
            streams=None if memory is None else SharedSeats(memory, "stream"),
            request_ids=None if memory is None else SharedRequestIds(memory),
        )

    def _front(self, config: CoreConfig, door: Door) -> Front:
        memory, limits = self.memory, front_limits(config)
        if memory is None:
            return Front(door, limits)
        return Front(
            door,
            limits,
            seats=SharedSeats(memory, "connection"),
            budget=SharedBudget(memory, limits.max_held_bytes),
            ask_for_room=self.duties.ask_for_room,
        )

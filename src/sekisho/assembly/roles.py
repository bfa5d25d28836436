"""Which role a core process has: the only one, the leader, or a follower."""

from __future__ import annotations

from collections.abc import Callable

from sekisho.assembly.duties import Duties, SoleDuties
from sekisho.assembly.follower import LEADER, Follower
from sekisho.assembly.leader import Leader
from sekisho.assembly.places import Places
from sekisho.gateway import SharedMemory
from sekisho.telemetry import Logger

__all__ = ["role_of"]


def role_of(
    memory: SharedMemory | None,
    places: Places,
    workers: int,
    *,
    withdraw: Callable[[str, str, int | str], bool],
    hear_word: Callable[[str, str, bool], bool],
    make_room: Callable[[], None],
    read_approvals: Callable[[], None],
    port_without_leader: Callable[[], int | None],
    log: Logger,
) -> Duties:
    """The role of the worker that `memory` belongs to; who shares nothing is the only one."""
    if memory is None:
        return SoleDuties()
    if memory.worker == LEADER:
        return Leader(
            places, memory, workers, withdraw=withdraw, hear_word=hear_word, make_room=make_room, log=log
        )
    return Follower(
        places,
        memory,
        workers,
        withdraw=withdraw,
        hear_word=hear_word,
        make_room=make_room,
        read_approvals=read_approvals,
        port_without_leader=port_without_leader,
    )

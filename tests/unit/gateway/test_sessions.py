"""Sessions without memory: bound to client and endpoint, dated, and ended for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.errors import RemoteProtocolError, SekishoError
from sekisho.gateway import Sessions, sessions
from sekisho.gateway.sessions import MAX_SPENT_LIFE_S, Endings, LocalEndings, SharedEndings
from sekisho.gateway.shared_memory import SharedMemory
from sekisho.protocol import PluginName

NOW = 1_800_000_000.0
CALC = PluginName("calc")


def refusal(
    held: Sessions,
    ident: str | None,
    client: str = "aya",
    endpoint: PluginName | None = CALC,
    now: float = NOW,
) -> str:
    with pytest.raises(SekishoError) as caught:
        held.find(ident, client, endpoint, now)
    return caught.value.code


def test_a_session_is_found_by_whoever_opened_it_even_after_a_restart() -> None:
    ident = Sessions(bytes(32)).open("aya", CALC, "2025-06-18", NOW)
    found = Sessions(bytes(32)).find(ident, "aya", CALC, NOW + 60)
    assert (found.ident, found.version) == (ident, "2025-06-18")


@pytest.mark.threat("T-NOTOKEN")
def test_a_session_is_of_no_use_to_another_client_or_at_another_endpoint() -> None:
    held = Sessions(bytes(32))
    ident = held.open("aya", CALC, "2025-06-18", NOW)
    assert refusal(held, ident, client="ben") == "session_unknown"
    assert refusal(held, ident, endpoint=None) == "session_unknown"
    assert refusal(held, ident, endpoint=PluginName("other")) == "session_unknown"
    assert held.find(ident, "aya", CALC, NOW).ident == ident


def test_no_session_an_invented_one_and_an_old_one_are_refused() -> None:
    held = Sessions(bytes(32))
    ident = held.open("aya", CALC, "2025-06-18", NOW)
    assert refusal(held, None) == "session_required"
    assert refusal(held, "x" * 40) == "session_unknown"
    assert refusal(held, ident, now=NOW + sessions.MAX_AGE_S + 1) == "session_unknown"
    assert refusal(Sessions(bytes([1]) * 32), ident) == "session_unknown"


def test_an_ended_session_stays_ended() -> None:
    held = Sessions(bytes(32))
    ident, other = (held.open("aya", CALC, "2025-06-18", NOW) for _ in range(2))
    held.close(ident, "aya", CALC, NOW)
    assert refusal(held, ident) == "session_unknown"
    with pytest.raises(SekishoError):
        held.close(ident, "aya", CALC, NOW)
    assert held.find(other, "aya", CALC, NOW).ident == other


def test_nobody_ends_the_session_of_another() -> None:
    held = Sessions(bytes(32))
    ident = held.open("aya", CALC, "2025-06-18", NOW)
    with pytest.raises(SekishoError):
        held.close(ident, "ben", CALC, NOW)
    with pytest.raises(RemoteProtocolError):
        held.close(None, "aya", CALC, NOW)
    assert held.find(ident, "aya", CALC, NOW).ident == ident


@pytest.mark.threat("T-FLOOD")
def test_the_memory_of_ended_sessions_is_bounded() -> None:
    held = Sessions(bytes(32), LocalEndings(2))
    opened = [held.open("aya", CALC, "2025-06-18", NOW) for _ in range(3)]
    for ident in opened:
        held.close(ident, "aya", CALC, NOW)
    assert refusal(held, opened[1]) == refusal(held, opened[2]) == "session_unknown"


@pytest.mark.threat("T-NOTOKEN")
def test_a_session_that_one_worker_ended_is_ended_at_all_of_them(tmp_path: Path) -> None:
    memories = [SharedMemory(tmp_path, worker) for worker in range(2)]
    one, two = (Sessions(bytes(32), SharedEndings(memory)) for memory in memories)
    ident, other = (one.open("aya", CALC, "2025-06-18", NOW) for _ in range(2))
    assert two.find(ident, "aya", CALC, NOW).ident == ident
    one.close(ident, "aya", CALC, NOW)
    assert refusal(two, ident) == refusal(one, ident) == "session_unknown"
    assert two.find(other, "aya", CALC, NOW).ident == other
    for memory in memories:
        memory.close()
    reborn = SharedMemory(tmp_path, 0)  # nor does a restart give it back its life
    assert refusal(Sessions(bytes(32), SharedEndings(reborn)), ident) == "session_unknown"
    reborn.close()


@pytest.mark.threat("T-FLOOD")
def test_the_shared_memory_of_ended_sessions_is_bounded(tmp_path: Path) -> None:
    memory = SharedMemory(tmp_path, 0)
    held = Sessions(bytes(32), SharedEndings(memory))
    ident = held.open("aya", CALC, "2025-06-18", NOW)
    bucket = memory.digest(ident.encode())[:4]
    filler = 0
    first = NOW + MAX_SPENT_LIFE_S + 11
    while memory.endings.place(bucket + filler.to_bytes(12, "big"), int((first + filler) * 1e9), 0) >= 0:
        filler += 1
    held.close(ident, "aya", CALC, NOW)
    assert refusal(held, ident) == "session_unknown"
    assert memory.endings.find(bucket + bytes(12)) == -1  # what would have lapsed first gave way
    memory.close()


@pytest.mark.threat("T-REPLAY")
def test_no_flood_of_endings_makes_what_was_spent_good_again(tmp_path: Path) -> None:
    memory = SharedMemory(tmp_path, 0)
    held = Sessions(bytes(32), SharedEndings(memory))
    ident = held.open("aya", CALC, "2025-06-18", NOW)
    bucket = memory.digest(ident.encode())[:4]
    spent = [bucket + number.to_bytes(12, "big") for number in range(33)]
    # a bucket full of what was spent, as its time is written
    assert [memory.endings.place(one, int((NOW + 610) * 1e9), 0) >= 0 for one in spent] == [
        *[True] * 32,
        False,
    ]
    held.close(ident, "aya", CALC, NOW)
    assert all(memory.endings.find(one) >= 0 for one in spent[:32])
    memory.close()


@pytest.mark.threat("T-REPLAY")
def test_what_could_not_be_remembered_is_not_good_at_all(tmp_path: Path) -> None:
    memory = SharedMemory(tmp_path, 0)
    shared, local = SharedEndings(memory), LocalEndings(most_spent=2)
    bucket = memory.digest(b"spent c")[:4]
    for number in range(32):
        memory.endings.place(bucket + number.to_bytes(12, "big"), int((NOW + 60) * 1e9), 0)
    assert [local.spend(one, NOW, 60) for one in "aba"] == [True, True, False]
    for kept in (shared, local):
        assert not kept.spend("c", NOW, 60)
        assert kept.spend("c", NOW + 100, 60)  # there is room again
        assert not kept.spend("c", NOW + 100, 60)
    memory.close()


@pytest.mark.threat("T-REPLAY")
def test_a_run_has_one_name_for_all_its_workers_and_no_other_run_has_it(tmp_path: Path) -> None:
    seen = {LocalEndings().run, LocalEndings().run}
    for _ in range(2):
        memories = [SharedMemory(tmp_path, worker, 2) for worker in range(2)]
        runs = {Sessions(bytes(32), SharedEndings(memory)).run for memory in memories}
        memories[0].close()
        memories[0] = SharedMemory(tmp_path, 0, 2)  # one worker of several is started again
        runs.add(SharedEndings(memories[0]).run)
        assert len(runs) == 1
        seen |= runs
        for memory in memories:
            memory.close()
    assert len(seen) == 4


@pytest.mark.threat("T-REPLAY")
def test_what_is_good_for_one_time_is_spent_once_until_it_has_lapsed(tmp_path: Path) -> None:
    memories = [SharedMemory(tmp_path, worker, 2) for worker in range(2)]
    local = LocalEndings(2)
    kinds: list[list[Endings]] = [[local, local], [SharedEndings(memory) for memory in memories]]
    for one, other in kinds:
        assert one.spend("a", NOW, 60)
        assert not other.spend("a", NOW, 60)
        assert other.spend("b", NOW, 60)
        assert "a" not in one  # no session was ended
        assert not one.spend("b", NOW + 59, 60)
        assert other.spend("a", NOW + 3600, 60)
        assert not one.spend("a", NOW + 3600, 60)
    for memory in memories:
        memory.close()

"""Leader and follower together: who is let in when, and when a plugin server may be replaced."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sekisho.assembly import follower, leader
from sekisho.assembly.follower import Follower
from sekisho.assembly.leader import Leader
from sekisho.assembly.places import Places
from sekisho.gateway import SharedMemory
from sekisho.protocol import PluginName
from sekisho.telemetry import Logger

PORT = 8443
CALC = PluginName("calc")
WAIT_S = 10.0


class Crew:
    """A leader and one follower, each with its own mapping, in one process."""

    def __init__(self, places: Places, *, known_port: int | None = None) -> None:
        self.memories = [SharedMemory(places.run, worker) for worker in range(2)]
        self.withdrawn: list[tuple[int, str, str, int | str]] = []
        self.heard: list[tuple[int, str, str, bool]] = []
        self.opened: list[tuple[int, int | None]] = []
        self.asked: list[int] = []
        self.looks = 0
        self.log = io.StringIO()
        self.leader = Leader(
            places,
            self.memories[0],
            2,
            withdraw=lambda *what: self._withdraw(0, *what),
            hear_word=lambda *what: self._hear(0, *what),
            make_room=lambda: self.asked.append(0),
            log=Logger("core", stream=self.log),
        )
        self.follower = Follower(
            places,
            self.memories[1],
            2,
            withdraw=lambda *what: self._withdraw(1, *what),
            hear_word=lambda *what: self._hear(1, *what),
            make_room=lambda: self.asked.append(1),
            read_approvals=self._look,
            port_without_leader=lambda: known_port,
        )

    def _withdraw(self, worker: int, client: str, session: str, request: int | str) -> bool:
        self.withdrawn.append((worker, client, session, request))
        return True

    def _hear(self, worker: int, ask: str, scope: str, said_yes: bool) -> bool:
        self.heard.append((worker, ask, scope, said_yes))
        return True

    def _look(self) -> None:
        self.looks += 1

    async def open_leader(self, port: int | None) -> int:
        self.opened.append((0, port))
        return PORT

    async def open_follower(self, port: int | None) -> int:
        self.opened.append((1, port))
        assert port is not None
        return port


@pytest.fixture
def places(tmp_path: Path) -> Places:
    made = Places(home=tmp_path, config=tmp_path / "sekisho.toml")
    made.make_folders()
    return made


@pytest.fixture
async def crew(places: Places) -> AsyncIterator[Crew]:
    made = Crew(places)
    made.leader.start()
    made.follower.start()
    yield made
    made.leader.close()
    made.follower.close()
    for memory in made.memories:
        memory.close()


async def both(crew: Crew) -> None:
    """Let the house become ready."""
    async with asyncio.timeout(WAIT_S):
        await crew.leader.listen_before(crew.open_leader)
        await crew.follower.listen_before(crew.open_follower)
        await asyncio.gather(
            crew.leader.listen_after(crew.open_leader), crew.follower.listen_after(crew.open_follower)
        )


async def until(condition: Callable[[], bool]) -> None:
    """Let messages pass until it is so."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110  # nothing to wait on: what passes is datagrams
            await asyncio.sleep(0)


async def test_a_follower_serves_after_the_leader_chose_the_port_and_told_what_is_approved(
    crew: Crew,
) -> None:
    await both(crew)
    assert crew.opened == [(0, None), (1, PORT)]
    assert crew.looks == 1
    assert crew.leader.problems() == {}


async def test_the_house_is_ready_without_a_worker_that_does_not_come(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader, "SERVING_S", 0.05)
    await crew.leader.listen_before(crew.open_leader)
    assert await crew.leader.listen_after(crew.open_leader) == PORT
    assert "workers_late" in crew.log.getvalue()
    assert crew.leader.problems() == {"worker 1": "it does not serve"}
    waiting = asyncio.ensure_future(crew.follower.listen_after(crew.open_follower))
    crew.leader.look()  # a second later
    assert await asyncio.wait_for(waiting, WAIT_S) == PORT
    await until(lambda: not crew.leader.problems())


async def test_a_follower_without_leader_takes_the_port_it_knows(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LEADERLESS_S", 0.02)
    crew = Crew(places, known_port=9000)
    crew.follower.start()
    async with asyncio.timeout(WAIT_S):
        assert await crew.follower.listen_after(crew.open_follower) == 9000
    crew.follower.close()
    for memory in crew.memories:
        memory.close()


async def test_a_dead_worker_is_reported_and_not_waited_for(
    crew: Crew, capsys: pytest.CaptureFixture[str]
) -> None:
    await both(crew)
    crew.follower.close()
    crew.memories.pop().close()
    crew.leader.look()
    assert crew.leader.problems() == {"worker 1": "it does not serve"}
    async with asyncio.timeout(WAIT_S):
        await crew.leader.agree_on_replacement(CALC)
    assert json.loads(capsys.readouterr().out) == {"event": "drained", "plugin": "calc"}


@pytest.mark.requirement("A5.3")
@pytest.mark.parametrize("first", ["leader", "follower"])
async def test_a_plugin_is_replaced_when_no_worker_has_a_call_there(
    crew: Crew, capsys: pytest.CaptureFixture[str], first: str
) -> None:
    await both(crew)
    for _ in range(2):  # what was said for one reload does not count for the next
        roles = {"leader": crew.leader.agree_on_replacement, "follower": crew.follower.agree_on_replacement}
        early = asyncio.ensure_future(roles.pop(first)(CALC))
        done, _ = await asyncio.wait({early}, timeout=0.2)
        assert not done
        assert capsys.readouterr().out == ""
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(early, *(role(CALC) for role in roles.values()))
        assert json.loads(capsys.readouterr().out)["event"] == "drained"


async def test_a_word_about_an_earlier_reload_lapses(
    crew: Crew, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leader, "DRAINED_FRESH_S", 0.0)
    await both(crew)
    late = asyncio.ensure_future(crew.follower.agree_on_replacement(CALC))
    agreed = asyncio.ensure_future(crew.leader.agree_on_replacement(CALC))
    done, _ = await asyncio.wait({agreed}, timeout=0.3)
    assert not done
    for task in (late, agreed):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert capsys.readouterr().out == ""


async def test_a_withdrawal_reaches_every_other_worker_and_nobody_twice(crew: Crew) -> None:
    await both(crew)
    crew.leader.withdraw_elsewhere("aya", "s", 1)
    crew.follower.withdraw_elsewhere("aya", "s", "2")
    await until(lambda: len(crew.withdrawn) == 2)
    assert sorted(crew.withdrawn) == [(0, "aya", "s", "2"), (1, "aya", "s", 1)]


async def test_what_a_person_said_reaches_every_other_worker(crew: Crew) -> None:
    await both(crew)
    crew.leader.hear_elsewhere("q1", "scope", True)
    crew.follower.hear_elsewhere("q2", "scope", False)
    await until(lambda: len(crew.heard) == 2)
    assert sorted(crew.heard) == [(0, "q2", "scope", False), (1, "q1", "scope", True)]


async def test_whoever_has_no_room_asks_every_other_worker_for_some(crew: Crew) -> None:
    await both(crew)
    crew.leader.ask_for_room()
    await until(lambda: crew.asked == [1])
    crew.follower.ask_for_room()
    await until(lambda: crew.asked == [1, 0])


async def test_a_new_approval_is_read_at_once(crew: Crew) -> None:
    await both(crew)
    crew.leader.noticed_approval()
    await until(lambda: crew.looks == 2)

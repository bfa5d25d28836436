"""The journal: acknowledged means written, refused means absent, and nothing is forgotten."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import Journal, read_checkpoint, tail, verify
from sekisho.audit import journal as module
from sekisho.audit.ledger import Ledger
from sekisho.audit.logfile import LogFile
from sekisho.audit.notary import Notary
from sekisho.audit.opening import Opened, follow
from sekisho.audit.pen import SolePen
from sekisho.audit.publisher import Publisher
from sekisho.audit.redo_file import FILE_BLOCKS, reach
from sekisho.audit.shared_pen import SharedPen
from sekisho.errors import LocalProtocolError, Misconfigured, SekishoError, Tampered, Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


def entry(fields: dict[str, object]) -> bytes:
    return msgspec.json.encode(fields)


class Answers:
    """Collects what `done` heard, and can be waited for."""

    def __init__(self) -> None:
        self.heard: list[SekishoError | None] = []
        self._changed = asyncio.Event()

    def done(self, problem: SekishoError | None) -> None:
        self.heard.append(problem)
        self._changed.set()

    async def wait(self, count: int) -> None:
        async with asyncio.timeout(20):
            while len(self.heard) < count:
                self._changed.clear()
                await self._changed.wait()


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def until(condition: Callable[[], bool]) -> None:
    """Look every few milliseconds, for a bounded time."""
    loop = asyncio.get_running_loop()
    met = loop.create_future()

    def look() -> None:
        if met.done():
            return
        if condition():
            met.set_result(None)
        else:
            loop.call_later(0.005, look)

    look()
    async with asyncio.timeout(20):
        await met


def needs_direct_writes(folder: Path) -> None:
    try:
        os.close(os.open(folder / "probe", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600))
    except OSError:
        pytest.skip("the file system of the temporary folder cannot be written directly (O_DIRECT)")


class SickDisk(LogFile):
    """A disk whose fdatasync fails once, and then lies as the kernel does: the next one succeeds."""

    failures = 1

    def sync(self) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EIO, "Input/output error")
        super().sync()


async def write(path: Path, count: int, **options: object) -> None:
    journal = Journal.open(path, KEY, ORIGIN, **options)  # type: ignore[arg-type]  # options are spelled in the tests
    answers = Answers()
    for i in range(count):
        journal.append(entry({"call": f"c{i}"}), effect=bool(i % 2), done=answers.done)
    await answers.wait(count)
    assert answers.heard == [None] * count
    await journal.close()


@pytest.mark.requirement("A2.3")
@pytest.mark.parametrize("durability", ["effects", "every", "written"])
async def test_every_record_is_numbered_written_and_signed(tmp_path: Path, durability: str) -> None:
    path = tmp_path / "audit.log"
    await write(path, 600, durability=durability)
    assert [record["n"] for record in tail(path, 1000)] == list(range(600))
    report = verify(path, KEY.public_key(), origin=ORIGIN)
    assert report.ok
    assert (report.records, report.size, report.unsigned) == (600, 600, 0)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_works_on_asyncio_and_on_uvloop(
    tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(write(tmp_path / "log", 300))
    assert verify(tmp_path / "log", KEY.public_key()).ok


async def test_done_is_heard_after_append_has_returned(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", KEY, ORIGIN)
    answers = Answers()
    journal.append(entry({"a": 1}), effect=False, done=answers.done)
    journal.append(entry({"a": 2}), effect=False, done=answers.done)
    assert answers.heard == []
    await answers.wait(2)
    assert journal.size == 2
    await journal.close()


async def test_records_of_one_loop_turn_share_one_sync(tmp_path: Path) -> None:
    commits: list[int] = []
    journal = Journal.open(tmp_path / "log", KEY, ORIGIN, on_commit=lambda count, _s: commits.append(count))
    answers = Answers()
    for _ in range(50):
        journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(50)
    await journal.close()
    assert commits[0] == 50


async def test_a_record_appended_from_done_is_written_too(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", KEY, ORIGIN)
    answers = Answers()

    def then(problem: SekishoError | None) -> None:
        answers.done(problem)
        journal.append(entry({"kind": "outcome"}), effect=True, done=answers.done)

    journal.append(entry({"kind": "intent"}), effect=True, done=then)
    await answers.wait(2)
    await journal.close()
    assert [r["kind"] for r in tail(tmp_path / "log", 5)] == ["intent", "outcome"]


async def test_a_checkpoint_follows_without_another_record(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN, durability="written")
    answers = Answers()
    journal.append(entry({"a": 1}), effect=False, done=answers.done)
    await answers.wait(1)
    await until(lambda: read_checkpoint(path, KEY.public_key()).size > 0)
    assert read_checkpoint(path, KEY.public_key()).size == 1
    await journal.close()


async def test_a_log_is_continued_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for expected in (300, 600, 900):
        await write(path, 300)
        report = verify(path, KEY.public_key())
        assert report.ok
        assert report.size == expected


async def test_two_journals_cannot_write_the_same_log(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", KEY, ORIGIN)
    with pytest.raises(Misconfigured, match="another process"):
        Journal.open(tmp_path / "log", KEY, ORIGIN)
    await journal.close()


@pytest.mark.threat("T-FULLDISK")
async def test_a_refused_batch_leaves_nothing_and_the_next_is_tried(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    answers = Answers()
    journal.append(entry({"a": "first"}), effect=False, done=answers.done)
    await answers.wait(1)
    with file_size_limit(200):
        for _ in range(3):
            journal.append(entry({"a": "x" * 100}), effect=True, done=answers.done)
        await answers.wait(4)
        assert journal.problem is not None
    assert [problem.code for problem in answers.heard[1:] if problem] == ["log_unavailable"] * 3
    assert journal.size == 1
    journal.append(entry({"a": "second"}), effect=True, done=answers.done)
    await answers.wait(5)
    assert answers.heard[4] is None
    await until(lambda: journal.healthy)
    await journal.close()
    assert [r["a"] for r in tail(path, 5)] == ["first", "second"]
    assert verify(path, KEY.public_key()).ok


@pytest.mark.threat("T-LOG")
async def test_a_file_changed_while_in_use_stops_the_log_for_good(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    answers = Answers()
    journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    os.truncate(path, 0)
    for count in (2, 3):
        journal.append(entry({"a": count}), effect=True, done=answers.done)
        await answers.wait(count)
        assert isinstance(answers.heard[-1], Tampered)
    assert not journal.healthy
    with pytest.raises(Tampered):
        await journal.close()


@pytest.mark.threat("T-LOG")
async def test_a_log_moved_away_while_in_use_is_noticed_at_the_latest_on_close(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    answers = Answers()
    journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    path.rename(tmp_path / "moved")
    with pytest.raises(Tampered, match="replaced"):
        await journal.close()


@pytest.mark.parametrize(
    ("options", "has_one"),
    [
        ({}, True),
        ({"durability": "every"}, True),
        ({"durability": "written"}, False),
        ({"tamper_protection": False}, False),
        ({"shared": True}, False),
    ],
)
async def test_a_sole_writer_who_waits_has_a_redo_file_until_the_end(
    tmp_path: Path, options: dict[str, object], has_one: bool
) -> None:
    path, redo = tmp_path / "log", tmp_path / "log.tlog" / "redo"
    journal = Journal.open(path, KEY, ORIGIN, **options)  # type: ignore[arg-type]  # options are spelled above
    answers = Answers()
    journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    if has_one:
        needs_direct_writes(tmp_path)
    assert redo.exists() == has_one
    assert not has_one or reach(redo) == path.stat().st_size
    await journal.close()
    assert not redo.exists()


@pytest.mark.threat("T-LOG")
async def test_a_tampered_log_leaves_its_redo_file(tmp_path: Path) -> None:
    needs_direct_writes(tmp_path)
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    answers = Answers()
    journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    with path.open("ab") as stranger:
        stranger.write(b"forged\n")
    journal.append(entry({"a": 2}), effect=True, done=answers.done)
    await answers.wait(2)
    assert isinstance(answers.heard[-1], Tampered)
    with pytest.raises(Tampered):
        await journal.close()
    assert reach(tmp_path / "log.tlog" / "redo") == len(b'{"n":0,"a":1}\n')


async def test_many_records_go_round_in_the_redo_file(tmp_path: Path) -> None:
    """More than it has room for, with the log synced behind it, and everybody waits."""
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    answers = Answers()
    for number in range(3 * FILE_BLOCKS):
        journal.append(entry({"a": "x" * (number * 7919 % 9000)}), effect=True, done=answers.done)
        if number % 3:
            await answers.wait(number + 1)
    await answers.wait(3 * FILE_BLOCKS)
    assert answers.heard == [None] * 3 * FILE_BLOCKS
    await journal.close()
    report = verify(path, KEY.public_key(), origin=ORIGIN)
    assert (report.ok, report.size, report.unsigned) == (True, 3 * FILE_BLOCKS, 0)


@pytest.mark.threat("T-FULLDISK")
async def test_a_failed_sync_refuses_everything_from_then_on(tmp_path: Path) -> None:
    path = tmp_path / "log"
    publisher = Publisher(path, KEY, ORIGIN)
    publisher.prepare()
    notary = Notary(Ledger(ORIGIN), publisher)
    pen = SolePen(SickDisk.open_locked(path), 0)
    opened = Opened(pen=pen, signs=True, notary=notary)
    journal = Journal(opened, durability="effects", on_commit=None)
    answers = Answers()
    for count in (1, 2):
        journal.append(entry({"a": count}), effect=True, done=answers.done)
        await answers.wait(count)
        problem = answers.heard[-1]
        assert isinstance(problem, Unavailable)
        assert "synced" in problem.message
    with pytest.raises(Unavailable, match="synced"):
        await journal.close()


async def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", KEY, ORIGIN)
    await journal.close()
    answers = Answers()
    journal.append(entry({"a": 2}), effect=True, done=answers.done)
    await answers.wait(1)
    assert isinstance(answers.heard[0], Unavailable)


async def test_an_entry_that_is_our_bug_is_refused_and_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    good, bad = Answers(), Answers()
    journal.append(entry({"a": 1}), effect=False, done=good.done)
    for wrong in (b"", b"{}", b"[1]", b'{"a":1}\n{"n":1}', entry({"a": "x" * 65_520})):
        journal.append(wrong, effect=False, done=bad.done)
    journal.append(entry({"a": 2}), effect=False, done=good.done)
    await good.wait(2)
    await bad.wait(5)
    assert [type(problem) for problem in bad.heard] == [LocalProtocolError] * 5
    await journal.close()
    assert [(r["n"], r["a"]) for r in tail(path, 9)] == [(0, 1), (1, 2)]


async def test_one_caller_s_bug_does_not_silence_the_others(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    caught: list[object] = []
    loop.set_exception_handler(lambda _loop, context: caught.append(context["exception"]))

    def broken(_problem: SekishoError | None) -> None:
        raise ZeroDivisionError

    journal = Journal.open(tmp_path / "log", KEY, ORIGIN)
    answers = Answers()
    for effect in (False, True):
        journal.append(entry({"a": 1}), effect=effect, done=answers.done)
        journal.append(entry({"a": 2}), effect=effect, done=broken)
        journal.append(entry({"a": 3}), effect=effect, done=answers.done)
    await answers.wait(4)
    await journal.close()
    assert answers.heard == [None] * 4
    assert [type(problem) for problem in caught] == [ZeroDivisionError] * 2


async def test_close_writes_what_is_queued_and_may_be_repeated(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path / "log", KEY, ORIGIN)
    answers = Answers()
    journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await journal.close()
    await journal.close()
    assert answers.heard == [None]
    assert not journal.healthy
    assert verify(tmp_path / "log", KEY.public_key()).ok


async def test_without_tamper_protection_only_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "log"
    await write(path, 3, tamper_protection=False)
    await write(path, 3, tamper_protection=False)
    assert [record["n"] for record in tail(path, 9)] == list(range(6))
    assert not (tmp_path / "log.tlog").exists()


async def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be opened"):
        Journal.open(tmp_path, KEY, ORIGIN)
    with pytest.raises(Misconfigured, match="cannot name a log"):
        Journal.open(tmp_path / "log", KEY, "two words")


@pytest.mark.threat("T-FULLDISK")
async def test_a_checkpoint_that_cannot_be_written_is_reported_and_made_up_for(tmp_path: Path) -> None:
    path = tmp_path / "log"
    journal = Journal.open(path, KEY, ORIGIN)
    folder = tmp_path / "log.tlog"
    folder.rename(tmp_path / "away")
    answers = Answers()
    journal.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    await until(lambda: not journal.healthy)
    assert journal.problem is not None
    assert "checkpoint" in journal.problem.message
    (tmp_path / "away").rename(folder)
    await until(lambda: journal.healthy)
    assert read_checkpoint(path, KEY.public_key()).size == 1
    await journal.close()


async def test_several_writers_share_one_log_and_the_leader_signs_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    leader = Journal.open(path, KEY, ORIGIN, shared=True)
    mates = [Journal.join(path), Journal.join(path, durability="every")]
    answers = Answers()
    for i in range(300):
        for journal in (leader, *mates):
            journal.append(entry({"i": i}), effect=bool(i % 2), done=answers.done)
        await asyncio.sleep(0)
    await answers.wait(900)
    assert answers.heard == [None] * 900
    await until(lambda: read_checkpoint(path, KEY.public_key()).size == 900)
    for mate in mates:
        mate.append(entry({"i": "last"}), effect=False, done=answers.done)
    await asyncio.gather(leader.close(), *(mate.close() for mate in mates))
    report = verify(path, KEY.public_key(), origin=ORIGIN)
    assert report.ok
    assert (report.records, report.unsigned) == (902, 0), "the leader let the others end"
    await write(path, 3)


async def test_a_leader_does_not_wait_long_for_others_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEAVE_S", 0.05)
    leader = Journal.open(tmp_path / "log", KEY, ORIGIN, shared=True)
    mate = Journal.join(tmp_path / "log")
    await leader.close()
    answers = Answers()
    mate.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    assert answers.heard == [None]
    await mate.close()
    await write(tmp_path / "log", 1)
    assert verify(tmp_path / "log", KEY.public_key()).size == 2


@pytest.mark.threat("T-FULLDISK")
async def test_who_waits_too_long_for_the_turn_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    leader = Journal.open(tmp_path / "log", KEY, ORIGIN, shared=True)
    opened = follow(tmp_path / "log")
    mate = opened.pen
    assert isinstance(mate, SharedPen)
    mate.turn.take()
    answers = Answers()
    leader.append(entry({"a": 1}), effect=False, done=answers.done)
    await answers.wait(1)
    assert isinstance(answers.heard[0], Unavailable)
    assert leader.problem is answers.heard[0]
    mate.turn.give()
    leader.append(entry({"a": 2}), effect=False, done=answers.done)
    await answers.wait(2)
    assert answers.heard[1] is None
    assert leader.healthy
    mate.close()
    await leader.close()
    assert [record["a"] for record in tail(tmp_path / "log", 5)] == [2]


@pytest.mark.threat("T-LOG")
async def test_a_change_that_one_writer_noticed_stops_all(tmp_path: Path) -> None:
    path = tmp_path / "log"
    leader = Journal.open(path, KEY, ORIGIN, shared=True)
    mate = Journal.join(path)
    answers = Answers()
    mate.append(entry({"a": 1}), effect=True, done=answers.done)
    await answers.wait(1)
    os.truncate(path, 3)
    mate.append(entry({"a": 2}), effect=True, done=answers.done)
    await answers.wait(2)
    assert isinstance(answers.heard[1], Tampered)
    leader.append(entry({"a": 3}), effect=False, done=answers.done)
    await answers.wait(3)
    assert isinstance(answers.heard[2], SekishoError)
    for journal in (leader, mate):
        with pytest.raises(SekishoError):
            await journal.close()

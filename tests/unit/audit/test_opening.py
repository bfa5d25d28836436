"""How a log is opened: one writer, or one leader and those who join; never both, and nobody before the check."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit import verify
from sekisho.audit.opening import Opened, follow, lead, open_sole
from sekisho.audit.publisher import Publisher
from sekisho.audit.shared_pen import SharedPen
from sekisho.errors import Misconfigured, Tampered, Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "gateway.example/audit"


def leader(path: Path) -> Opened:
    return lead(path, Publisher(path, KEY, ORIGIN), ORIGIN)


def shared(opened: Opened) -> SharedPen:
    assert isinstance(opened.pen, SharedPen)
    return opened.pen


def sign(opened: Opened) -> None:
    assert opened.trail is not None
    assert opened.notary is not None
    assert opened.trail.aim()
    while opened.trail.follow():
        pass
    opened.trail.signed(opened.notary.finish())


def test_one_writer_excludes_leaders_and_followers(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    first.pen.close()
    sole = open_sole(path, Publisher(path, KEY, ORIGIN), ORIGIN)
    for second in (leader, follow):
        with pytest.raises(Misconfigured, match="another process writes"):
            second(path)
    sole.pen.close()


def test_a_leader_excludes_a_sole_writer_and_a_second_leader(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    with pytest.raises(Misconfigured, match="another process writes"):
        open_sole(path, Publisher(path, KEY, ORIGIN), ORIGIN)
    with pytest.raises(Misconfigured, match="leads"):
        leader(path)
    follow(path).pen.close()
    first.pen.close()
    open_sole(path, Publisher(path, KEY, ORIGIN), ORIGIN).pen.close()


def test_nobody_joins_a_log_without_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with pytest.raises(Unavailable, match="no leader"):
        follow(path)
    leader(path).pen.close()
    with pytest.raises(Unavailable, match="no process leads"):
        follow(path)


def test_nobody_joins_before_the_check(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    shared(first).counters.is_ready = False
    with pytest.raises(Unavailable, match="not checked"):
        follow(path)
    shared(first).counters.is_ready = True
    follow(path).pen.close()


def test_others_go_on_without_a_leader_and_the_next_one_signs_what_they_wrote(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    mate = follow(path)
    first.pen.write([b'{"a":1}'])
    sign(first)
    first.pen.close()
    mate.pen.write([b'{"a":2}'])
    third = follow(path)
    third.pen.write([b'{"a":3}'])
    second = leader(path)
    report = verify(path, KEY.public_key())
    assert (report.ok, report.size, report.unsigned) == (True, 3, 0)
    mate.pen.write([b'{"a":4}'])
    sign(second)
    assert verify(path, KEY.public_key()).size == 4
    assert shared(mate).counters.signed == 4


@pytest.mark.threat("T-LOG")
def test_a_leader_that_finds_signed_records_changed_stops_the_others(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    mate = follow(path)
    first.pen.write([b'{"a":1}'])
    sign(first)
    first.pen.close()
    path.write_bytes(b'{"n":0,"a":9}\n')
    with pytest.raises(Tampered, match="not the ones"):
        leader(path)
    with pytest.raises(Unavailable, match="another worker"):
        mate.pen.write([b'{"a":2}'])
    with pytest.raises(Unavailable, match="stopped"):
        leader(path)


def test_a_stopped_log_opens_again_when_nobody_writes_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    mate = follow(path)
    first.pen.write([b'{"a":1}'])
    mate.pen.stop()
    for opened in (first, mate):
        opened.pen.close()
    again = leader(path)
    assert again.pen.size == 1
    again.pen.write([b'{"a":2}'])
    sign(again)
    assert verify(path, KEY.public_key()).size == 2


@pytest.mark.threat("T-LOG")
def test_a_leader_does_not_count_anew_while_others_write(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = leader(path)
    mate = follow(path)
    first.pen.close()
    (tmp_path / "log.counters").unlink()
    with pytest.raises(Unavailable, match="stop them all"):
        leader(path)
    with pytest.raises(Unavailable):
        follow(path)
    mate.pen.close()
    leader(path).pen.close()


def test_a_log_without_protection_is_shared_too(tmp_path: Path) -> None:
    path = tmp_path / "log"
    first = lead(path, None, ORIGIN)
    mate = follow(path)
    mate.pen.write([b'{"a":1}'])
    first.pen.write([b'{"a":2}'])
    assert not shared(mate).counters.is_signed
    first.pen.close()
    assert lead(path, None, ORIGIN).pen.size == 2
    assert not (tmp_path / "log.tlog").exists()


def test_a_torn_end_is_cut_by_a_leader_who_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    leader(path).pen.close()
    path.write_bytes(b'{"n":0,"a":1}\n{"n":1,"a')
    again = leader(path)
    assert again.pen.size == 1
    assert path.read_bytes() == b'{"n":0,"a":1}\n'
    again.pen.close()


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    for opened in (leader, follow, lambda path: open_sole(path, None, ORIGIN)):
        with pytest.raises((Misconfigured, Unavailable)):
            opened(tmp_path)
    os.symlink(tmp_path / "elsewhere", tmp_path / "link")  # noqa: PTH211  # the kernel's word for it
    with pytest.raises(Misconfigured, match="cannot be opened"):
        leader(tmp_path / "link")


async def crashed(path: Path) -> None:
    """Leave a log of two records whose second one only the redo file has."""
    opened = open_sole(path, Publisher(path, KEY, ORIGIN), ORIGIN, waits_for_disk=True)
    if opened.redo is None:
        pytest.skip("the file system of the temporary folder cannot be written directly (O_DIRECT)")
    opened.pen.write([b'{"a":1}'])
    opened.pen.write([b'{"a":2}'])
    told: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    assert opened.redo.begin(told.set_result)
    async with asyncio.timeout(20):
        assert await told is None
    opened.redo.close()
    opened.pen.close()
    os.truncate(path, 20)


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("how", ["alone", "leading", "unprotected"])
async def test_whoever_opens_a_log_first_puts_back_what_a_crash_took(tmp_path: Path, how: str) -> None:
    path = tmp_path / "log"
    await crashed(path)
    publisher = None if how == "unprotected" else Publisher(path, KEY, ORIGIN)
    opened = (lead if how == "leading" else open_sole)(path, publisher, ORIGIN)
    assert opened.pen.size == 2
    assert path.read_bytes() == b'{"n":0,"a":1}\n{"n":1,"a":2}\n'
    assert not (tmp_path / "log.tlog" / "redo").exists()
    opened.pen.close()


@pytest.mark.threat("T-LOG")
async def test_a_log_that_contradicts_its_redo_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "log"
    await crashed(path)
    path.write_bytes(b'{"n":0,"a":9}\n')
    for opener in (open_sole, lead):
        with pytest.raises(Tampered, match="differ"):
            opener(path, Publisher(path, KEY, ORIGIN), ORIGIN)
    assert path.read_bytes() == b'{"n":0,"a":9}\n'

"""The signer: one publication at a time, soon after the news, and an error that cannot be mended is told."""

from __future__ import annotations

import asyncio
import errno
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.audit.counters import Extent
from sekisho.audit.ledger import Ledger
from sekisho.audit.logfile import LogFile
from sekisho.audit.notary import Notary
from sekisho.audit.publisher import Publisher
from sekisho.audit.signer import Signer
from sekisho.errors import SekishoError, Tampered, Unavailable

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


class Owner:
    """Whose log it is, in these tests."""

    def __init__(self) -> None:
        self.synced: list[int] = []
        self.ended: list[SekishoError] = []
        self.count = 0
        self.asked = asyncio.Event()
        self._heard = asyncio.Event()

    def written(self) -> Extent:
        self.asked.set()
        return Extent(self.count, 0)

    def durable(self, records: int, seconds: float) -> None:
        assert seconds >= 0

    def synced_behind(self, written: Extent, seconds: float) -> None:
        assert seconds >= 0
        self.synced.append(written.records)
        self._heard.set()

    def end(self, problem: SekishoError) -> None:
        self.ended.append(problem)
        self._heard.set()

    async def heard(self) -> None:
        async with asyncio.timeout(20):
            await self._heard.wait()
        self._heard.clear()


class SickFile(LogFile):
    """A file whose background sync fails."""

    def sync_behind(self) -> None:
        raise OSError(errno.EIO, "Input/output error")


def made(path: Path, kind: type[LogFile] = LogFile) -> tuple[Signer, Owner, LogFile, Publisher]:
    publisher, owner, file = Publisher(path, KEY, "log.example"), Owner(), kind.open_locked(path)
    publisher.prepare()
    return Signer(file, Notary(Ledger("log.example"), publisher), owner), owner, file, publisher


async def test_news_are_signed_without_being_asked(tmp_path: Path) -> None:
    signer, owner, _, publisher = made(tmp_path / "log")
    owner.count = 2
    signer.take([b"a", b"b"])
    await owner.heard()
    assert owner.synced == [2]
    current = publisher.current()
    assert current is not None
    assert current.size == 2
    owner.count = 3
    signer.take([b"c"])
    await signer.stop()
    signer.finish()
    assert owner.ended == []
    current = publisher.current()
    assert current is not None
    assert current.size == 3
    signer.close()


async def test_without_a_notary_it_only_syncs(tmp_path: Path) -> None:
    owner = Owner()
    signer = Signer(LogFile.open_locked(tmp_path / "log"), None, owner)
    signer.take([b"a"])
    await owner.heard()
    assert owner.synced == [0]
    assert signer.problem is None
    assert signer.overdue() is None
    await signer.stop()
    signer.finish()
    signer.close()


@pytest.mark.threat("T-FULLDISK")
async def test_a_sync_that_failed_ends_the_log_and_signs_nothing(tmp_path: Path) -> None:
    signer, owner, _, publisher = made(tmp_path / "log", SickFile)
    signer.take([b"a"])
    await owner.heard()
    assert isinstance(owner.ended[0], Unavailable)
    assert "synced" in owner.ended[0].message
    assert publisher.current() is None
    await signer.stop()
    signer.close()


@pytest.mark.threat("T-LOG")
async def test_a_file_that_was_replaced_ends_the_log(tmp_path: Path) -> None:
    signer, owner, _, publisher = made(tmp_path / "log")
    (tmp_path / "log").rename(tmp_path / "moved")
    signer.take([b"a"])
    await owner.heard()
    assert isinstance(owner.ended[0], Tampered)
    assert publisher.current() is None
    await signer.stop()
    signer.close()


@pytest.mark.threat("T-LOG")
async def test_a_trail_that_leads_nowhere_ends_the_log(tmp_path: Path) -> None:
    class Trail:
        def aim(self) -> bool:
            raise Tampered("log_tampered", "cut")

        def follow(self) -> bool:
            return False

        def signed(self, records: int) -> None:
            raise AssertionError(records)

    owner = Owner()
    signer = Signer(LogFile.open_locked(tmp_path / "log"), None, owner, Trail())
    signer.wake()
    await owner.heard()
    assert isinstance(owner.ended[0], Tampered)
    await signer.stop()
    signer.close()


@pytest.mark.parametrize("is_signed", [True, False])
async def test_what_was_not_even_begun_is_not_called_synced_and_is_tried_again(
    tmp_path: Path, is_signed: bool
) -> None:
    signer, owner, file, _ = made(tmp_path / "log")
    if not is_signed:
        signer = Signer(file, None, owner)
    owner.count = 1
    before = threading.stack_size(1 << 46)  # no memory has room for it, so no thread is to be had
    try:
        signer.take([b"a"])
        async with asyncio.timeout(20):
            await owner.asked.wait()
        for _ in range(3):  # what was begun is told within a turn of the loop
            await asyncio.sleep(0)
        assert (owner.synced, owner.ended, signer.problem is None) == ([], [], not is_signed)
    finally:
        threading.stack_size(before)
    await owner.heard()
    assert (owner.synced, owner.ended) == ([1], [])
    assert signer.problem is None
    await signer.stop()
    signer.close()
    file.close()

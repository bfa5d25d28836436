"""What the gate issues before a plugin starts, and how it ends."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sekisho.egress.handoff import listen
from sekisho.egress.injection import PLACEHOLDER_PREFIX
from sekisho.egress.lease import LeaseDesk, take_lease
from sekisho.egress.tunnel import Target, judge_origin_request
from sekisho.errors import Misconfigured, Refused, Unavailable
from sekisho.policy import Grants, NetworkGrant, SecretGrant, SecretHost, SecretReference

VALUE = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
API = Target(host="api.example.com", port=80)


def grants(*references: str, intercept: bool = False) -> Grants:
    hosts = (SecretHost.parse("http://api.example.com"),)
    return Grants(
        network=NetworkGrant(allowed_domains=("api.example.com",), intercept_tls=intercept),
        secrets=tuple(
            SecretGrant(name=f"T{index}", reference=SecretReference.parse(one), hosts=hosts)
            for index, one in enumerate(references)
        ),
    )


@asynccontextmanager
async def desk(path: Path, granted: Grants) -> AsyncIterator[LeaseDesk]:
    one = LeaseDesk(granted, {"TOKEN": VALUE}, clock=lambda: 1_800_000_000.0)
    with listen(path) as listener:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(one.serve(listener))
            yield one
            task.cancel()


class Slow(dict[str, str]):
    """An environment that is as slow as a person at a keyring."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.asked = 0
        self.answer = threading.Event()

    def get(self, name: str, default: object = None) -> str:
        del default
        self.asked += 1
        assert self.answer.wait(60)
        return self[name]


async def test_a_keyring_that_waits_for_a_person_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = Slow(TOKEN=VALUE)
    one = LeaseDesk(grants("env:TOKEN"), environment, clock=lambda: 1_800_000_000.0)
    with listen(tmp_path / "lease") as listener:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            task = group.create_task(one.serve(listener))
            with monkeypatch.context() as impatient:
                impatient.setattr("sekisho.egress.lease.READ_TIMEOUT_S", 0.01)
                for _ in range(3):
                    with pytest.raises(Misconfigured, match="took too long"):
                        await take_lease(tmp_path / "lease")
            assert environment.asked <= 1
            waiting = group.create_task(take_lease(tmp_path / "lease"))
            environment.answer.set()
            with await waiting as first, await take_lease(tmp_path / "lease") as second:
                assert VALUE.encode() in sent(one, first.placeholders["T0"])
                assert first.placeholders != second.placeholders
            task.cancel()


class Fickle(dict[str, str]):
    """An environment that fails once, in a way that nobody foresaw, with a value in its words."""

    is_broken = True

    def get(self, name: str, default: object = None) -> str:
        del default
        if self.is_broken:
            self.is_broken = False
            raise ZeroDivisionError(VALUE)
        return self[name]


async def test_a_failure_that_nobody_foresaw_refuses_one_lease_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = LeaseDesk(grants("env:TOKEN"), Fickle(TOKEN=VALUE), clock=lambda: 1_800_000_000.0)
    with listen(tmp_path / "lease") as listener:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(one.serve(listener))
            with pytest.raises(Misconfigured):
                await take_lease(tmp_path / "lease")
            with await take_lease(tmp_path / "lease") as lease:
                assert set(lease.placeholders) == {"T0"}
            task.cancel()
    assert [record.message for record in caplog.records] == ["egress_lease_failed"]
    assert VALUE not in caplog.text


def sent(one: LeaseDesk, mark: str) -> bytes:
    head = f"GET / HTTP/1.1\r\nHost: api.example.com\r\nX: {mark}\r\n\r\n".encode()
    return one.custody.injection.prepare(judge_origin_request(head, API), is_secure=False).request.head


async def test_a_lease_holds_placeholders_and_the_gate_the_values(tmp_path: Path) -> None:
    async with desk(tmp_path / "lease", grants("env:TOKEN", "env:TOKEN")) as one:
        with await take_lease(tmp_path / "lease") as lease:
            marks = lease.placeholders
            assert set(marks) == {"T0", "T1"}
            assert marks["T0"] != marks["T1"]
            assert all(mark.startswith(PLACEHOLDER_PREFIX) for mark in marks.values())
            assert VALUE not in json.dumps(dict(marks)) + lease.certificate
            assert VALUE.encode() in sent(one, marks["T0"])


async def test_every_start_has_placeholders_of_its_own_and_the_old_ones_end_with_it(tmp_path: Path) -> None:
    async with desk(tmp_path / "lease", grants("env:TOKEN")) as one:
        with await take_lease(tmp_path / "lease") as first:
            with await take_lease(tmp_path / "lease") as second:
                assert first.placeholders != second.placeholders
                assert VALUE.encode() in sent(
                    one, first.placeholders["T0"]
                )  # the old sandbox is still ending
            old = first.placeholders["T0"]
        await _until(lambda: _is_refused(one, old))


async def test_an_authority_comes_only_where_tls_is_opened_and_goes_with_the_lease(tmp_path: Path) -> None:
    async with desk(tmp_path / "lease", grants(intercept=True)) as one:
        before = one.custody
        assert (before.opens_tls, before.authority) == (True, None)
        with await take_lease(tmp_path / "lease") as lease:
            assert lease.certificate.startswith("-----BEGIN CERTIFICATE-----")
            assert "PRIVATE" not in lease.certificate
            assert one.custody.authority is not None
            assert one.custody.authority.certificate_pem == lease.certificate
        await _until(lambda: one.custody.authority is None)
    async with desk(tmp_path / "lease", grants("env:TOKEN")):
        with await take_lease(tmp_path / "lease") as lease:
            assert lease.certificate == ""


async def test_a_secret_that_cannot_be_read_is_told_with_its_remedy_and_the_desk_goes_on(
    tmp_path: Path,
) -> None:
    shared = tmp_path / "shared"
    shared.write_text(VALUE)
    shared.chmod(0o644)
    for reference, remedy in (("env:ABSENT", "set ABSENT"), (f"file:{shared}", "chmod 600")):
        async with desk(tmp_path / "lease", grants("env:TOKEN", reference)) as one:
            for _ in range(2):
                with pytest.raises(Misconfigured) as caught:
                    await take_lease(tmp_path / "lease")
                assert caught.value.code == "key_unavailable"
                assert remedy in caught.value.remedy
                assert VALUE not in str(caught.value)
            assert not one.custody.injection._planted


async def test_a_value_with_a_line_break_is_refused_before_anything_starts(tmp_path: Path) -> None:
    split = tmp_path / "split"
    split.touch(0o600)
    split.write_text("abc\r\nX-Evil: 1\n")
    async with desk(tmp_path / "lease", grants(f"file:{split}")):
        with pytest.raises(Misconfigured, match="cannot stand in a request"):
            await take_lease(tmp_path / "lease")


async def test_the_holder_learns_that_the_gate_ended(tmp_path: Path) -> None:
    async with desk(tmp_path / "lease", grants("env:TOKEN")):
        lease = await take_lease(tmp_path / "lease")
    async with asyncio.timeout(20):
        await lease.wait_ended()
    lease.close()


async def test_a_gate_that_is_not_there_yet_is_waited_for_and_one_that_never_comes_is_told(
    tmp_path: Path,
) -> None:
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        waiting = group.create_task(take_lease(tmp_path / "lease"))
        await asyncio.sleep(0)
        async with desk(tmp_path / "lease", grants("env:TOKEN")):
            (await waiting).close()
    with pytest.raises(Unavailable, match="does not issue"):
        await take_lease(tmp_path / "absent", patience_s=0.01)


async def test_what_is_no_lease_is_told_as_that(tmp_path: Path) -> None:
    with listen(tmp_path / "lease") as listener:
        loop = asyncio.get_running_loop()
        for answer in (b"{", b'{"placeholders":[1]}', b""):
            task = loop.create_task(take_lease(tmp_path / "lease"))
            connection, _ = await loop.sock_accept(listener)
            with connection:
                connection.send(answer) if answer else None
                connection.shutdown(socket.SHUT_WR)
                with pytest.raises(Unavailable):
                    await task


def _is_refused(one: LeaseDesk, mark: str) -> bool:
    try:
        sent(one, mark)
    except Refused:
        return True
    return False


async def _until(is_true: object) -> None:
    assert callable(is_true)
    async with asyncio.timeout(20):
        while not is_true():  # noqa: ASYNC110  # the gate has no event for it: nothing of ours waits for the end of a lease
            await asyncio.sleep(0)

"""What every driver promises, whatever its walls are made of: one suite over all that stand in the table of claims.

How strong the walls are is asked by tests/real/escape; here a caller's side is held to: plans, pipes, ends, leftovers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.docker_service import docker_lacks, docker_service
from tests.real.escape.drivers import DRIVERS, Claim
from tests.real.escape.played import lacking

from sekisho.errors import Misconfigured, SekishoError
from sekisho.policy import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import SandboxSpec, describe_text

pytestmark = [pytest.mark.real, pytest.mark.parametrize("name", DRIVERS)]

END_S: Final = 60.0
SH: Final = "/bin/sh"


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    """Where a docker service of our own listens."""
    with docker_service() as address:
        yield address


@pytest.fixture
def claim(name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Claim:
    """What the driver claims; skipped where this machine has not what it stands on."""
    missing = lacking(name) or (docker_lacks() if DRIVERS[name].service else "")
    if missing:
        pytest.skip(missing)
    if DRIVERS[name].service:
        monkeypatch.setenv("DOCKER_HOST", request.getfixturevalue("docker_host"))
    return DRIVERS[name]


@pytest.fixture
async def driver(claim: Claim) -> AsyncIterator[Any]:
    """The driver, entered."""
    async with claim.make() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder without a link on its way, which anybody may enter."""
    tmp_path.chmod(0o755)  # a driver may give its plugins users of their own
    return tmp_path.resolve()


def spec(claim: Claim, script: str, *, files: FileGrant | None = None, **more: Any) -> SandboxSpec:
    """A shell script behind the walls."""
    limits = more.pop("limits", LimitGrant(max_memory_mb=256))
    network = more.pop("network", NetworkGrant())
    argv = more.pop("argv", (SH, "-c", script))
    return SandboxSpec(
        name="contract",
        argv=argv,
        grants=Grants(files=files or FileGrant(), limits=limits, network=network),
        isolation=claim.isolation,
        owner=claim.owner,
        **more,
    )


async def read_all(fd: int) -> str:
    """Until the other end closes."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(os.dup(fd), "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return (await reader.read()).decode()
    finally:
        transport.close()


async def run(driver: Any, wanted: SandboxSpec) -> tuple[Any, str, str]:
    """Start it and hear it to the end: how it ended, and both its streams."""
    sandbox = await driver.launch(await driver.plan(wanted))
    try:
        async with asyncio.timeout(END_S):
            out, err = await asyncio.gather(read_all(sandbox.stdout_fd), read_all(sandbox.stderr_fd))
            return await sandbox.wait(), out, err
    finally:
        await sandbox.kill_tree()
        sandbox.close_fds()


def processes_with(mark: str) -> set[int]:
    """Processes of this host whose command line holds a mark."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.add(int(entry.name))
    return found


def own_descriptors() -> int:
    """How many this process holds."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_what_the_host_can_enforce_is_the_same_when_asked_twice(driver: Any) -> None:
    assert await driver.probe() == await driver.probe()


async def test_a_plan_is_the_same_for_the_same_wish(driver: Any, claim: Claim) -> None:
    wanted = spec(claim, "true")
    assert await driver.plan(wanted) == await driver.plan(wanted)


async def test_a_plan_can_be_shown_and_keeps_the_values_of_the_environment_to_itself(
    driver: Any, claim: Claim
) -> None:
    secret = secrets.token_hex(16)
    drawn = await driver.plan(spec(claim, "true", environment={"TOKEN": secret}))
    shown = f"{drawn!r} {drawn.argv} {describe_text(drawn)}"
    assert secret not in shown


async def test_both_streams_and_the_exit_code_come_out_as_they_are(driver: Any, claim: Claim) -> None:
    how, out, err = await run(driver, spec(claim, "echo to out; echo to err >&2; exit 7"))
    assert (how.code, how.signal, how.reason) == (7, None, "exited")
    assert (out, err) == ("to out\n", "to err\n")


async def test_what_goes_in_comes_back(driver: Any, claim: Claim) -> None:
    sandbox = await driver.launch(await driver.plan(spec(claim, "head -c 6")))
    try:
        os.write(sandbox.stdin_fd, b"hello\n")
        async with asyncio.timeout(END_S):
            assert await read_all(sandbox.stdout_fd) == "hello\n"
            assert (await sandbox.wait()).code == 0
    finally:
        await sandbox.kill_tree()
        sandbox.close_fds()


async def test_a_kill_takes_daemons_along_and_is_told_as_a_kill(driver: Any, claim: Claim) -> None:
    mark = f"daemon-{secrets.token_hex(8)}"
    script = f"(setsid sh -c ': {mark}; sleep 1000; :' &) ; (sh -c ': {mark}; sleep 1000; :' &) ; echo up; sleep 1000"
    sandbox = await driver.launch(await driver.plan(spec(claim, script)))
    ends: list[Any] = []
    sandbox.when_ended(ends.append)
    try:
        async with asyncio.timeout(END_S):
            os.set_blocking(sandbox.stdout_fd, True)
            assert await asyncio.to_thread(os.read, sandbox.stdout_fd, 3) == b"up\n"
            assert processes_with(mark)
            assert (await sandbox.kill_tree()).reason == "killed"
            assert not processes_with(mark)
            assert (await sandbox.kill_tree()).reason == "killed", "a second kill finds it dead"
    finally:
        sandbox.close_fds()
    assert [end.reason for end in ends] == ["killed"]


async def test_nobody_whose_memory_a_plugin_can_write_is_without_the_filter(
    driver: Any, claim: Claim, name: str
) -> None:
    """Processes of the same user are open to each other through /proc: one without the filter would lend what it may."""
    script = (
        "for one in /proc/[0-9]*; do"
        " if [ -w $one/mem ] && (: <> $one/mem); then grep -h ^Seccomp: $one/status; fi; done 2>/dev/null; echo end"
    )
    how, out, err = await run(driver, spec(claim, script))
    assert (how.code, err) == (0, "")
    *filters, end = out.splitlines()
    seen = set() if name == "landlock" else {"Seccomp:\t2"}  # there is no /proc behind Landlock alone
    assert (set(filters), end) == (seen, "end")


async def test_leaving_the_driver_ends_what_it_started(claim: Claim) -> None:
    mark = f"left-{secrets.token_hex(8)}"
    async with claim.make() as driver:
        sandbox = await driver.launch(await driver.plan(spec(claim, f"echo up; : {mark}; sleep 1000; :")))
        os.set_blocking(sandbox.stdout_fd, True)
        async with asyncio.timeout(END_S):
            await asyncio.to_thread(os.read, sandbox.stdout_fd, 3)
        assert processes_with(mark)
    assert not processes_with(mark)
    sandbox.close_fds()


async def test_a_life_leaves_no_descriptor_behind(driver: Any, claim: Claim) -> None:
    await run(driver, spec(claim, "true"))
    before = own_descriptors()
    for _ in range(3):
        await run(driver, spec(claim, "true"))
    assert own_descriptors() <= before  # a transport of asyncio may close a moment later


async def test_a_program_that_is_not_there_is_refused_before_anything_runs(driver: Any, claim: Claim) -> None:
    with pytest.raises(SekishoError):
        await run(driver, spec(claim, "", argv=("/nowhere/program",)))
    assert (await run(driver, spec(claim, "exit 3")))[0].code == 3, "the next one starts"


@pytest.mark.threat("T-READ-HOST")
async def test_the_environment_is_what_was_declared_and_nothing_of_ours(
    driver: Any, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKISHO_CONTRACT_SECRET", "ours")
    _, out, _ = await run(driver, spec(claim, "env", environment={"DECLARED": "yes"}))
    assert "DECLARED=yes\n" in out
    assert "SEKISHO_CONTRACT_SECRET" not in out


@pytest.mark.threat("T-READ-HOST")
async def test_files_are_as_granted(driver: Any, claim: Claim, folder: Path) -> None:
    work, settings, other = folder / "work", folder / "settings", folder / "other"
    for one in (work, settings, other):
        one.mkdir()
        (one / "file").write_text("there\n")
        one.chmod(0o777)
    files = FileGrant(read_only_paths=(str(settings),), writable_paths=(str(work),))
    script = (
        f"cat {settings}/file; echo new > {work}/made; (echo x > {settings}/made) 2>/dev/null || echo held; "
        f"cat {other}/file 2>/dev/null || echo absent"
    )
    _, out, err = await run(driver, spec(claim, script, files=files))
    assert out == "there\nheld\nabsent\n", err
    assert (work / "made").read_text() == "new\n"
    assert not (settings / "made").exists()


@pytest.mark.threat("T-READ-HOST")
async def test_a_blocked_path_inside_a_granted_one_is_not_there(
    driver: Any, claim: Claim, folder: Path
) -> None:
    (folder / "open").write_text("open\n")
    (folder / "secret").mkdir()
    (folder / "secret" / "file").write_text("secret\n")
    files = FileGrant(read_only_paths=(str(folder),), blocked_paths=(str(folder / "secret"),))
    try:
        _, out, err = await run(
            driver,
            spec(claim, f"cat {folder}/open; cat {folder}/secret/file 2>/dev/null || echo gone", files=files),
        )
    except Misconfigured:
        assert claim.isolation != "strict", "only a driver without mounts may have to refuse this"
        return
    assert out == "open\ngone\n", err


@pytest.mark.threat("T-READ-HOST")
async def test_a_granted_folder_that_became_a_link_grants_nothing_else(
    driver: Any, claim: Claim, folder: Path
) -> None:
    """The plugin's own folder is swapped for a link between plan and launch (the class of CVE-2021-30465)."""
    work, secret = folder / "work", folder / "secret"
    for one in (work, secret):
        one.mkdir()
    (secret / "file").write_text("secret\n")
    drawn = await driver.plan(
        spec(
            claim,
            f"cat {work}/file 2>/dev/null || echo nothing",
            files=FileGrant(writable_paths=(str(work),)),
        )
    )
    work.rmdir()
    work.symlink_to(secret)
    try:
        sandbox = await driver.launch(drawn)
    except SekishoError:
        return
    try:
        async with asyncio.timeout(END_S):
            assert "secret" not in await read_all(sandbox.stdout_fd)
    finally:
        await sandbox.kill_tree()
        sandbox.close_fds()


async def test_a_grant_that_is_not_there_is_refused(driver: Any, claim: Claim, folder: Path) -> None:
    with pytest.raises(Misconfigured):
        await driver.plan(spec(claim, "true", files=FileGrant(read_only_paths=(str(folder / "nowhere"),))))


async def test_the_four_doors_are_there_exactly_when_asked_for(driver: Any, claim: Claim) -> None:
    network = NetworkGrant(allowed_domains=("api.example.com",), blocked_domains=("*",))
    wanted = spec(claim, "sleep 1000", network=network, wants_network=True)
    if not claim.has_network:
        with pytest.raises(Misconfigured):
            await driver.launch(await driver.plan(wanted))
        return
    for one, count in ((wanted, 4), (spec(claim, "sleep 1000"), 0)):
        sandbox = await driver.launch(await driver.plan(one))
        try:
            assert len(sandbox.gate_sockets.fds if sandbox.gate_sockets else ()) == count
        finally:
            await sandbox.kill_tree()
            sandbox.close_fds()


@pytest.mark.threat("T-FLOOD")
async def test_a_hog_of_memory_is_ended(driver: Any, claim: Claim) -> None:
    hog = "x=0123456789abcdef; while :; do x=$x$x; done"
    how, _, _ = await run(driver, spec(claim, hog, limits=LimitGrant(max_memory_mb=64)))
    assert how.code != 0


async def test_many_live_side_by_side_and_end_on_their_own(driver: Any, claim: Claim) -> None:
    drawn = await driver.plan(spec(claim, "read word; exit 5"))
    sandboxes = [await driver.launch(drawn) for _ in range(5)]
    try:
        for sandbox in reversed(sandboxes):
            os.write(sandbox.stdin_fd, b"go\n")
        async with asyncio.timeout(END_S):
            assert [(await sandbox.wait()).code for sandbox in sandboxes] == [5] * 5
    finally:
        for sandbox in sandboxes:
            await sandbox.kill_tree()
            sandbox.close_fds()

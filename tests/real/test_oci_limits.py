"""How exactly limits hold in containers: podman's and docker's by control groups, and those of an ordinary user's podman,
which has none here, by the kernel's other means and by who watches.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.real.docker_service import CLIENT, docker_lacks, docker_service
from tests.real.escape.drivers import CONTAINER_USER
from tests.real.escape.played import impediment
from tests.real.limited import (
    EXACT,
    LIMITED,
    PROCESSES,
    assert_exact,
    assert_share,
    assert_stopped,
    measured_as_user,
)
from tests.real.walled_run import PYTHON, finish, start

from sekisho.errors import Misconfigured
from sekisho.policy import FileGrant, Grants, LimitGrant
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.running.group_settings import disk_files

pytestmark = [pytest.mark.real, pytest.mark.requirement("A3.2", "B5")]

SCENE_S: Final = 180.0
ENGINES: Final = ("podman", "docker")


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str]:
    """Where a docker service of our own listens."""
    with docker_service() as address:
        yield address


@pytest.fixture
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Oci]:
    """A driver of one engine, as root."""
    name = request.param
    missing = docker_lacks() if name == "docker" else impediment("oci")
    if missing or os.geteuid() != 0:
        pytest.skip(missing or "control groups are root's here")
    own = {"DOCKER_HOST": request.getfixturevalue("docker_host")} if name == "docker" else {}
    async with Oci(name, environment={**os.environ, **own}) as one:
        yield one


both = pytest.mark.parametrize("driver", ENGINES, indirect=True)


def spec(program: str, limits: LimitGrant, files: FileGrant | None = None) -> SandboxSpec:
    grants = Grants(files=files or FileGrant(), limits=limits)
    argv = (PYTHON, "-Ic", program)
    return SandboxSpec(name="limited", argv=argv, driver="oci", grants=grants, owner=CONTAINER_USER)


async def measured(driver: Oci, what: str) -> tuple[str, str, str]:
    """Why it ended, and what it printed."""
    how, out, err = await finish(await start(driver, spec(*LIMITED[what])))
    return how.reason, out, err


def alone(what: str) -> tuple[str, str, str]:
    """The same, of one of them."""
    if missing := impediment("oci"):
        pytest.skip(missing)
    return measured_as_user("oci", what)


@both
async def test_a_memory_hog_is_stopped_at_its_limit(driver: Oci) -> None:
    assert_stopped(*await measured(driver, "memory"), at_most=1.05)


def test_without_control_groups_a_memory_hog_is_stopped_soon_after_its_limit() -> None:
    assert_stopped(*alone("memory"), at_most=1.5)


@both
async def test_processor_time_is_within_15_percent_of_its_share(driver: Oci) -> None:
    _, out, err = await measured(driver, "processor")
    assert_share(out, err)


def test_without_control_groups_processor_time_is_within_15_percent_of_its_share() -> None:
    _, out, err = alone("processor")
    assert_share(out, err)


@pytest.mark.parametrize("what", EXACT)
@both
async def test_what_is_counted_is_exact(driver: Oci, what: str) -> None:
    _, out, err = await measured(driver, what)
    assert_exact(what, out, err)


@both
async def test_processes_of_the_same_number_elsewhere_take_nothing_from_a_plugin(driver: Oci) -> None:
    """Another house of this host gives its plugins the same users."""
    elsewhere = [
        await asyncio.create_subprocess_exec(
            PYTHON, "-c", "input()", user=CONTAINER_USER, stdin=subprocess.PIPE
        )
        for _ in range(12)
    ]
    try:
        _, out, err = await measured(driver, "processes")
    finally:
        for process in elsewhere:
            await process.communicate(b"\n")
    assert_exact("processes", out, err)


@pytest.mark.parametrize("what", EXACT)
def test_without_control_groups_what_is_counted_is_exact(what: str) -> None:
    _, out, err = alone(what)
    assert_exact(what, out, err)


WRITE: Final = """
import json, os, time
begin = time.monotonic()
fd = os.open("{path}", os.O_WRONLY | os.O_CREAT, 0o600)
for _ in range(6):
    os.write(fd, os.urandom(1 << 20))
    os.fdatasync(fd)
print(json.dumps(time.monotonic() - begin))
"""

EMPTY_TAR: Final = bytes(10240)


def loses_throttle(docker_host: str) -> bool:
    """Whether this client keeps from its service how fast a disk may be written (docker/cli issue 5321)."""

    def docker(*words: str) -> str:
        environment = {**os.environ, "DOCKER_HOST": docker_host}
        done = subprocess.run(
            [CLIENT, *words], input=EMPTY_TAR, env=environment, check=True, capture_output=True
        )
        return done.stdout.decode().strip()

    image = docker("import", "-")
    made = docker("create", "--device-write-bps", f"{disk_files()[0]}:1048576", image, "nothing")
    told = docker("inspect", "--format", "{{len .HostConfig.BlkioDeviceWriteBps}}", made)
    docker("rm", made)
    return told == "0"


@both
async def test_a_disk_is_written_no_faster_than_granted(
    driver: Oci, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if not (await driver.probe()).enforces("io"):
        with pytest.raises(Misconfigured, match="io_mbps of plugin 'limited' cannot be enforced"):
            await driver.plan(spec("pass", LimitGrant(io_mbps=2)))
        return
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o777)
    files = FileGrant(writable_paths=(str(tmp_path),))
    wanted = spec(WRITE.replace("{path}", f"{tmp_path}/data"), LimitGrant(io_mbps=2), files)
    is_docker = request.node.callspec.params["driver"] == "docker"
    if is_docker and await asyncio.to_thread(loses_throttle, request.getfixturevalue("docker_host")):
        with pytest.raises(Misconfigured, match="docker's command line client does not pass it on"):
            await start(driver, wanted)
        return
    how, out, err = await finish(await start(driver, wanted))
    assert how.code == 0, err
    assert json.loads(out) >= 6 / 2 * 0.8
    assert (tmp_path / "data").stat().st_size == 6 << 20


USE: Final = """
import os, sys
held = bytearray(b"x") * (20 << 20)
children = [os.fork() for _ in range(2)]
if 0 in children: sys.stdin.read(); os._exit(0)
while sum(os.times()[:2]) < 0.1: pass
print("ready", flush=True)
sys.stdin.read()
"""


@both
async def test_what_a_container_uses_is_told(driver: Oci) -> None:
    sandbox = await start(driver, spec(USE, LimitGrant(max_memory_mb=128)))
    os.set_blocking(sandbox.stdout_fd, True)
    assert await asyncio.to_thread(os.read, sandbox.stdout_fd, 6) == b"ready\n"
    usage = sandbox.stats()
    await sandbox.kill_tree()
    sandbox.close_fds()
    assert 20 << 20 <= (usage.memory_bytes or 0) <= 128 << 20
    assert (usage.pids or 0) >= 3
    assert 0.1 <= (usage.cpu_s or 0) < 30


@both
async def test_forks_beyond_the_limit_are_told_while_it_runs_and_at_its_end(driver: Oci) -> None:
    program = PROCESSES + "import sys; sys.stdin.readline()"
    sandbox = await start(driver, spec(program, LimitGrant(max_memory_mb=128, max_pids=10)))
    os.set_blocking(sandbox.stdout_fd, True)
    await asyncio.to_thread(os.read, sandbox.stdout_fd, 100)
    while_it_ran = sandbox.violations()
    os.write(sandbox.stdin_fd, b"\n")
    await finish(sandbox)
    assert [(one.kind, one.what) for one in while_it_ran] == [("pids", "fork")]
    assert sandbox.violations() == while_it_ran


@both
async def test_a_kill_for_memory_is_told_as_a_refusal(driver: Oci) -> None:
    sandbox = await start(driver, spec(*LIMITED["memory"]))
    how, _, _ = await finish(sandbox)
    assert how.reason == "oom"
    assert [one.kind for one in sandbox.violations()] == ["oom"]


@both
async def test_one_that_keeps_within_its_limits_has_nothing_refused(driver: Oci) -> None:
    sandbox = await start(driver, spec("print('done')", LimitGrant()))
    how, out, _ = await finish(sandbox)
    assert (how.reason, how.code, out) == ("exited", 0, "done\n")
    assert sandbox.violations() == ()

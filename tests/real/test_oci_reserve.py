"""Containers that are made ahead: the next start finds one, and it is the right one or none."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from tests.real.escape.drivers import CONTAINER_USER
from tests.real.escape.played import impediment
from tests.real.walled_run import PYTHON, finish, start

from sekisho.policy import FileGrant, Grants
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.oci.engine import find_engine, owner_of
from sekisho.sandbox.oci.words import LABEL

pytestmark = [pytest.mark.real, pytest.mark.requirement("B8")]

END_S: Final = 30.0
SAY: Final = "print('here', flush=True)"


@pytest.fixture
async def driver() -> AsyncIterator[Oci]:
    """podman with a reserve, as root."""
    if missing := impediment("oci"):
        pytest.skip(missing)
    async with Oci("podman", environment=os.environ, has_reserve=True) as one:
        yield one


def spec(*folders: Path, program: str = SAY) -> SandboxSpec:
    files = FileGrant(read_only_paths=tuple(map(str, folders)))
    return SandboxSpec(
        name="again",
        argv=(PYTHON, "-Ic", program),
        driver="oci",
        grants=Grants(files=files),
        owner=CONTAINER_USER,
    )


async def said(driver: Oci, wanted: SandboxSpec) -> str:
    """What one start prints; by then the next container is made, and this one removed."""
    how, out, err = await finish(await start(driver, wanted))
    assert how.code == 0, err
    await driver.wait_reserve()
    async with asyncio.timeout(END_S):
        await asyncio.gather(*(one._waiter for one in driver._containers if one._waiter is not None))
    return out


def containers() -> list[str]:
    engine = find_engine("podman", environment=os.environ)
    asked = engine.command("ps", "--all", "--quiet", "--filter", f"label={LABEL}={owner_of(os.getpid())}")
    return subprocess.run(
        asked, capture_output=True, text=True, check=True, env=engine.environment, timeout=60
    ).stdout.split()


async def test_the_next_start_finds_a_container_that_stands(driver: Oci) -> None:
    assert [await said(driver, spec()) for _ in range(3)] == ["here\n"] * 3
    assert driver.warm_starts == 2


async def test_nothing_that_was_made_ahead_outlives_the_driver(driver: Oci) -> None:
    await said(driver, spec())
    assert len(containers()) == 1
    await driver.__aexit__(None, None, None)
    assert containers() == []


async def test_another_plan_gets_another_container(driver: Oci) -> None:
    await said(driver, spec())
    assert await said(driver, spec(program="print('other')")) == "other\n"
    assert driver.warm_starts == 0
    assert len(containers()) == 1, "the one that was not used is gone"


async def test_a_folder_that_was_replaced_since_is_shown_as_it_is_now(driver: Oci, tmp_path: Path) -> None:
    for one in (tmp_path, *tmp_path.parents[:2]):
        one.chmod(0o755)
    folder = tmp_path.resolve() / "shown"
    program = f"import os; print(os.listdir({str(folder)!r}))"
    folder.mkdir()
    (folder / "before").touch()
    assert await said(driver, spec(folder, program=program)) == "['before']\n"
    folder.rename(folder.with_name("away"))
    folder.mkdir()
    (folder / "after").touch()
    assert await said(driver, spec(folder, program=program)) == "['after']\n"
    assert driver.warm_starts == 0


async def test_one_that_was_ended_by_somebody_is_not_used(driver: Oci) -> None:
    await said(driver, spec())
    await find_engine("podman", environment=os.environ).say("rm", "--force", *containers())
    assert await said(driver, spec()) == "here\n"
    assert driver.warm_starts == 0

"""Parts of /proc that bwrap does not cover itself: without them the plugin never runs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.real.walled_run import PYTHON, finish, python_spec

from sekisho.errors import Misconfigured
from sekisho.policy import FileGrant
from sekisho.sandbox import Bubblewrap, Plan, probe
from sekisho.sandbox.mount import Mount

pytestmark = pytest.mark.real

if missing := probe("bubblewrap").missing:
    pytest.skip("; ".join(missing), allow_module_level=True)

LEAVES_A_MARK = "import os, sys; open(sys.argv[1] + '/ran', 'w'); print(os.listdir('/proc/1'))"


@pytest.fixture
async def driver() -> AsyncIterator[Bubblewrap]:
    async with Bubblewrap() as made:
        yield made


async def planned(driver: Bubblewrap, folder: Path, told: str) -> Plan:
    files = FileGrant(writable_paths=(str(folder),))
    argv = (PYTHON, "-I", "-c", LEAVES_A_MARK, str(folder))
    return await driver.plan(python_spec("", argv=argv, files=files, told_paths=told))


@pytest.mark.parametrize("told", ["all", "none"])
async def test_a_plugin_whose_proc_cannot_be_covered_never_runs(
    driver: Bubblewrap, tmp_path: Path, told: str
) -> None:
    folder = tmp_path.resolve()
    drawn = await planned(driver, folder, told)
    nowhere = Mount(kind="cover", path="/proc/no-such", source="", size=4096)
    at = drawn.options.index("--dev")
    options = (*drawn.options[:at], "--ro-bind", "/dev/null", nowhere.path, *drawn.options[at:])
    with pytest.raises(Misconfigured, match="parts of /proc cannot be covered"):
        await driver.launch(replace(drawn, mounts=(*drawn.mounts, nowhere), options=options))
    assert os.listdir(folder) == []  # noqa: PTH208


@pytest.mark.parametrize("told", ["all", "none"])
async def test_covered_it_runs_and_sees_nothing_of_the_first_process(
    driver: Bubblewrap, tmp_path: Path, told: str
) -> None:
    ended, out, err = await finish(await driver.launch(await planned(driver, tmp_path.resolve(), told)))
    assert (ended.code, out) == (0, "[]\n"), err
    assert os.listdir(tmp_path) == ["ran"]  # noqa: PTH208

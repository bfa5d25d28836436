"""One container of an engine that is a small program here; with real ones it is shown in tests/real."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.sandbox.plans.test_plan import FOUND, HOST, draw

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant
from sekisho.sandbox.oci.container import Container, Kind
from sekisho.sandbox.oci.engine import find_engine
from sekisho.sandbox.plans.plan import Plan

ENGINE = """
echo "$@" >> {log}
case "$1" in create) cat "$(echo "$@" | sed 's/.*--env-file \\([^ ]*\\).*/\\1/')" >> {log}; exit {status};; esac
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    pretend(tmp_path, status=0)
    return tmp_path / "log"


def pretend(folder: Path, *, status: int) -> None:
    tool = folder / "docker"
    tool.write_text("#!/bin/sh\n" + ENGINE.format(log=folder / "log", status=status))
    tool.chmod(0o755)


@pytest.fixture
def granted(tmp_path: Path) -> tuple[Plan, Path]:
    folder = (tmp_path / "granted").resolve()
    folder.mkdir()
    drawn = draw(
        FileGrant(read_only_paths=(str(folder),)),
        host=replace(HOST, driver="oci"),
        closure=replace(FOUND, read_only=()),
        environment={"GREETING": "hello"},
    )
    return drawn, folder


def container(drawn: Plan, gone: list[Container]) -> Container:
    engine = find_engine("docker", environment=os.environ)
    return Container(Kind(engine=engine, image="frame:1", runtime=""), drawn, gone.append)


async def test_its_environment_is_in_a_file_while_it_is_made_and_no_longer(
    log: Path, granted: tuple[Plan, Path]
) -> None:
    gone: list[Container] = []
    one = container(granted[0], gone)
    await one.make()
    assert "GREETING=hello" in log.read_text()
    named = log.read_text().split("--env-file ")[1].split()[0]
    assert not Path(named).exists()
    folder = Path(named).parent
    assert folder.stat().st_mode & 0o777 == 0o711
    await one.end()
    one.sandbox.close_fds()
    assert gone == [one]
    assert not folder.exists()
    assert "rm --force sekisho-" in log.read_text()


async def test_it_is_fit_for_the_plan_it_was_made_for_while_the_host_is_as_it_was(
    log: Path, granted: tuple[Plan, Path]
) -> None:
    drawn, folder = granted
    one = container(drawn, [])
    await one.make()
    assert one.is_fit(drawn)
    assert not one.is_fit(replace(drawn, environment={"GREETING": "other"}))
    folder.rename(folder.with_name("moved"))
    assert not one.is_fit(drawn)
    folder.mkdir()
    assert not one.is_fit(drawn), "another folder lies there now"
    await one.end()
    one.sandbox.close_fds()


async def test_what_became_a_link_is_refused_before_anything_is_made(
    log: Path, granted: tuple[Plan, Path]
) -> None:
    drawn, folder = granted
    folder.rename(folder.with_name("moved"))
    folder.symlink_to(folder.with_name("moved"))
    one = container(drawn, [])
    with pytest.raises(Misconfigured, match="leads through a symbolic link now"):
        await one.make()
    await one.end()
    one.sandbox.close_fds()
    assert not log.exists()


async def test_a_refusal_of_the_engine_leaves_nothing(log: Path, granted: tuple[Plan, Path]) -> None:
    pretend(log.parent, status=1)
    gone: list[Container] = []
    one = container(granted[0], gone)
    with pytest.raises(Misconfigured, match="docker create"):
        await one.make()
    await one.end()
    one.sandbox.close_fds()
    assert gone == [one]
    assert (await one.sandbox.wait()).reason == "not_run"

"""Which engine there is, what it says, and how its failures are told; engines are small programs here."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tarfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.sandbox.oci.engine import Engine, find_engine, hands_out_listeners, lacking, owner_of
from sekisho.sandbox.plans.spec import Link


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def pretend(folder: Path, name: str, text: str) -> None:
    tool = folder / name
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)


def test_an_engine_that_is_wanted_by_name_is_taken_or_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="no container engine is installed") as refused:
        find_engine("auto")
    assert "apt install podman" in (refused.value.remedy or "")
    pretend(tmp_path, "docker", "")
    assert find_engine("auto").name == "docker"
    with pytest.raises(Misconfigured, match="podman is not installed"):
        find_engine("podman")
    pretend(tmp_path, "podman", "")
    assert find_engine("auto").name == "podman"


async def test_it_inherits_what_it_needs_and_no_secret(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/x.sock")
    pretend(host, "docker", "env")
    said = await find_engine("docker", environment=os.environ).say("info")
    assert "DOCKER_HOST=unix:///run/x.sock" in said
    assert "API_TOKEN" not in said


async def test_podman_is_told_to_say_nothing_of_its_own_where_the_plugin_speaks(host: Path) -> None:
    pretend(host, "podman", "env")
    pretend(host, "docker", "env")
    said = {name: await find_engine(name).say("info") for name in ("podman", "docker")}
    assert ["PODMAN_IGNORE_CGROUPSV1_WARNING" in words for words in said.values()] == [True, False]


async def test_a_failure_is_told_in_its_last_line(host: Path) -> None:
    pretend(host, "docker", "echo first >&2; echo 'no such image' >&2; exit 125")
    with pytest.raises(Misconfigured, match="docker create: no such image"):
        await find_engine("docker", environment=os.environ).say("create", "x")


async def test_the_frame_is_imported_once_and_found_again(host: Path) -> None:
    pretend(
        host,
        "docker",
        f'case "$1" in images) cat {host}/tag 2>/dev/null || true;; '
        f'import) cat > {host}/layer; echo "$3" > {host}/tag;; esac',
    )
    engine = find_engine("docker", environment=os.environ)
    links = (Link(path="/lib", target="usr/lib"), Link(path="/bin", target="usr/bin"))
    tag = await engine.frame(links)
    layer = (host / "layer").read_bytes()
    with tarfile.open(fileobj=BytesIO(layer)) as tar:
        assert {one.name: one.linkname for one in tar if one.issym()} == {"bin": "usr/bin", "lib": "usr/lib"}
        assert all(one.uid == 0 and one.mtime == 0 for one in tar.getmembers())
        assert tar.getmember("tmp").mode == 0o1777
    (host / "layer").unlink()
    assert await engine.frame(reversed(links)) == tag
    assert not (host / "layer").exists()


async def test_only_containers_of_dead_owners_are_swept(host: Path) -> None:
    ended = await asyncio.create_subprocess_exec(sys.executable, "-Ic", "pass")
    await ended.wait()
    alive, foreign = owner_of(os.getpid()), owner_of(os.getppid())
    owners = f"a) echo {alive};; b) echo {ended.pid}-1;; c) echo {foreign};; d) echo {os.getppid()}-1;; *) exit 1;;"
    pretend(
        host,
        "docker",
        f'case "$1" in ps) echo a gone b c d;; inspect) case "$4" in {owners} esac;; '
        f'rm) echo "$3" >> {host}/removed;; esac',
    )
    await find_engine("docker", environment=os.environ).sweep(frozenset({alive}))
    assert (host / "removed").read_text().split() == ["b", "d"]


def test_an_owner_is_a_process_and_its_birth() -> None:
    assert owner_of(os.getpid()).startswith(f"{os.getpid()}-")
    assert owner_of(2**22 + 1) == ""


@pytest.mark.parametrize(
    ("able", "missing"),
    [
        ("[cpuset cpu cpuacct blkio memory devices freezer pids] seccomp", ()),
        ("[cpu memory pids] ", ("seccomp",)),
        ("[] seccomp", ("memory", "pids", "cpu")),
        ("memory pids cpu [name=seccomp,profile=builtin]", ()),
        ("memory pids cpu []", ("seccomp",)),
        ("[]", ("memory", "pids", "cpu", "seccomp")),
    ],
)
def test_what_an_engine_lacks_is_read_from_its_answer(able: str, missing: tuple[str, ...]) -> None:
    assert lacking(able) == missing


async def test_an_engine_that_would_leave_out_a_limit_is_refused(host: Path) -> None:
    pretend(host, "docker", "echo 'memory pids cpu [name=seccomp,profile=builtin]'")
    assert (await find_engine("docker", environment=os.environ).require()).limits >= {"memory", "pids", "cpu"}
    pretend(host, "docker", "echo '[cpuset cpuacct] seccomp'")
    with pytest.raises(Misconfigured, match="docker cannot hold memory, pids, cpu here") as refused:
        await find_engine("docker", environment=os.environ).require()
    assert "Delegate=yes" in (refused.value.remedy or "")


@pytest.mark.parametrize("is_root", [True, False])
def test_only_what_an_ordinary_users_own_podman_cannot_hold_may_be_watched(host: Path, is_root: bool) -> None:
    engine = replace(Engine(name="podman", program="podman"), is_rootless=not is_root)
    assert engine.refused("[cpuset] seccomp") == (("memory", "pids", "cpu") if is_root else ())
    assert engine.refused("[] ")[-1] == "seccomp"


async def test_a_runtime_that_is_not_there_is_refused_with_how_to_get_it(host: Path) -> None:
    pretend(host, "docker", 'case "$3" in *Runtimes*) echo "io.containerd.runc.v2 runc";; *) echo "";; esac')
    with pytest.raises(Misconfigured, match="docker knows no runtime 'runsc'") as refused:
        await find_engine("docker", "runsc", os.environ).require()
    assert "apt install runsc" in (refused.value.remedy or "")
    assert "daemon.json" in (refused.value.remedy or "")
    pretend(host, "podman", "exit 1")
    with pytest.raises(Misconfigured, match="podman knows no runtime 'nowhere-to-be-found'") as refused:
        await find_engine("podman", "nowhere-to-be-found", os.environ).require()
    assert "install nowhere-to-be-found" in (refused.value.remedy or "")


async def test_a_runtime_that_docker_knows_is_taken(host: Path) -> None:
    able = "memory pids cpu [name=seccomp]"
    pretend(host, "docker", f'case "$3" in *Runtimes*) echo "runc runsc";; *) echo "{able}";; esac')
    assert "memory" in (await find_engine("docker", "runsc", os.environ).require()).limits


def test_gvisor_is_told_that_there_is_no_network(host: Path) -> None:
    pretend(host, "podman", "")
    options = " ".join(find_engine("podman", "runsc").options)
    assert "--runtime runsc --runtime-flag network=none" in options
    assert "--runtime-flag" not in " ".join(find_engine("podman").options)


@pytest.mark.parametrize(
    ("able", "can"),
    [
        ("4.3.1 runc version 1.1.5+ds1\nlibseccomp: 2.5.4 [cpu]", True),
        ("4.3.1 crun version 1.8.1\ncommit: f8a0 [cpu]", True),
        ("4.3.1 runc version 1.0.0-rc93", False),
        ("4.3.1 crun version 0.17", False),
        ("4.2.0 crun version 1.8.1", False),
        ("4.3.1 runsc version 0.0~20221219.0", False),
        ("", False),
    ],
)
def test_runtimes_that_hand_a_listener_out_are_known_by_their_versions(able: str, can: bool) -> None:
    assert hands_out_listeners(able) == can


async def test_what_a_command_leaves_running_keeps_nobody_waiting(host: Path) -> None:
    pretend(host, "docker", "sleep 600 & echo $!")
    async with asyncio.timeout(20):
        left = await find_engine("docker", environment=os.environ).say("init", "one")
    os.kill(int(left), signal.SIGKILL)

"""Containers under gVisor: another kernel answers inside, the limits of this one hold around it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from tests.real.escape.drivers import CONTAINER_USER
from tests.real.escape.played import impediment
from tests.real.walled_run import PYTHON, finish, start

from sekisho.errors import Misconfigured
from sekisho.policy import Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.oci.words import GVISOR

pytestmark = [pytest.mark.real, pytest.mark.requirement("B8")]

LOOK: Final = """
import json, os
names = sorted(os.listdir("/"))
print(json.dumps([os.uname().release, os.getuid(), "shadow" in os.listdir("/etc"), os.path.exists("/home/plugin")]))
"""
FORK: Final = """
import os, time
for number in range(15):
    if os.fork() == 0: time.sleep(60)
print(number + 1, flush=True)
os._exit(0)
"""
GROW: Final = "held = []\nfor _ in range(400): held.append(bytearray(b'x') * (1 << 20))\nprint('all')"


@pytest.fixture
async def driver() -> AsyncIterator[Oci]:
    """podman with gVisor, as root."""
    missing = impediment("oci") or (
        "" if shutil.which(GVISOR) else "gVisor is not installed (Debian package runsc)"
    )
    if missing:
        pytest.skip(missing)
    async with Oci("podman", runtime=GVISOR, environment=os.environ) as one:
        yield one


def spec(program: str, limits: LimitGrant | None = None, network: NetworkGrant | None = None) -> SandboxSpec:
    grants = Grants(limits=limits or LimitGrant(max_memory_mb=256), network=network or NetworkGrant())
    return SandboxSpec(
        name="guest", argv=(PYTHON, "-Ic", program), driver="oci", oci_runtime=GVISOR, isolation="standard",
        grants=grants, owner=CONTAINER_USER, wants_network=network is not None,
    )  # fmt: skip


async def test_another_kernel_answers_and_nothing_else_changes(driver: Oci) -> None:
    how, out, err = await finish(await start(driver, spec(LOOK)))
    assert how.code == 0, err
    release, user, has_shadow, has_home = json.loads(out)
    assert release != os.uname().release
    assert (user, has_shadow, has_home) == (CONTAINER_USER, False, True)


async def test_its_memory_is_limited_from_outside(driver: Oci) -> None:
    how, out, _ = await finish(await start(driver, spec(GROW, LimitGrant(max_memory_mb=128))))
    assert how.reason == "oom"
    assert "all" not in out
    how, out, err = await finish(await start(driver, spec(GROW, LimitGrant(max_memory_mb=768))))
    assert (how.code, out) == (0, "all\n"), err


async def test_a_memory_that_ran_out_is_told_however_late_the_engine_answers(
    driver: Oci, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gVisor removes the group that counted as soon as the plugin has ended; the engine says it runs after that."""
    real, late = shutil.which("podman"), tmp_path / "podman"
    late.write_text(
        f'#!/bin/sh\ncase "$*" in *State.Status*) for name; do :; done; {real} wait "$name" >&2;; esac\n'
        f'exec {real} "$@"\n'
    )
    late.chmod(0o755)
    with monkeypatch.context() as found:
        found.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        async with Oci("podman", runtime=GVISOR, environment=os.environ) as slow:
            how, out, _ = await finish(await start(slow, spec(GROW, LimitGrant(max_memory_mb=128))))
    assert (how.reason, out) == ("oom", "")
    how, out, err = await finish(await start(driver, spec("print('all')")))
    assert (how.reason, out) == ("exited", "all\n"), err


async def test_a_plugin_gets_the_processes_it_was_granted(driver: Oci) -> None:
    how, out, err = await finish(await start(driver, spec(FORK, LimitGrant(max_memory_mb=512, max_pids=16))))
    assert (how.code, out) == (0, "15\n"), err


async def test_a_whole_tree_ends_with_a_kill(driver: Oci) -> None:
    sandbox = await start(driver, spec("import time, os\nos.fork()\ntime.sleep(600)"))
    assert (await sandbox.kill_tree()).reason == "killed"
    sandbox.close_fds()


async def test_a_plugin_that_wants_the_network_is_refused(driver: Oci) -> None:
    with pytest.raises(Misconfigured, match="gVisor's own network stack"):
        await driver.plan(spec("pass", network=NetworkGrant(allowed_domains=("api.example.com",))))

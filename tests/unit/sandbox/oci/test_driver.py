"""The container driver without an engine; with real ones it is shown in tests/real."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants, NetworkGrant
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.plans.spec import SandboxSpec


def spec(*, wants_network: bool = False, image: str = "") -> SandboxSpec:
    network = NetworkGrant(allowed_domains=("api.example.com",)) if wants_network else NetworkGrant()
    return SandboxSpec(
        name="notes",
        argv=("/usr/bin/env",) if not image else ("/in/the/image", "serve"),
        grants=Grants(network=network),
        wants_network=wants_network,
        driver="oci",
        image=image,
        owner=600_007,
    )


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that can hold every limit, and says nothing else."""
    able = "memory pids cpu [name=seccomp,profile=builtin] runsc"
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho '{able}'\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


async def test_without_an_engine_it_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Misconfigured, match="no container engine is installed"):
        async with Oci():
            pass


async def test_gvisor_gives_less_and_has_no_way_out(docker: None) -> None:
    gvisor = Oci(runtime="runsc")
    assert (await gvisor.probe()).level == "standard"
    assert (await Oci().probe()).level == "strict"
    await gvisor.plan(spec())
    with pytest.raises(Misconfigured, match="gVisor's own network stack"):
        await gvisor.plan(spec(wants_network=True))


async def test_an_image_brings_its_own_programs_and_nothing_of_the_host_is_mounted(docker: None) -> None:
    drawn = await Oci(image="localhost/notes:1").plan(spec(image="localhost/notes:1"))
    assert drawn.command == ("/in/the/image", "serve")
    bound = {mount.source for mount in drawn.mounts if mount.kind in {"read", "write"}}
    assert bound <= {"/proc/sys"}
    drawn = await Oci().plan(spec())
    assert "/usr" in {mount.source for mount in drawn.mounts}


async def test_a_fork_server_has_no_place_in_a_container(docker: None) -> None:
    driver = Oci()
    plan = await driver.plan(spec())
    assert not plan.can_be_warm
    with pytest.raises(Misconfigured, match="cannot be forked inside a container"):
        await driver.launch(plan, channel=0)


async def test_root_gives_no_plugin_its_own_user(docker: None) -> None:
    nobodys = replace(spec(), owner=None)
    if os.geteuid() == 0:
        with pytest.raises(Misconfigured, match="would be root in its container") as refused:
            await Oci().plan(nobodys)
        assert "sandbox.uids" in (refused.value.remedy or "")
    assert (await Oci().plan(spec())).staging.owner == 600_007

"""Each limit is held by the kernel where it can, watched where it cannot, and refused where nothing can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants, LimitGrant
from sekisho.sandbox.plans.allowance import OWN_PROCESSES, Limits, limits_of
from sekisho.sandbox.plans.spec import Capabilities, SandboxSpec

CGROUPS = (("memory", "/cg/memory"), ("pids", "/cg/pids"), ("cpu", "/cg/cpu"))
HOST = Capabilities(bwrap="/usr/bin/bwrap", machine="x86_64", cgroup="v1", cgroup_parents=CGROUPS)


def draw(*, host: Capabilities = HOST, limits: LimitGrant | None = None, program: str = "python") -> Limits:
    grants = Grants(limits=limits or LimitGrant())
    return limits_of(SandboxSpec(name="notes", argv=(program, "server.py"), grants=grants), host)


def test_limits_are_held_by_the_kernel_where_it_can() -> None:
    limits = draw()
    assert (limits.memory_by, limits.pids_by, limits.cpu_by) == ("cgroup", "cgroup", "cgroup")
    assert dict(limits.inner_rlimits) == {"NOFILE": 1024}
    assert dict(limits.rlimits) == {"CORE": 0}


def test_limits_without_control_groups_are_watched_and_say_so() -> None:
    host = replace(HOST, cgroup="none", cgroup_parents=())
    limits = draw(host=host)
    assert (limits.memory_by, limits.pids_by, limits.cpu_by) == ("guard", "rlimit", "guard")
    assert dict(limits.inner_rlimits) == {"NOFILE": 1024, "NPROC": 65, "DATA": 2 << 30}


def test_deno_gets_no_data_limit_because_it_dies_under_one() -> None:
    host = replace(HOST, cgroup="none", cgroup_parents=())
    assert "DATA" not in dict(draw(host=host, program="/usr/bin/deno").inner_rlimits)


def test_a_rate_for_disks_is_refused_where_nothing_can_hold_it() -> None:
    held = replace(HOST, cgroup_parents=(("blkio", "/x"),))
    assert draw(limits=LimitGrant(io_mbps=3), host=held) == replace(draw(host=held), io_bytes_per_s=3 << 20)
    with pytest.raises(Misconfigured, match="io_mbps of plugin 'notes' cannot be enforced"):
        draw(limits=LimitGrant(io_mbps=3), host=replace(HOST, cgroup="none", cgroup_parents=()))


def test_processes_of_the_walls_are_not_the_plugins() -> None:
    assert draw().own_processes == OWN_PROCESSES
    assert draw(host=replace(HOST, driver="native")).own_processes == 1

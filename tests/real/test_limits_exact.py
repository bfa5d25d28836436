"""How exactly limits hold behind bubblewrap, our own walls and Landlock, with control groups and without.

Containers have the same programs and the same bounds in `test_oci_limits.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from tests.real.escape.played import impediment
from tests.real.limited import EXACT, LIMITED, assert_exact, assert_share, assert_stopped, measured_as_user
from tests.real.walled_run import finish, python_spec, start

from sekisho.sandbox import Bubblewrap, Landlock, Native, probe
from sekisho.sandbox.launched.driver import Launched

pytestmark = [pytest.mark.real, pytest.mark.requirement("A3.2", "B5"), pytest.mark.threat("T-FLOOD")]

KINDS = {"bubblewrap": Bubblewrap, "native": Native, "landlock": Landlock}


@pytest.fixture(params=KINDS)
async def grouped(request: pytest.FixtureRequest) -> AsyncIterator[Launched]:
    """One whose limits are control groups."""
    host = probe(request.param)
    if host.missing or not all(host.enforces(one) for one in ("memory", "pids", "cpu")):
        pytest.skip("; ".join(host.missing) or "no control groups here")
    async with KINDS[request.param](host) as driver:
        yield driver


@pytest.fixture(params=KINDS)
async def watched(request: pytest.FixtureRequest) -> AsyncIterator[Launched]:
    """The same where there are none."""
    host = probe(request.param)
    if host.missing:
        pytest.skip("; ".join(host.missing))
    async with KINDS[request.param](replace(host, cgroup="none", cgroup_parents=())) as driver:
        yield driver


async def measured(driver: Launched, what: str) -> tuple[str, str, str]:
    """Why it ended, and what it printed."""
    program, limits = LIMITED[what]
    how, out, err = await finish(await start(driver, python_spec(program, limits=limits)))
    return how.reason, out, err


async def test_a_memory_hog_is_stopped_at_its_limit(grouped: Launched) -> None:
    assert_stopped(*await measured(grouped, "memory"), at_most=1.05)


async def test_without_control_groups_a_memory_hog_is_stopped_soon_after_its_limit(watched: Launched) -> None:
    assert_stopped(*await measured(watched, "memory"), at_most=1.5)


async def test_processor_time_is_within_15_percent_of_its_share(grouped: Launched) -> None:
    _, out, err = await measured(grouped, "processor")
    assert_share(out, err)


async def test_without_control_groups_processor_time_is_within_15_percent_of_its_share(
    watched: Launched,
) -> None:
    _, out, err = await measured(watched, "processor")
    assert_share(out, err)


@pytest.mark.parametrize("what", EXACT)
async def test_what_is_counted_is_exact(grouped: Launched, what: str) -> None:
    _skip_scratch_of_landlock(grouped, what)
    _, out, err = await measured(grouped, what)
    assert_exact(what, out, err)


@pytest.mark.parametrize("what", ["scratch", "files"])
async def test_without_control_groups_what_is_counted_is_exact(watched: Launched, what: str) -> None:
    _skip_scratch_of_landlock(watched, what)
    _, out, err = await measured(watched, what)
    assert_exact(what, out, err)


def _skip_scratch_of_landlock(driver: Launched, what: str) -> None:
    if driver.name == "landlock" and what == "scratch":
        pytest.skip("its private folder is watched, and whoever fills it is ended: test_landlock.py")


@pytest.mark.parametrize("what", LIMITED)
@pytest.mark.parametrize("name", ["bubblewrap", "native"])
def test_limits_hold_as_exactly_for_an_ordinary_user(name: str, what: str) -> None:
    """Root has no count of processes of its own in the kernel; whoever is nobody in particular has, in each namespace."""
    if missing := impediment(name):
        pytest.skip(missing)
    why, out, err = measured_as_user(name, what)
    if what == "memory":
        assert_stopped(why, out, err, at_most=1.5)
    elif what == "processor":
        assert_share(out, err)
    else:
        assert_exact(what, out, err)

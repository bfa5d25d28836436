"""What must work behind the walls does: each attack of the escape suite has its harmless twin here."""

from __future__ import annotations

import pytest
from tests.real.escape.drivers import DRIVERS
from tests.real.escape.played import OURS, impediment
from tests.real.escape.twins import ABSENT, JOBS, played_twins

pytestmark = [pytest.mark.real, pytest.mark.timeout(420)]


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(("driver", "who"), OURS)
def test_honest_work_is_done(driver: str, who: str, job: str) -> None:
    reason = impediment(driver)
    if reason:
        pytest.skip(reason)
    if JOBS[job].needs_network and not DRIVERS[driver].has_network:
        pytest.skip(f"{driver} is for plugins without a network")
    printed = played_twins(driver, who)[job]
    if printed.startswith(ABSENT):
        pytest.skip(printed.removeprefix(ABSENT))
    if job in DRIVERS[driver].cannot:
        assert printed.startswith("failed: "), "it goes after all: strike it from the list"
        pytest.skip(f"{driver} has no room for it: {DRIVERS[driver].cannot[job]}")
    assert not printed.startswith("failed: "), printed
    assert JOBS[job].prints in (None, printed)

"""Plays chosen scenes on a host that is not ours, however slow: `python -m tests.real.escape.elsewhere bubblewrap:user`.

Says of each scene what got through that was not known to, what was not tried to its end, and where this host differs
from the page; with `--twins`, which honest work was not done. Ends with 1 when a wall fell, a probe hung, a listed host
was not reached or honest work failed. Writes nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tests.real.escape.drivers import DRIVERS
from tests.real.escape.played import OURS, impediment, played
from tests.real.escape.program import catalogue
from tests.real.escape.report import ABSENT, HELD, WORKS, measured, name_of
from tests.real.escape.twins import ABSENT as NOT_THERE
from tests.real.escape.twins import JOBS, played_twins

__all__ = ["complaints", "differences", "idle", "main"]

FUNCTIONS: Final = frozenset({"X00", "X01"})
BARE: Final = ("bare:user", "bare:root")
HUNG: Final = "it hung"

Found = Mapping[str, Mapping[str, Any]]


def complaints(driver: str, found: Found) -> list[str]:
    """What contradicts this driver's claim; nothing is claimed of a place without walls."""
    if driver not in DRIVERS:
        return []
    claim, known = DRIVERS[driver], catalogue()
    wanted = FUNCTIONS if claim.has_network else frozenset()
    said = [f"{id_} was not tried" for id_ in known if id_ not in found]
    for id_, one in found.items():
        if one["detail"] == HUNG:
            said.append(f"{id_} hung")
        if one["works"] and not known[id_].is_informational and id_ not in wanted | claim.gets_through:
            said.append(f"{id_} got through: {one['detail']}")
        if id_ in wanted and not one["works"]:
            said.append(f"{id_} must work and does not: {one['detail']}")
    return said


def differences(found: Found, told: Mapping[str, str]) -> Iterator[str]:
    """Where a probe came out otherwise than on the page, and why."""
    for id_, one in found.items():
        mark = WORKS if one["works"] else ABSENT if one.get("absent") else HELD
        if mark != told.get(id_, mark):
            yield f"{id_} {told[id_]} on the page, {mark} here: {one['detail']}"


def idle(driver: str, printed: Mapping[str, str]) -> Iterator[str]:
    """Honest work that was not done, though its program is there and the driver has room for it."""
    for name, said in printed.items():
        is_done = JOBS[name].prints in {None, said} and not said.startswith("failed: ")
        if not (is_done or said.startswith(NOT_THERE) or name in DRIVERS[driver].cannot):
            yield f"{name}: {said}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _play(scene: str, patience: float) -> bool:
    driver, who = scene.split(":")
    began = time.monotonic()
    found = played(driver, who, patience)
    through = [id_ for id_, one in found.items() if one["works"] and not catalogue()[id_].is_informational]
    said = complaints(driver, found)
    reached = sum(id_ in FUNCTIONS for id_ in through)
    _say(
        f"{scene}: {len(through) - reached} of {len(found) - len(FUNCTIONS)} got through, listed host {reached} of 2, "
        f"{time.monotonic() - began:.0f} s"
    )
    for line in (
        *said,
        *differences(found, measured().get(name_of(driver, who), {})),
    ):
        _say(f"    {line}")
    return not said


def _play_twins(scene: str, patience: float) -> bool:
    driver, who = scene.split(":")
    printed = played_twins(driver, who, patience)
    failed = list(idle(driver, printed))
    absent = sum(said.startswith(NOT_THERE) for said in printed.values())
    _say(f"{scene}: {len(printed) - absent - len(failed)} of {len(printed) - absent} twins worked")
    for line in failed:
        _say(f"    {line}")
    return not failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Play them in turn; a scene that cannot be played is told, and counts as a failure."""
    ours = tuple(f"{driver}:{who}" for driver, who in OURS)
    parser = argparse.ArgumentParser(prog="python -m tests.real.escape.elsewhere", description=__doc__)
    parser.add_argument("scenes", nargs="+", choices=(*BARE, *ours), metavar="DRIVER:USER")
    parser.add_argument("--patience", type=float, default=1.0, help="every wait, times this")
    parser.add_argument("--twins", action="store_true", help="honest work behind the same walls as well")
    asked = parser.parse_args(arguments)
    is_good = True
    for scene in asked.scenes:
        driver = scene.split(":")[0]
        missing = impediment(driver)
        try:
            if missing:
                raise RuntimeError(missing)
            is_good &= _play(scene, asked.patience)
            if asked.twins and driver in DRIVERS:
                is_good &= _play_twins(scene, asked.patience)
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            _say(f"{scene}: not played: {error}")
            is_good = False
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

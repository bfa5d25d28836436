"""Nothing gets out: every probe in every driver, as root and as nobody in particular; bare, most of them succeed."""

from __future__ import annotations

import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.real.escape.drivers import DRIVERS
from tests.real.escape.played import OURS, impediment, played, working
from tests.real.escape.program import FAMILIES, catalogue
from tests.real.escape.report import MEASURED, PAGE, column, counts, data, measured, name_of, read

pytestmark = [pytest.mark.real, pytest.mark.timeout(420)]

FUNCTIONS: Final = ("X00", "X01")
# Whatever machine this is, an ordinary user without walls can do at least this.
BARE_AT_LEAST: Final = frozenset(
    """
    F02 F03 F04 F05 F06 F07 F08 F09 F10 F11 F12 F13 F14 F18 F23 F25 F31 F32 F37 F40
    P01 P02 P05 P07 P11 P13 P15 P16 P17 P18 P20 K25 K26 K27 S03 S09 S15 S16 S17
    N01 N02 N03 N04 N05 N07 N08 N09 N10 N11 N13 N16 N17
    M01 M02 M03 M04 M05 M06 M07 M08 M09 M10 M11 M12 M13 M14 M15 M16 M17 M18 M19 M20 M21
    """.split()  # noqa: SIM905
)
BARE_ROOT_AT_LEAST: Final = frozenset("F01 F17 F28 K01 K15 K17 K24 K33 S01 S02".split())  # noqa: SIM905


def counted(found: dict[str, str]) -> set[str]:
    """Those that are attacks, and not facts or functions."""
    known = catalogue()
    return {id_ for id_ in found if not known[id_].is_informational and not known[id_].is_function}


def needs(where: str) -> None:
    """Skip what cannot be played here."""
    reason = impediment(where)
    if reason:
        pytest.skip(reason)


@pytest.mark.requirement("A3.3")
@pytest.mark.threat("T-READ-HOST")
@pytest.mark.threat("T-READ-PEER")
@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(("driver", "who"), OURS)
def test_no_probe_gets_out(driver: str, who: str) -> None:
    needs(driver)
    through = counted(working(driver, who))
    assert through <= DRIVERS[driver].gets_through, {id_: working(driver, who)[id_] for id_ in through}


@pytest.mark.parametrize(("driver", "who"), OURS)
def test_the_listed_host_is_reached_through_the_door(driver: str, who: str) -> None:
    needs(driver)
    reached = {id_ for id_ in FUNCTIONS if id_ in working(driver, who)}
    assert reached == (set(FUNCTIONS) if DRIVERS[driver].has_network else set())


@pytest.mark.parametrize(("driver", "who"), OURS)
def test_every_probe_was_tried_to_its_end(driver: str, who: str) -> None:
    needs(driver)
    found = played(driver, who)
    assert set(found) == set(catalogue())
    assert not [id_ for id_, one in found.items() if one["detail"] == "it hung"]


@pytest.mark.parametrize(
    ("who", "least"), [("user", BARE_AT_LEAST), ("root", BARE_ROOT_AT_LEAST)], ids=["user", "root"]
)
def test_without_walls_the_probes_succeed_so_that_a_failure_proves_something(
    who: str, least: frozenset[str]
) -> None:
    needs("bare")
    assert least <= set(working("bare", who)), sorted(least - set(working("bare", who)))


def test_every_probe_of_the_list_we_began_with_is_still_tried() -> None:
    """80 against the host and 16 against the door: their numbers are kept, so that both lists can be compared."""
    began = {"F": range(1, 24), "P": range(1, 14), "K": range(1, 28), "S": range(1, 9), "N": range(1, 12)}
    informational = {"F19", "K23"}
    host = {f"{letter}{number:02}" for letter, numbers in began.items() for number in numbers} - informational
    door = {f"X{number:02}" for number in range(2, 18)}
    assert (len(host), len(door)) == (80, 16)
    assert host | door <= counted(dict.fromkeys(catalogue(), ""))


def test_there_are_as_many_probes_as_we_promise() -> None:
    sizes = {letter: size for letter, (_, size) in counts({}).items()}
    assert set(sizes) == set(FAMILIES)
    assert sum(size for letter, size in sizes.items() if letter != "X") >= 100
    assert sizes["X"] >= 16


@pytest.mark.parametrize(("driver", "who"), OURS)
def test_the_data_say_what_was_just_seen(driver: str, who: str) -> None:
    needs(driver)
    told = measured()[name_of(driver, who)]
    seen = column(driver, who)
    assert {id_ for id_, mark in told.items() if mark == "A"} == {
        id_ for id_, mark in seen.items() if mark == "A"
    }


def test_every_probe_that_the_page_speaks_of_exists() -> None:
    words = PAGE.read_text(encoding="utf-8").partition(MEASURED)[0]
    assert set(re.findall(r"\b[FPKSNMX]\d\d\b", words)) <= set(catalogue())


@given(st.dictionaries(st.sampled_from(sorted(catalogue())), st.sampled_from("A-."), min_size=1))
def test_the_data_say_what_was_written(marks: dict[str, str]) -> None:
    every = dict.fromkeys(catalogue(), ".") | marks
    assert read(data({"here (user)": every})) == {"here (user)": every}


def test_a_strict_driver_claims_no_exception() -> None:
    for name, claim in DRIVERS.items():
        assert len(claim.gets_through) <= (0 if claim.isolation == "strict" else 1), name

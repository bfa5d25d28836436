"""The page of what gets out is made of its data: nobody edits one without the other."""

from __future__ import annotations

from tests.real.escape.played import OURS
from tests.real.escape.program import catalogue
from tests.real.escape.report import DATA, MEASURED, PAGE, data, last, measured, name_of, page

MAX_COLUMNS = 10  # what fits beside each other on a screen


def test_the_page_is_made_of_the_data() -> None:
    head, _, generated = PAGE.read_text(encoding="utf-8").partition(MEASURED)
    assert MEASURED + generated == page(measured(), last(generated))
    assert DATA.name in head


def test_the_data_hold_every_probe_and_every_wall_of_ours() -> None:
    columns = measured()
    assert data(columns) == DATA.read_text(encoding="utf-8")
    assert {name_of(*scene) for scene in OURS} <= set(columns)
    assert all(set(marks) == set(catalogue()) for marks in columns.values())


def test_its_tables_can_be_read() -> None:
    tables = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert max(line.count("|") - 1 for line in tables) <= MAX_COLUMNS

"""The page says what is run, and every row can be run."""

from __future__ import annotations

from pathlib import Path

from tests.interop.installing import PACKAGES, SETS
from tests.interop.page import page
from tests.interop.subjects import CLIENTS, SERVERS

HERE = Path(__file__).resolve().parent


def test_the_page_is_what_the_rows_say() -> None:
    written = (HERE.parents[1] / "docs" / "reference" / "interop.md").read_text(encoding="utf-8")
    assert written == page()


def test_every_client_has_its_driver_and_its_set() -> None:
    for client in CLIENTS:
        assert (HERE / "drivers" / client.driver).exists(), client.name
        assert client.set_name in ("", *SETS), client.name


def test_every_set_is_pinned() -> None:
    for name in SETS:
        pins = (PACKAGES / f"{name}.txt", PACKAGES / name / "package-lock.json")
        assert any(path.exists() for path in pins), name


def test_no_row_stands_twice() -> None:
    for rows in (SERVERS, CLIENTS):
        assert len({row.name for row in rows}) == len(rows)

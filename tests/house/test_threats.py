"""Every threat of the model is shown by a test, and every threat a test names is in the model."""

from __future__ import annotations

import re
from collections.abc import Callable

ROW = re.compile(r"^\| (T-[A-Z]+(?:-[A-Z]+)*) \|(.+)\|$", re.MULTILINE)


def _rows(pages: dict[str, str]) -> dict[str, list[str]]:
    found = ROW.findall(pages["docs/concepts/threat-model.md"])
    assert len({name for name, _ in found}) == len(found), "an id stands twice"
    return {name: [cell.strip() for cell in rest.split("|")] for name, rest in found}


def test_every_threat_states_attack_answer_and_what_remains(pages: dict[str, str]) -> None:
    for name, cells in _rows(pages).items():
        assert len(cells) == 3, name
        assert all(cells), name


def test_every_threat_is_shown_by_a_test(
    pages: dict[str, str], marked: Callable[[str], dict[str, set[str]]]
) -> None:
    missing = set(_rows(pages)) - set(marked("threat"))
    assert not missing, f"no test carries {sorted(missing)}"


def test_every_threat_a_test_names_is_in_the_model(
    pages: dict[str, str], marked: Callable[[str], dict[str, set[str]]]
) -> None:
    assert not set(marked("threat")) - set(_rows(pages))


def test_every_threat_id_in_the_documents_is_in_the_model(pages: dict[str, str]) -> None:
    for page, text in pages.items():
        assert not set(re.findall(r"\bT-[A-Z]{3,}(?:-[A-Z]+)*\b", text)) - set(_rows(pages)), page

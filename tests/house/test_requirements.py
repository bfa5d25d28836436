"""A requirement counts as met only while a named test shows it; manifest and markers agree both ways."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STATES = {"met", "partial", "planned"}


@pytest.fixture(scope="module")
def manifest(root: Path) -> dict[str, dict[str, Any]]:
    entries = tomllib.loads((root / "docs/reference/requirements.toml").read_text(encoding="utf-8"))[
        "requirement"
    ]
    by_id = {entry["id"]: entry for entry in entries}
    assert len(by_id) == len(entries), "an id stands twice"
    return by_id


def test_every_entry_is_complete(manifest: dict[str, dict[str, Any]], root: Path) -> None:
    for name, entry in manifest.items():
        assert set(entry) == {"id", "line", "state", "tests", "page"}, name
        assert entry["state"] in STATES, name
        assert "\n" not in entry["line"], name
        assert (root / entry["page"]).is_file(), f"{name}: {entry['page']} does not exist"


def test_a_state_above_planned_needs_a_test_and_planned_has_none(manifest: dict[str, dict[str, Any]]) -> None:
    for name, entry in manifest.items():
        assert (entry["state"] == "planned") == (not entry["tests"]), name


def test_every_marker_names_a_requirement_that_exists(
    manifest: dict[str, dict[str, Any]], marked: Callable[[str], dict[str, set[str]]]
) -> None:
    assert not set(marked("requirement")) - set(manifest)


def test_manifest_and_markers_name_the_same_tests(
    manifest: dict[str, dict[str, Any]], marked: Callable[[str], dict[str, set[str]]]
) -> None:
    shown = marked("requirement")
    for name, entry in manifest.items():
        assert entry["tests"] == sorted(set(entry["tests"])), f"{name}: sort its tests, each once"
        assert set(entry["tests"]) == shown.get(name, set()), f"{name}: tests and markers differ"

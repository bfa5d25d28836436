"""Which Pythons are promised is said once for tools and once for people, and each says the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from dev import PYTHONS

NAMES = [f"{major}.{minor}" for major, minor in PYTHONS]


def _project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_package_names_them(root: Path) -> None:
    project = _project(root)["project"]
    said = [
        re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one) for one in project["classifiers"]
    ]
    assert [one[1] for one in said if one] == NAMES
    assert project["requires-python"] == f">={NAMES[0]}"


def test_the_source_is_checked_for_the_oldest(root: Path) -> None:
    tools = _project(root)["tool"]
    assert tools["mypy"]["python_version"] == NAMES[0]
    assert tools["ruff"]["target-version"] == "py" + NAMES[0].replace(".", "")


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "CONTRIBUTING.md", "docs/tutorial.md"])
def test_people_are_told_the_same(root: Path, page: str) -> None:
    text = (root / page).read_text(encoding="utf-8")
    said = re.search(r"Python[ ,]*(3\.\d+)(?: to |〜)(3\.\d+)", text)
    assert said is not None
    assert list(said.groups()) == [NAMES[0], NAMES[-1]]

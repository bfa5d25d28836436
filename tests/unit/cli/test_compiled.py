"""What was compiled at installation is told by `version` and `doctor`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import pytest

from sekisho.cli import compiled
from sekisho.cli.compiled import examine_build, is_compiled
from sekisho.gateway import front


def test_what_is_told_is_how_the_front_was_imported() -> None:
    assert is_compiled() != str(front.__file__).endswith(".py")


@pytest.mark.parametrize("suffix", ["", *EXTENSION_SUFFIXES])
def test_a_library_beside_the_source_is_found(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "gateway").mkdir()
    (tmp_path / "gateway" / f"front{suffix or '.py'}").touch()
    assert compiled._has_library(tmp_path) == bool(suffix)


def test_the_row_of_doctor_never_fails_it_and_says_how_to_mend() -> None:
    row = examine_build()
    assert not row.needed
    assert row.ok == is_compiled()
    assert bool(row.fix) != row.ok


def test_version_says_how_the_modules_run(typed: Callable[..., Any]) -> None:
    expected = "compiled" if is_compiled() else "interpreted"
    assert typed("version", "--json").json["modules"] == expected

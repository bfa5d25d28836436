"""The page and `--help` say the same."""

from __future__ import annotations

from pathlib import Path

from sekisho.cli.app import COMMANDS
from sekisho.cli.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_page_equals_the_help_of_every_command() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "write it again: sekisho.cli.reference.reference()"
    )


def test_every_command_stands_on_the_page() -> None:
    page = reference()
    for command in COMMANDS:
        assert f"\n## sekisho {command}\n" in page
        assert f"Usage: sekisho {command}" in page

"""The parts of the launcher that can be shown without a namespace; its walls are shown in tests/real."""

from __future__ import annotations

from pathlib import Path

from sekisho.launcher import serving


def test_its_entry_is_a_file_that_can_be_started_by_path() -> None:
    entry = Path(serving.ENTRY)
    assert entry.is_file()
    assert entry.parent == Path(serving.__file__).parent

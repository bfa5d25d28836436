"""What a private folder holds, against what it may hold."""

from __future__ import annotations

import os
from pathlib import Path

from tests.unit.launcher.forked import in_a_child

from sekisho.launcher import occupied

MIB = 1 << 20


def test_what_lies_deep_counts_and_what_a_link_leads_to_does_not(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 4 * MIB)
    inside = tmp_path / "inside"
    (inside / "a" / "b").mkdir(parents=True)
    (inside / "link").symlink_to(outside)
    (inside / "a" / "b" / "x").write_bytes(b"x" * 2 * MIB)
    assert occupied.is_over(str(inside), MIB)
    assert not occupied.is_over(str(inside), 3 * MIB)


def test_a_hole_in_a_file_takes_no_room(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(64 * MIB)
    assert not occupied.is_over(str(tmp_path), MIB)


def test_too_many_entries_are_too_much(tmp_path: Path) -> None:
    before, occupied.MAX_ENTRIES = occupied.MAX_ENTRIES, 10  # type: ignore[misc]  # twenty thousand take a while
    try:
        for number in range(11):
            (tmp_path / str(number)).touch()
        assert occupied.is_over(str(tmp_path), 1 << 40)
    finally:
        occupied.MAX_ENTRIES = before  # type: ignore[misc]  # as it was


def test_a_folder_that_is_gone_holds_nothing(tmp_path: Path) -> None:
    assert not occupied.is_over(str(tmp_path / "gone"), 0)


def test_what_lies_too_deep_to_be_counted_is_too_much(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d"] * (occupied.MAX_DEPTH - 1))
    deep.mkdir(parents=True)
    assert not occupied.is_over(str(tmp_path), MIB)
    (deep / "d").mkdir()
    assert occupied.is_over(str(tmp_path), MIB)


def test_a_folder_that_may_not_be_looked_into_is_too_much(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o300)

    def body() -> object:
        if os.geteuid() == 0:
            os.chown(hidden, 65534, 65534)
            for folder in (tmp_path, *tmp_path.parents[:3]):
                folder.chmod(0o755)
            os.setresuid(65534, 65534, 65534)
        before = occupied.is_over(str(tmp_path), MIB)
        hidden.chmod(0o700)
        return before, occupied.is_over(str(tmp_path), MIB)

    assert in_a_child(body) == "(True, False)"

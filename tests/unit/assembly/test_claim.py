from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.assembly.claim import Claim
from sekisho.errors import Misconfigured


def test_the_second_in_a_home_is_refused_until_the_first_has_gone(tmp_path: Path) -> None:
    first = Claim(tmp_path)
    with pytest.raises(Misconfigured, match="another sekisho up runs") as caught:
        Claim(tmp_path)
    assert "home of its own" in caught.value.remedy
    first.close()
    Claim(tmp_path).close()


def test_two_homes_are_two_gateways(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    first, second = Claim(tmp_path / "one"), Claim(tmp_path / "other")
    first.close()
    second.close()


def test_a_home_reached_by_another_path_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "also").symlink_to(tmp_path / "home")
    first = Claim(tmp_path / "home")
    with pytest.raises(Misconfigured, match="another sekisho up runs"):
        Claim(tmp_path / "also")
    first.close()


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "up.lock").mkdir()
    with pytest.raises(Misconfigured, match=r"up\.lock cannot be written: Is a directory"):
        Claim(tmp_path)

"""Compiled rules are kept for the next start, and never trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.assembly.content_rules import open_inspection
from sekisho.config import CoreConfig

KEY = b'{"a":"-----BEGIN OPENSSH PRIVATE KEY-----\\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMw"}'


def test_what_was_compiled_once_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    assert open_inspection(CoreConfig(), path).judge_arguments(KEY).refused
    kept = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    again = open_inspection(CoreConfig(), path)
    assert again.judge_arguments(KEY).refused
    assert path.read_bytes() == kept
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("damage", [b"", b"x" * 100, b"\x80"])
def test_a_damaged_file_is_made_again(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "rules"
    path.write_bytes(damage)
    assert open_inspection(CoreConfig(), path).judge_arguments(KEY).refused
    assert path.read_bytes() != damage


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "rules"
    open_inspection(CoreConfig(), path)
    kept = path.read_bytes()
    path.write_bytes(kept[:-100] + bytes([kept[-100] ^ 1]) + kept[-99:])
    assert open_inspection(CoreConfig(), path).judge_arguments(KEY).refused
    assert path.read_bytes() == kept


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "rules"
    assert open_inspection(CoreConfig(), path).judge_arguments(KEY).refused
    assert not path.exists()

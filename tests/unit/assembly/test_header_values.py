"""Where the values of chosen headers come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.assembly.header_values import header_values
from sekisho.errors import SekishoError


def test_values_come_from_the_environment_and_from_private_files(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("k-1\n")
    secret.chmod(0o600)
    references = (("Authorization", "env:TOKEN"), ("X-Key", f"file:{secret}"))
    assert header_values(references, {"TOKEN": "Bearer t"}) == {"Authorization": "Bearer t", "X-Key": "k-1"}


def test_a_value_that_is_not_there_stops_the_plugin(tmp_path: Path) -> None:
    shared, empty, odd = tmp_path / "shared", tmp_path / "empty", tmp_path / "odd"
    shared.write_text("x")
    shared.chmod(0o644)
    empty.touch(0o600)
    odd.touch(0o600)
    odd.write_bytes(b"\xff")
    for reference in (
        "env:TOKEN",
        f"file:{tmp_path / 'absent'}",
        f"file:{shared}",
        f"file:{empty}",
        f"file:{odd}",
    ):
        with pytest.raises(SekishoError) as caught:
            header_values((("Authorization", reference),), {})
        assert caught.value.code == "key_unavailable"

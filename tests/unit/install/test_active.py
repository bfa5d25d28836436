"""The note of which tree a plugin uses is read as it was written, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Tampered
from sekisho.install.active import Active, read_active, write_active

ONE, TWO = "1" * 64, "2" * 64


def test_a_plugin_without_a_note_uses_nothing(tmp_path: Path) -> None:
    assert read_active(tmp_path, "x") is None


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    write_active(tmp_path, "x", Active(current=ONE, asked="npm:x@1"))
    second = Active(current=TWO, asked="npm:x@2", before=(ONE,))
    write_active(tmp_path, "x", second)
    assert read_active(tmp_path, "x") == second
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


@given(content=st.binary(max_size=200))
def test_a_note_of_other_bytes_is_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "x.json").write_bytes(content)
    with pytest.raises(Tampered, match="x uses"):
        read_active(folder, "x")


@pytest.mark.parametrize("name", ["../../etc", "", "1" * 63, "A" * 64])
def test_a_note_that_names_no_digest_is_refused(tmp_path: Path, name: str) -> None:
    for active in (Active(current=name, asked="x"), Active(current=ONE, asked="x", before=(name,))):
        write_active(tmp_path, "x", active)
        with pytest.raises(Tampered):
            read_active(tmp_path, "x")

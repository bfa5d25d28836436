"""The upper layer hides the lower one, name by name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sekisho.sandbox.drafts.beneath import open_root, opened
from sekisho.sandbox.drafts.merged import link_at
from sekisho.sandbox.drafts.overlay_marks import OPAQUE


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    """A draft, and the folder below it with a link at its top and one further down."""
    upper, lower = tmp_path.resolve() / "upper", tmp_path.resolve() / "lower"
    upper.mkdir()
    (lower / "sub").mkdir(parents=True)
    (lower / "top").symlink_to("old")
    (lower / "sub" / "deep").symlink_to("old")
    return upper, lower


def seen(layers: tuple[Path, Path], path: str) -> str | None:
    with opened(open_root(str(layers[0]))) as upper, opened(open_root(str(layers[1]))) as lower:
        return link_at(upper, lower, tuple(path.split("/")))


def test_what_no_layer_above_names_is_seen_from_below(layers: tuple[Path, Path]) -> None:
    assert (seen(layers, "top"), seen(layers, "sub/deep"), seen(layers, "none")) == ("old", "old", None)


def test_what_stands_above_hides_what_is_below(layers: tuple[Path, Path]) -> None:
    (layers[0] / "top").symlink_to("new")
    (layers[0] / "sub").mkdir()
    os.mknod(layers[0] / "sub" / "deep", stat.S_IFCHR, 0)
    assert (seen(layers, "top"), seen(layers, "sub/deep")) == ("new", None)


def test_an_opaque_folder_hides_all_that_is_below(layers: tuple[Path, Path]) -> None:
    (layers[0] / "sub").mkdir()
    assert seen(layers, "sub/deep") == "old"
    os.setxattr(layers[0] / "sub", OPAQUE, b"y")
    assert seen(layers, "sub/deep") is None


def test_a_file_in_the_place_of_a_folder_leads_nowhere(layers: tuple[Path, Path]) -> None:
    (layers[0] / "sub").write_text("a file now")
    assert seen(layers, "sub/deep") is None

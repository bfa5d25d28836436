"""The word that every driver renders in its own way."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from sekisho.sandbox.mount import Mount, is_below, normal


def test_a_mount_is_a_value_that_nobody_changes() -> None:
    mount = Mount(kind="read", path="/usr", source="/usr")
    assert mount == Mount(kind="read", path="/usr", source="/usr")
    with pytest.raises(FrozenInstanceError):
        mount.kind = "write"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("path", "is_inside"),
    [("/srv", True), ("/srv/in/deep", True), ("/srvice", False), ("/", False), ("/other", False)],
)
def test_a_path_is_below_a_folder_by_whole_names(path: str, is_inside: bool) -> None:
    assert is_below(path, ("/usr", "/srv")) == is_inside


@pytest.mark.parametrize(("path", "plain"), [("/srv/", "/srv"), ("//srv", "/srv"), ("/srv/./in", "/srv/in")])
def test_a_path_has_one_spelling(path: str, plain: str) -> None:
    assert normal(path) == plain

"""A link may stay when it leads nowhere else, now and later; each attack has a harmless twin."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.sandbox.drafts.links import why_astray

FOLDER = "/srv/data"
LINKS = {("in",): "sub", ("out",): "/etc", ("a",): "b", ("b",): "a", ("sub", "over"): "../../x"}


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("x", "file"),
        ("x", "./sub/./file"),
        ("sub/x", "../file"),
        ("sub/deep/x", "../../file"),
        ("x", "/srv/data/sub/file"),
        ("x", "in/file"),
        ("x", "not/there/yet"),
        ("x", "/srv/data"),
    ],
)
def test_a_link_that_stays_inside_may_stay(place: str, target: str) -> None:
    assert why_astray(FOLDER, tuple(place.split("/")), target, LINKS.get) == ""


@pytest.mark.parametrize(
    ("place", "target"),
    [
        ("x", "/etc/passwd"),
        ("x", "/srv/database"),
        ("x", "/srv"),
        ("x", ".."),
        ("sub/x", "../../data/file"),
        ("x", "/srv/data/../other"),
        ("x", "sub/../../other"),
        ("x", "sub/../file"),  # means another place as soon as sub is a link
        ("x", "out/passwd"),
        ("x", "a/file"),
        ("sub/x", "over/file"),
    ],
)
def test_a_link_that_leads_out_or_may_come_to_is_refused(place: str, target: str) -> None:
    assert why_astray(FOLDER, tuple(place.split("/")), target, LINKS.get)


NAMES = st.sampled_from(["a", "b", "c", "..", "."])


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "d/a", "d/b"]), st.lists(NAMES, min_size=1, max_size=4))
)
def test_what_passes_resolves_inside_on_a_real_file_system(
    tmp_path_factory: pytest.TempPathFactory, links: dict[str, list[str]]
) -> None:
    folder = Path(os.path.realpath(tmp_path_factory.mktemp("links"))) / "folder"
    (folder / "d").mkdir(parents=True)
    targets = {tuple(place.split("/")): "/".join(parts) for place, parts in links.items()}
    passed = {
        place: target
        for place, target in targets.items()
        if not why_astray(str(folder), place, target, targets.get)
    }
    for place, target in passed.items():
        folder.joinpath(*place).symlink_to(target)
    for place in passed:
        end = Path(os.path.realpath(folder.joinpath(*place)))
        assert end == folder or folder in end.parents


def test_links_that_multiply_each_other_cost_no_more_than_the_kernel_would_follow() -> None:
    asked = 0
    links: dict[tuple[str, ...], str] = {
        ("x",): ".",
        **{(f"y{n}",): "/".join(["x" if n == 0 else f"y{n - 1}"] * 500) for n in range(20)},
    }

    def link_at(place: tuple[str, ...]) -> str | None:
        nonlocal asked
        asked += 1
        return links.get(place)

    assert why_astray(FOLDER, ("z",), "y19", link_at)
    assert asked < 100
    assert not why_astray(FOLDER, ("z",), "x/x/x/file", link_at)

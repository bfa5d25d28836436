"""The parts of staging that need no namespace; the rest is shown in tests/real/test_drafts.py."""

from __future__ import annotations

import pytest

from sekisho.launcher import staging


def test_sources_that_were_prepared_take_the_place_of_their_names_and_nothing_else_does() -> None:
    words = ["--ro-bind", "/usr", "/usr", "--bind", "/srv", "/srv", "--chdir", "/srv", "--clearenv"]
    words += ["--setenv", "A", "--bind", "/srv"]
    places = {"/srv": "/tmp/1"}
    made = staging.rebound(words, places)
    assert made == ["--ro-bind", "/usr", "/usr", "--bind", "/tmp/1", "/srv", *words[6:]]
    assert staging.rebound([], places) == []


def test_what_lies_below_a_folder_is_told_from_what_only_begins_alike() -> None:
    assert staging.is_below("/srv/data/x", ["/srv/data"])
    assert staging.is_below("/srv/data", ["/srv/data"])
    assert not staging.is_below("/srv/database", ["/srv/data"])


@pytest.mark.parametrize("kind", ["native", "landlock", "unsafe-none"])
def test_where_nothing_has_to_be_prepared_nothing_is(kind: str) -> None:
    request = {
        "kind": kind,
        "options": ["--bind", "/srv", "/srv"],
        "staging": {"overlays": [], "owner": None, "sources": ["/srv"], "mapped": [], "writable": ["/srv"]},
    }
    before = repr(request)
    staging.stage(request)
    assert repr(request) == before

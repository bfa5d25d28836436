from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server import scopes
from sekisho.plugin_server.scopes import LEVELS, MAX_URIS_PER_SCOPE, Interest, Scopes, is_part_of

STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from("uvw"), st.sampled_from(["follow", "unfollow", "level"])
    ),
    max_size=60,
)


@given(STEPS)
def test_who_follows_what_is_counted_exactly(steps: list[tuple[str, str, str]]) -> None:
    interest = Interest()
    table = Scopes(interest)
    following: set[tuple[str, str]] = set()
    levels: dict[str, str] = {}
    for number, (scope, uri, step) in enumerate(steps):
        before = {followed for _, followed in following}
        if step == "follow":
            assert table.follow(scope, uri) == (True, [])
            following.add((scope, uri))
        elif step == "unfollow":
            following.discard((scope, uri))
            gone = table.unfollow(scope, uri)
            assert set(gone) == before - {followed for _, followed in following}
        else:
            levels[scope] = list(LEVELS)[number % len(LEVELS)]
            assert table.set_level(scope, levels[scope]) == []
        assert set(interest.uris) == {followed for _, followed in following}
        assert table.most_verbose() == min(levels.values(), key=LEVELS.__getitem__, default=None)


@pytest.mark.threat("T-FLOOD")
def test_the_scope_used_longest_ago_is_forgotten_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scopes, "MAX_SCOPES", 2)
    interest = Interest()
    table = Scopes(interest)
    table.follow("a", "u")
    table.set_level("a", "debug")
    table.follow("b", "v")
    assert table.get("a") is not None  # used again
    assert table.set_level("c", "error") == ["v"]
    assert (table.get("b"), len(table)) == (None, 2)
    assert table.follow("d", "w") == (True, ["u"])
    assert table.most_verbose() == "error"
    assert interest.uris == ["w"]


@pytest.mark.threat("T-FLOOD")
def test_one_scope_follows_a_bounded_number() -> None:
    table = Scopes(Interest())
    for number in range(MAX_URIS_PER_SCOPE):
        assert table.follow("a", f"u{number}")[0]
    assert table.follow("a", "one more") == (False, [])
    assert table.follow("a", "u0") == (True, [])


@pytest.mark.threat("T-FLOOD")
def test_beyond_the_bound_of_all_only_what_is_followed_already_can_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scopes, "MAX_URIS", 1)
    interest = Interest()
    table = Scopes(interest)
    assert table.follow("a", "u") == (True, [])
    assert table.follow("b", "v") == (False, [])
    assert table.follow("b", "u") == (True, [])
    assert "v" not in interest


@given(st.lists(st.sampled_from("uvw")), st.lists(st.sampled_from("uvw")))
def test_nothing_is_given_back_that_was_not_taken(added: list[str], dropped: list[str]) -> None:
    interest = Interest()
    assert set(interest.add(added)) == set(added)
    interest.drop(dropped)
    assert Counter(added) - Counter(dropped) == Counter({uri: interest._counts[uri] for uri in interest.uris})


def test_a_part_of_a_resource_belongs_to_it_and_a_neighbour_does_not() -> None:
    assert is_part_of("file:///a", "file:///a")
    assert is_part_of("file:///a/b", "file:///a")
    assert is_part_of("file:///a/b", "file:///a/")
    assert not is_part_of("file:///ab", "file:///a")
    assert not is_part_of("file:///a", "file:///a/b")

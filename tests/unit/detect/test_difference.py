"""A difference is what `diff -u` says, and nobody can make it long to find."""

from __future__ import annotations

import difflib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.detect import difference as module
from sekisho.detect.difference import difference

LINES = st.lists(st.sampled_from("abcde"), max_size=30)


@given(LINES, LINES, st.sampled_from([0, 1, 3, 100]))
def test_it_is_the_difference_that_everybody_knows(old: list[str], new: list[str], context: int) -> None:
    expected = list(difflib.unified_diff(old, new, lineterm="", n=context))[2:]
    assert list(difference(old, new, context=context)) == expected


@pytest.mark.threat("T-HIDDEN")
@given(LINES, LINES)
def test_nothing_is_left_out_where_the_search_is_given_up(old: list[str], new: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_WORK", 0)
        lines = list(difference(old, new, context=100))
    if old == new:
        assert lines == []
        return
    assert [line[1:] for line in lines[1:] if line[0] in " -"] == old
    assert [line[1:] for line in lines[1:] if line[0] in " +"] == new


@pytest.mark.threat("T-HIDDEN")
def test_lines_made_to_be_searched_for_minutes_are_shown_at_once() -> None:
    def text(other: str) -> list[str]:
        return [line for number in range(20_000) for line in (f"x{number % 490}", f"{other}{number}")]

    old, new = text("u"), text("v")
    # what the search would find is left out of it: it was given up
    assert list(difference(old, new, context=0)) == [
        "@@ -2,39999 +2,39999 @@",
        *(f"-{line}" for line in old[1:]),
        *(f"+{line}" for line in new[1:]),
    ]


def test_an_honest_change_of_a_long_text_is_searched_to_the_end() -> None:
    old = [random.Random(number).choice(["", "    }", f"line {number}"]) for number in range(20_000)]
    new = [*old[:50], "one more", *old[50:10_000], *old[10_001:]]
    changed = [line for line in difference(old, new) if line[0] != " "]
    assert [line for line in changed if line[0] != "@"] == ["+one more", f"-{old[10_000]}"]

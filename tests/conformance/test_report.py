"""The page of results says what it was given, and nothing gets lost on the way back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.report import CLIENT, page, read

REVISIONS = st.sampled_from(["2025-06-18", "2025-11-25", "2026-07-28"])
SCENARIOS = st.sampled_from(["tools-list", "auth/basic-cimd", "server-sse-polling", "caching"])
CELLS = st.sampled_from(["stdio", "http", CLIENT])


@given(st.dictionaries(st.tuples(REVISIONS, SCENARIOS, CELLS), st.booleans()))
def test_what_a_page_says_is_what_was_found(results: dict[tuple[str, str, str], bool]) -> None:
    assert read(page(results)) == results


def test_a_scenario_that_is_not_scored_is_marked_and_not_counted() -> None:
    text = page({("2025-11-25", "server-sse-polling", "stdio"): False, ("2025-11-25", "ping", "stdio"): True})
    assert "| server-sse-polling (unscored) | **no** |" in text
    assert "| scored, passed | 1 of 1 |" in text

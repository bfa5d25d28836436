"""Every answer that could be a question is found, however large it is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.input_required import asks_within, is_input_required


@given(st.lists(st.sampled_from([b'"', b"x" * 20_000, b'""' * 300, b'"input_required"', b"input_required"])))
def test_a_large_result_is_searched_by_leaps_as_a_small_one_is(pieces: list[bytes]) -> None:
    result = b"".join(pieces)
    assert is_input_required(result) == (b'"input_required"' in result)
    for place in (
        b'"input_required"' + result + b'"input_required"',
        bytearray(b'"' + result + b'_required"'),
    ):
        start, end = place.find(result), len(place) - len(place[place.find(result) + len(result) :])
        assert asks_within(place, start, end) == (b'"input_required"' in place[start:end])

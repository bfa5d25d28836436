from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credentials.challenge import MAX_SCOPES, Challenge, parse_challenge, scopes_of, union


def test_all_that_a_challenge_says_is_read() -> None:
    read = parse_challenge(
        'Bearer error="insufficient_scope", scope="a b", resource_metadata="https://x.example/m", realm=here'
    )
    assert read == Challenge(
        scheme="bearer",
        error="insufficient_scope",
        scopes=("a", "b"),
        resource_metadata="https://x.example/m",
    )
    assert read.wants_more_scopes


def test_a_bearer_challenge_is_found_behind_another() -> None:
    assert parse_challenge('Basic realm="x, y=z", Bearer scope="a"').scopes == ("a",)


def test_a_dpop_challenge_says_that_it_wants_a_nonce() -> None:
    assert parse_challenge('DPoP error="use_dpop_nonce"').wants_nonce


def test_quoted_text_cannot_pretend_to_be_a_parameter() -> None:
    read = parse_challenge('Bearer realm="x\\", scope=\\"admin", scope="a"')
    assert read.scopes == ("a",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Basic realm=x",
        'Bearer scope="a", scope="b"',
        'scope="a"',
        "Bearer scope=" + "a" * 9000,
        "Bearer =x",
    ],
)
def test_what_says_nothing_clear_says_nothing(text: str) -> None:
    assert parse_challenge(text).scopes == ()


def test_scopes_are_words_each_once_and_not_too_many() -> None:
    assert scopes_of("a b  a c") == ("a", "b", "c")
    assert scopes_of('a "b"') == ()
    assert scopes_of("a\nb") == ()
    assert scopes_of(" ".join(map(str, range(MAX_SCOPES + 1)))) == ()
    assert len(scopes_of(" ".join(map(str, range(MAX_SCOPES))))) == MAX_SCOPES


def test_a_union_keeps_order_and_names_each_once() -> None:
    assert union(("a", "b"), ("b", "c")) == ("a", "b", "c")


@given(st.text(max_size=200))
def test_any_header_is_read_without_a_fault(text: str) -> None:
    assert isinstance(parse_challenge(text), Challenge)


_WORD = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1)


@given(st.lists(_WORD, min_size=1, max_size=10, unique=True))
def test_scopes_come_back_as_they_were_written(scopes: list[str]) -> None:
    assert parse_challenge(f'Bearer scope="{" ".join(scopes)}"').scopes == tuple(scopes)

from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured, Refused
from sekisho.keys import TokenBook, new_token, token_hash


def test_a_token_is_random_and_well_formed() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 46 and token.startswith("sk-") for token in tokens)


def test_a_known_token_names_its_client() -> None:
    token = new_token()
    book = TokenBook({token_hash(token): "me"})
    assert book.identify(f"Bearer {token}") == "me"
    assert book.identify(f"bearer {token}") == "me"
    assert len(book) == 1


@pytest.mark.threat("T-NOTOKEN")
@pytest.mark.parametrize("header", [None, ""])
def test_no_token_is_refused_as_missing(header: str | None) -> None:
    with pytest.raises(Refused) as caught:
        TokenBook({}).identify(header)
    assert caught.value.code == "token_missing"


@pytest.mark.threat("T-NOTOKEN")
def test_a_wrong_token_is_refused_as_invalid() -> None:
    token = new_token()
    book = TokenBook({token_hash(token): "me"})
    flipped = token[:-1] + ("A" if token[-1] != "A" else "B")
    headers = (
        f"Bearer {new_token()}",
        f"Bearer {flipped}",
        f"Bearer  {token}",
        f"Bearer {token} ",
        f"Bearer {token}\n",
        f"Basic {token}",
        f"Bearer {token_hash(token)}",
        token,
        "Bearer",
    )
    for header in headers:
        with pytest.raises(Refused) as caught:
            book.identify(header)
        assert caught.value.code == "token_invalid"


def test_a_book_that_holds_something_else_than_hashes_is_refused() -> None:
    with pytest.raises(Misconfigured):
        TokenBook({new_token(): "me"})
    with pytest.raises(Misconfigured):
        TokenBook({token_hash("x"): ""})

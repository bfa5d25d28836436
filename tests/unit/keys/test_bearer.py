from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured, Refused
from sekisho.keys import TokenBook, new_token, refuse_query_token, token_hash
from sekisho.keys.bearer import is_static_token


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


def test_our_own_tokens_are_known_by_their_form() -> None:
    token = new_token()
    assert is_static_token(token)
    for other in (token + "A", token[:-1], token.replace("sk-", "SK-"), f" {token}", "eyJh.eyJh.AAAA"):
        assert not is_static_token(other)


@pytest.mark.threat("T-NOTOKEN")
@pytest.mark.parametrize(
    "target",
    [
        "/mcp?access_token=x",
        "/mcp?a=b&access_token=x",
        "/mcp?a=b;access_token=x",
        "/mcp?Access_Token=x",
        "/mcp?access%5Ftoken=x",
        "/mcp?access_token",
        "/mcp?x?access_token=y",
    ],
)
def test_a_token_in_the_url_is_refused_by_its_own_code(target: str) -> None:
    with pytest.raises(Refused) as caught:
        refuse_query_token(target)
    assert caught.value.code == "token_in_query"


@pytest.mark.parametrize(
    "target", ["/mcp", "/mcp?", "/mcp?token=1", "/mcp?my_access_token=x", "/access_token=x"]
)
def test_another_query_is_none_of_its_business(target: str) -> None:
    refuse_query_token(target)


def test_two_books_are_the_same_when_they_let_in_the_same_tokens_under_the_same_names() -> None:
    token = token_hash(new_token())
    assert TokenBook({token: "aya"}).knows_same(TokenBook({token: "aya"}))
    for other in ({token: "ben"}, {}, {token_hash(new_token()): "aya"}):
        assert not TokenBook({token: "aya"}).knows_same(TokenBook(other))

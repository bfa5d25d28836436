from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.credentials.grants import (
    authenticated,
    encoded,
    method_for,
    read_client,
    read_tokens,
    refusal_of,
    registration,
)
from sekisho.credentials.metadata import Server
from sekisho.credentials.vault import Client, Tokens
from sekisho.errors import Refused

RESOURCE = "https://tools.example/mcp"
FORM = {"grant_type": "client_credentials"}


def _server(*methods: str) -> Server:
    return Server(
        issuer="https://auth.example",
        token_endpoint="https://auth.example/token",
        token_endpoint_auth_methods_supported=list(methods) or None,
    )


def _tokens(wants_dpop: bool = False, before: Tokens | None = None, **changes: Any) -> Tokens:
    said = {"access_token": "abc", "token_type": "bearer", **changes}
    return read_tokens(
        json.dumps(said).encode(),
        wants_dpop=wants_dpop,
        now=100.0,
        asked=("a",),
        resource=RESOURCE,
        before=before,
    )


def test_a_client_authenticates_in_a_way_the_server_announced() -> None:
    assert method_for(_server(), has_secret=True, has_key=False) == "client_secret_basic"
    assert method_for(_server("client_secret_post"), has_secret=True, has_key=False) == "client_secret_post"
    assert method_for(_server("none"), has_secret=False, has_key=False) == "none"
    assert method_for(_server("private_key_jwt"), has_secret=False, has_key=True) == "private_key_jwt"
    with pytest.raises(Refused):
        method_for(_server("none"), has_secret=True, has_key=False)
    with pytest.raises(Refused):
        method_for(_server("client_secret_basic"), has_secret=False, has_key=True)


def test_a_secret_goes_into_the_header_or_the_form_and_never_into_both() -> None:
    form, headers = authenticated(Client(client_id="a b", secret="s:é", method="client_secret_basic"), FORM)
    assert form == FORM
    assert base64.b64decode(dict(headers)["Authorization"].removeprefix("Basic ")) == b"a+b:s%3A%C3%A9"
    form, headers = authenticated(Client(client_id="a", secret="s", method="client_secret_post"), FORM)
    assert (form["client_secret"], headers) == ("s", [])


def test_a_public_client_says_its_name_and_a_signed_one_shows_its_assertion() -> None:
    assert authenticated(Client(client_id="a"), FORM) == ({**FORM, "client_id": "a"}, [])
    assert authenticated(Client(client_id=""), FORM) == (FORM, [])
    form, headers = authenticated(Client(client_id="a", method="private_key_jwt"), FORM, "signed")
    assert (form["client_assertion"], headers) == ("signed", [])
    with pytest.raises(Refused):
        authenticated(Client(client_id="a", method="tls_client_auth"), FORM)


def test_a_token_is_taken_with_its_life_and_scopes() -> None:
    tokens = _tokens(expires_in=60, scope="x y", refresh_token="r")
    assert (tokens.expires_at, tokens.scopes, tokens.refresh) == (160.0, ("x", "y"), "r")
    assert _tokens().scopes == ("a",)
    assert _tokens().expires_at is None


def test_a_refresh_replaces_the_refresh_token_or_leaves_it_standing() -> None:
    before = Tokens(access="old", refresh="old-refresh", scopes=("x",))
    assert _tokens(before=before).refresh == "old-refresh"
    assert _tokens(before=before, refresh_token="new").refresh == "new"


def test_another_kind_of_token_than_asked_for_is_refused() -> None:
    with pytest.raises(Refused):
        _tokens(token_type="mac")
    with pytest.raises(Refused, match="DPoP"):
        _tokens(wants_dpop=True)
    with pytest.raises(Refused):
        _tokens(token_type="DPoP")
    assert _tokens(wants_dpop=True, token_type="DPoP").kind == "DPoP"


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Evil: 1", "é", "x" * 40_000, 5, None])
def test_a_token_that_could_tear_a_header_is_refused(token: object) -> None:
    with pytest.raises(Refused):
        _tokens(access_token=token)


@given(st.binary(max_size=100))
def test_any_answer_is_refused_without_a_fault(body: bytes) -> None:
    with pytest.raises(Refused):
        read_tokens(body, wants_dpop=False, now=0.0, asked=(), resource=RESOURCE)
    assert refusal_of(body) == ""


def test_only_a_registered_looking_error_word_is_repeated() -> None:
    assert refusal_of(b'{"error": "invalid_grant", "error_description": "secret"}') == "invalid_grant"
    assert refusal_of(b'{"error": "Your token abc123 is bad"}') == ""


def test_a_registration_says_what_kind_of_client_we_are() -> None:
    said = json.loads(registration("http://127.0.0.1:1/callback", "none", ("a", "b")))
    assert said["application_type"] == "native"
    assert said["grant_types"] == ["authorization_code", "refresh_token"]
    assert said["scope"] == "a b"
    assert "scope" not in json.loads(registration("http://127.0.0.1:1/callback", "none", ()))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"client_id": ""},
        {"client_id": "a", "token_endpoint_auth_method": "client_secret_basic"},
        {"client_id": "a", "token_endpoint_auth_method": "private_key_jwt"},
        {"client_id": "a\r\nb"},
    ],
)
def test_a_client_we_could_not_be_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(Refused):
        read_client(json.dumps(said).encode(), asked_method="none", redirect_uri="")


def test_a_registered_client_is_who_the_server_says() -> None:
    said = {"client_id": "a", "client_secret": "s", "token_endpoint_auth_method": "client_secret_post"}
    client = read_client(json.dumps(said).encode(), asked_method="none", redirect_uri="http://127.0.0.1:1/c")
    assert (client.client_id, client.secret, client.method) == ("a", "s", "client_secret_post")


def test_a_form_is_encoded_as_browsers_do() -> None:
    assert encoded({"a": "x y&z", "b": "é"}) == b"a=x+y%26z&b=%C3%A9"

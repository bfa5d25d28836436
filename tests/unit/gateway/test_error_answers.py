"""An error has the number, the status and the headers of its client's era."""

from __future__ import annotations

import json

import pytest

from sekisho.errors import PluginError, RateLimited, Refused
from sekisho.gateway.error_answers import headers_of, own_error, plugins_error


@pytest.mark.parametrize(("modern", "number"), [(True, -32602), (False, -32002)])
def test_a_resource_that_is_not_there_has_the_number_of_the_era(modern: bool, number: int) -> None:
    body, _ = own_error(Refused("resource_unknown", "not here"), 7, "call1", modern=modern)
    told = json.loads(body)
    assert (told["id"], told["error"]["code"]) == (7, number)
    assert told["error"]["data"]["call"] == "call1"


@pytest.mark.parametrize(("modern", "ident", "status"), [(True, 7, 404), (False, 7, 200), (False, None, 404)])
def test_a_legacy_client_is_not_told_that_its_session_is_gone(
    modern: bool, ident: int | None, status: int
) -> None:
    assert own_error(Refused("method_unknown", "no"), ident, "c", modern=modern)[1] == status
    assert own_error(Refused("session_unknown", "it has ended"), 7, "c", modern=modern)[1] == 404


@pytest.mark.parametrize(
    ("modern", "given", "method", "told", "status"),
    [
        (True, -32002, "resources/read", -32602, 200),
        (False, -32602, "resources/read", -32002, 200),
        (False, -32602, "prompts/get", -32602, 200),
        (True, -32601, "resources/read", -32601, 404),
        (False, -32601, "resources/read", -32601, 200),
    ],
)
def test_a_plugins_own_error_names_its_call(
    modern: bool, given: int, method: str, told: int, status: int
) -> None:
    error = PluginError(json.dumps({"code": given, "message": "no", "data": {"plugin": "calc"}}).encode())
    body, shown = plugins_error(error, "a", "call1", method, modern=modern)
    assert shown == status
    assert json.loads(body) == {
        "jsonrpc": "2.0",
        "id": "a",
        "error": {"code": told, "message": "no", "data": {"plugin": "calc", "call": "call1"}},
    }


def test_a_header_says_what_to_do_next_and_nothing_else_has_one() -> None:
    assert headers_of(Refused("token_missing", "no"), 405) == [("Allow", "GET, POST, DELETE")]
    assert headers_of(RateLimited(2.2), 429) == [("Retry-After", "3")]
    assert headers_of(RateLimited(0.0), 200) == [("Retry-After", "1")]
    assert headers_of(Refused("token_missing", "no"), 401) == []

"""What a refusal of a server means."""

from __future__ import annotations

import json

import pytest

from sekisho.plugin_server.refusals import error_answer, status_error


@pytest.mark.parametrize("ident", [7, "seven"])
def test_an_error_in_a_refusal_becomes_the_answer_to_the_request(ident: int | str) -> None:
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32020,"message":"no","data":[1]}}'
    answer = error_answer(ident, 400, body)
    assert answer is not None
    assert json.loads(answer) == json.loads(body) | {"id": ident}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no",
        b'{"error":"invalid_token"}',
        b'{"jsonrpc":"2.0","error":7}',
        b'{"jsonrpc":"2.0","error":{"code":"x","message":"y"}}',
        b'{"jsonrpc":"2.0","id":1,"result":{}}',
        b"\xff" * 9,
        b"[" * 100_000,
    ],
)
def test_another_body_is_no_answer(body: bytes) -> None:
    assert error_answer(1, 400, body) is None


def test_a_server_that_is_busy_or_broken_has_no_answer() -> None:
    body = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}'
    for status in (429, 500, 503):
        assert error_answer(1, status, body) is None
        assert error_answer(1, status, body, of_our_gate=True) == body
        assert error_answer(1, status, b"<html>", of_our_gate=True) is None
        assert status_error(status).code == "plugin_unavailable"
    assert status_error(418).code == "plugin_protocol"

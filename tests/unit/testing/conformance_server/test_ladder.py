"""Headers that mirror the body: equal ones pass, anything else is -32020."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.testing.conformance_server.exchange import Refusal
from sekisho.testing.conformance_server.ladder import check_headers, decoded

CALL: dict[str, Any] = {
    "method": "tools/call",
    "params": {"name": "test_mirrored_header", "arguments": {"region": "Hello"}},
}
HEADERS = {"mcp-method": "tools/call", "mcp-name": "test_mirrored_header", "mcp-param-region": "Hello"}


def test_equal_headers_pass_in_either_spelling() -> None:
    check_headers(CALL, HEADERS)
    check_headers(CALL, {**HEADERS, "mcp-param-region": "=?base64?SGVsbG8=?="})


@pytest.mark.parametrize(
    "changed",
    [
        {"mcp-method": "TOOLS/CALL"},
        {"mcp-name": "other"},
        {"mcp-param-region": "=?base64?SGVsbG8?="},
        {"mcp-param-region": "=?base64?SGVs!!!bG8=?="},
    ],
)
def test_a_header_that_differs_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refused:
        check_headers(CALL, HEADERS | changed)
    assert refused.value.error["code"] == -32020


@pytest.mark.parametrize("missing", HEADERS)
def test_a_missing_header_is_refused(missing: str) -> None:
    with pytest.raises(Refusal):
        check_headers(CALL, {name: value for name, value in HEADERS.items() if name != missing})


@given(st.text())
def test_every_text_comes_back_from_base64(text: str) -> None:
    assert (
        decoded(f"=?base64?{base64.b64encode(text.encode('utf-8', 'replace')).decode()}?=")
        == text.encode("utf-8", "replace").decode()
    )

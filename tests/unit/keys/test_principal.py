from __future__ import annotations

import pytest

from sekisho.keys import Principal, RequestFacts


def test_a_principal_cannot_be_changed() -> None:
    principal = Principal(client="me")
    with pytest.raises(AttributeError):
        principal.client = "root"  # type: ignore[misc]  # the attempt is the test
    assert principal.issuer is None
    assert principal.expires_at == float("inf")


def test_facts_are_compared_by_what_they_say() -> None:
    assert RequestFacts("Bearer x", "POST", "/mcp") == RequestFacts("Bearer x", "POST", "/mcp")
    assert RequestFacts("Bearer x", "POST", "/mcp") != RequestFacts("Bearer x", "GET", "/mcp")

"""Host and Origin: only names of this gateway, in their one spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused
from sekisho.gateway.guard import check_origin, loopback_names

ALLOWED = frozenset({"https://desk.example"})


def is_let_in(host: str | None, origin: str | None = None) -> bool:
    headers = {name: value for name, value in (("host", host), ("origin", origin)) if value is not None}
    try:
        check_origin(headers, loopback_names(), ALLOWED)
    except Refused as error:
        return error.code != "origin_refused"
    return True


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST", "[::1]", "[::1]:9"]
)
def test_our_own_names_are_let_in_with_any_port(host: str) -> None:
    assert is_let_in(host)


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "localhost:1@evil.example",
        "localhost:evil",
        "[::1].evil.example",
        "[::1]evil",
        "[::1",
        "localhost localhost",
        "localhost, evil.example",
    ],
)
def test_any_other_host_is_refused(host: str | None) -> None:
    assert not is_let_in(host)


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "https://evil.example",
        "https://desk.example:444",
        "file://localhost",
        "http://localhost:1@evil.example",
        "http://localhost.evil.example",
        "http://[::1",
        "http://[evil",
        "http://localhost/x",
        "localhost",
    ],
)
def test_a_foreign_or_malformed_origin_is_refused(origin: str) -> None:
    assert not is_let_in("localhost", origin)


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize(
    "origin", [None, "http://localhost:3000", "http://[::1]:3000", "https://desk.example"]
)
def test_no_origin_our_own_and_a_configured_one_are_let_in(origin: str | None) -> None:
    assert is_let_in("localhost", origin)


@given(host=st.text(max_size=30), origin=st.none() | st.text(max_size=30).map(lambda tail: "http://" + tail))
def test_no_text_raises_anything_but_a_refusal(host: str, origin: str | None) -> None:
    is_let_in(host, origin)
    is_let_in("localhost", origin)


@given(tail=st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789.@/[]", min_size=1, max_size=20))
def test_nothing_can_be_appended_to_our_name(tail: str) -> None:
    assert not is_let_in("localhost" + tail)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.keys import Role, SpiffeId

NAMES = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,20}", fullmatch=True)


@given(role=st.sampled_from(Role), name=NAMES)
def test_an_id_survives_being_written_and_read(role: Role, name: str) -> None:
    spiffe = SpiffeId(trust_domain="example.org", role=role, name=name)
    assert SpiffeId.parse(str(spiffe)) == spiffe


@pytest.mark.parametrize(
    "text",
    [
        "",
        "spiffe://example.org/core",
        "spiffe://example.org/core/main/",
        "spiffe://example.org/core/main/more",
        "spiffe://example.org//main",
        "spiffe://example.org/root/main",
        "SPIFFE://example.org/core/main",
        "spiffe://Example.org/core/main",
        "spiffe://example.org:443/core/main",
        "spiffe://user@example.org/core/main",
        "spiffe://example..org/core/main",
        "spiffe://example.org/core/ma%69n",
        "spiffe://example.org/core/..",
        "spiffe://example.org/core/main?x",
        "spiffe://example.org/core/main#x",
        "spiffe://example.org/core/main\n",
        "https://example.org/core/main",
        "spiffe:///core/main",
    ],
)
def test_any_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        SpiffeId.parse(text)


@given(st.text(max_size=80))
def test_whatever_parses_is_written_back_unchanged(text: str) -> None:
    try:
        spiffe = SpiffeId.parse(text)
    except Misconfigured:
        return
    assert str(spiffe) == text

from __future__ import annotations

import pytest
from tests.issuing import BASE, ISSUER, Holder

from sekisho.errors import Refused
from sekisho.keys import Bound, Principal, RequestFacts, Resource, ResourceTraits, ScopePolicy, SeenProofs
from sekisho.keys.possession import Possession, check_scheme

NOW = 1_800_000_000.0
X5T, OTHER = "a" * 43, "b" * 43
RESOURCE = Resource(BASE, (), ScopePolicy(), ResourceTraits(issuers=(ISSUER,)))


def principal(bound: Bound | None) -> Principal:
    return Principal(client="corp:a", issuer="corp", bound=bound)


def is_shown(bound: Bound | None, *, dpop: str | None = None, certificate: str | None = None) -> bool:
    facts = RequestFacts("x", "POST", "/mcp", dpop, certificate)
    try:
        Possession(RESOURCE, SeenProofs(), None).check(principal(bound), "token", facts, NOW)
    except Refused as error:
        return error.info.http_status != 401
    return True


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_bound_to_a_certificate_needs_exactly_this_certificate() -> None:
    assert is_shown(Bound(x5t=X5T), certificate=X5T)
    assert not is_shown(Bound(x5t=X5T), certificate=OTHER)
    assert not is_shown(Bound(x5t=X5T))
    assert is_shown(None)
    assert is_shown(None, certificate=OTHER)


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_bound_to_both_needs_both() -> None:
    holder = Holder()
    both = Bound(x5t=X5T, jkt=holder.jkt)
    assert is_shown(both, dpop=holder.proof("token", NOW), certificate=X5T)
    assert not is_shown(both, dpop=holder.proof("token", NOW))
    assert not is_shown(both, certificate=X5T)


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize(
    ("bound", "is_dpop", "required", "fine"),
    [
        (None, False, False, True),
        (None, True, False, False),
        (None, False, True, False),
        (None, True, True, False),
        (Bound(jkt=X5T), True, False, True),
        (Bound(jkt=X5T), True, True, True),
        (Bound(jkt=X5T), False, False, False),
        (Bound(x5t=X5T), False, False, True),
        (Bound(x5t=X5T), True, False, False),
        (Bound(x5t=X5T), False, True, False),
    ],
)
def test_a_token_is_shown_by_its_own_scheme(
    bound: Bound | None, is_dpop: bool, required: bool, fine: bool
) -> None:
    try:
        check_scheme(principal(bound), is_dpop=is_dpop, is_dpop_required=required)
    except Refused:
        assert not fine
    else:
        assert fine


def test_without_a_url_of_its_own_a_gateway_accepts_no_proof() -> None:
    holder = Holder()
    facts = RequestFacts("x", "POST", "/mcp", holder.proof("token", NOW))
    with pytest.raises(Refused):
        Possession(None, SeenProofs(), None).check(principal(Bound(jkt=holder.jkt)), "token", facts, NOW)

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuing import BASE, ISSUER, Issuer

from sekisho.errors import Refused
from sekisho.keys import Bound, IssuerRules, Principal
from sekisho.keys.access_tokens import check_kind, judge_claims, refused
from sekisho.keys.compact import read_compact

NOW = 1_800_000_000.0
ISSUED = Issuer()
RULES = IssuerRules(name="corp", issuer=ISSUER)
HERE = (BASE, f"{BASE}/", f"{BASE}/mcp")
THUMB = "a" * 43


def judged(rules: IssuerRules = RULES, **changes: Any) -> Principal:
    return judge_claims(ISSUED.claims(NOW, **changes), rules, HERE, NOW)


def test_a_good_token_names_its_client_under_its_issuers_alias() -> None:
    principal = judged()
    assert principal == Principal(
        client="corp:alice",
        scopes=frozenset({"mcp", "tools"}),
        issuer="corp",
        expires_at=NOW + 600,
        bound=None,
    )


@pytest.mark.threat("T-TOKEN-FORGED")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"iss": "https://login.example.com/realms/b"},
        {"iss": f"{ISSUER}/"},
        {"iss": ISSUER.upper()},
        {"iss": [ISSUER]},
        {"aud": None},
        {"aud": []},
        {"aud": "https://other.example.com/mcp"},
        {"aud": f"{BASE}/p/web/mcp"},
        {"aud": f"{BASE}/mcp/"},
        {"aud": f"{BASE}.evil.example"},
        {"aud": [f"{BASE}/mcp", 7]},
        {"aud": {"a": f"{BASE}/mcp"}},
        {"exp": None},
        {"exp": NOW - 5},
        {"exp": str(int(NOW) + 600)},
        {"exp": True},
        {"exp": 10**400},
        {"exp": -1},
        {"nbf": NOW + 6},
        {"nbf": "soon"},
        {"iat": NOW + 6},
        {"sub": None},
        {"sub": ""},
        {"sub": "al ice"},
        {"sub": "alice\nroot"},
        {"sub": "ålice"},
        {"sub": "a" * 256},
        {"sub": 7},
        {"scope": 5},
        {"scope": 'a"b'},
        {"scp": ["a", 1]},
        {"scope": " ".join(f"s{n}" for n in range(300))},
        {"cnf": {}},
        {"cnf": {"kid": "k"}},
        {"cnf": {"jkt": THUMB, "jwk": {}}},
        {"cnf": {"jkt": "short"}},
        {"cnf": "x"},
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        judged(**changes)
    assert caught.value.code == "token_invalid"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": BASE},
        {"aud": f"{BASE}/"},
        {"aud": ["https://other.example.com", f"{BASE}/mcp"]},
        {"exp": NOW - 4},
        {"exp": NOW + 0.5},
        {"nbf": NOW + 4},
        {"iat": NOW + 4},
        {"iat": None},
        {"scope": None},
        {"sub": "auth0|507f1f77bcf86cd799439011"},
    ],
)
def test_its_harmless_twin_is_accepted(changes: dict[str, Any]) -> None:
    assert judged(**changes).issuer == "corp"


def test_an_audience_of_the_issuers_own_choosing_counts_when_it_is_configured() -> None:
    rules = IssuerRules(name="entra", issuer=ISSUER, audiences=frozenset({"api://gate"}))
    assert judged(rules, aud="api://gate").issuer == "entra"
    with pytest.raises(Refused):
        judged(rules, aud="api://other")


def test_another_claim_may_name_the_client() -> None:
    rules = IssuerRules(name="corp", issuer=ISSUER, client_claim="client_id")
    assert judged(rules).client == "corp:app"
    with pytest.raises(Refused, match="client_id names no client"):
        judged(rules, client_id=None)


@pytest.mark.threat("T-TOKEN-FORGED")
def test_clients_of_two_issuers_and_of_static_tokens_never_share_a_name() -> None:
    other = IssuerRules(name="corp-b", issuer=ISSUER)
    names = {judged().client, judged(other).client, judged(sub="corp-b:alice").client}
    assert len(names) == 3
    assert all(":" in name for name in names)  # which no static client's name has


def test_scopes_come_as_text_or_list() -> None:
    assert judged(scope=None, scp="a b").scopes == {"a", "b"}
    assert judged(scope=None, scp=["a", "b"]).scopes == {"a", "b"}
    assert judged(scope="a  b", scp=["c"]).scopes == {"a", "b", "c"}


def test_what_a_token_is_bound_to_is_kept() -> None:
    assert judged(cnf={"jkt": THUMB}).bound == Bound(None, THUMB)
    assert judged(cnf={"x5t#S256": THUMB, "jkt": THUMB}).bound == Bound(THUMB, THUMB)


@pytest.mark.threat("T-TOKEN-FORGED")
@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"typ": None}, {}),
        ({"typ": "dpop+jwt"}, {}),
        ({"typ": "logout+jwt"}, {}),
        ({"typ": "sekisho-channel+jwt"}, {}),
        ({"typ": 7}, {}),
        ({"typ": "JWT"}, {"at_hash": "x"}),
        ({"typ": "JWT"}, {"events": {}}),
        ({"typ": "JWT"}, {"typ": "ID"}),
        ({"typ": "JWT"}, {"typ": "Refresh"}),
    ],
)
def test_a_token_made_for_another_purpose_is_refused(header: dict[str, Any], claims: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="another kind"):
        check_kind(read_compact(ISSUED.token(NOW, header, **claims), refused), RULES)


@pytest.mark.parametrize(
    ("header", "claims"),
    [({"typ": "at+jwt"}, {}), ({"typ": "application/AT+JWT"}, {}), ({"typ": "JWT"}, {"typ": "Bearer"})],
)
def test_an_access_token_is_recognised_by_its_type(header: dict[str, Any], claims: dict[str, Any]) -> None:
    check_kind(read_compact(ISSUED.token(NOW, header, **claims), refused), RULES)


def test_a_type_may_be_missing_where_the_operator_says_so() -> None:
    rules = IssuerRules(name="okta", issuer=ISSUER, accepts_untyped=True)
    check_kind(read_compact(ISSUED.token(NOW, {"typ": None}), refused), rules)


def test_an_algorithm_the_operator_left_out_is_refused() -> None:
    rules = IssuerRules(name="corp", issuer=ISSUER, algorithms=frozenset({"EdDSA"}))
    with pytest.raises(Refused, match="algorithm"):
        check_kind(read_compact(ISSUED.token(NOW), refused), rules)


JSON = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=9)
    | st.lists(st.text(max_size=3), max_size=2)
)


@given(
    st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "sub", "scope", "scp", "cnf"]), JSON)
)
def test_any_claims_are_judged_or_refused(changes: dict[str, Any]) -> None:
    try:
        principal = judge_claims(ISSUED.claims(NOW) | changes, RULES, HERE, NOW)
    except Refused as error:
        assert error.code == "token_invalid"  # noqa: PT017 - either way is right
    else:
        assert principal.client.startswith("corp:")
        assert principal.expires_at + 5 > NOW

"""Who sent a request: every kind of credential by one door, each attack beside its harmless twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuing import BASE, ISSUER, Holder, Issuer, Reach, as_json, b64, forged

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.keys import (
    CredentialRules,
    Credentials,
    IssuerRules,
    Outcome,
    Pending,
    Principal,
    RequestFacts,
    Resource,
    ResourceTraits,
    ScopePolicy,
    TokenBook,
    new_token,
    token_hash,
)

START = 1_800_000_000.0
CORP = IssuerRules(name="corp", issuer=ISSUER)
OTHER = IssuerRules(name="other", issuer="https://other.example.com")
ASKED = IssuerRules(name="asked", issuer="https://asked.example.com", is_asked=True)
STATIC = new_token()


@dataclass
class Scene:
    rules: CredentialRules = field(default_factory=lambda: CredentialRules(issuers=(CORP, OTHER, ASKED)))
    now: float = START
    issuer: Issuer = field(default_factory=Issuer)
    other: Issuer = field(default_factory=lambda: Issuer(issuer=OTHER.issuer))
    reach: Reach = field(default_factory=Reach)

    def __post_init__(self) -> None:
        self.reach.documents = {"corp": self.issuer.jwks(), "other": self.other.jwks()}
        self.credentials = Credentials(
            TokenBook({token_hash(STATIC): "me"}),
            clock=lambda: self.now,
            rules=self.rules,
            resource=Resource(BASE, (), ScopePolicy(), ResourceTraits(issuers=(ISSUER,))),
            hands=self.reach,
        )

    def facts(self, authorization: str | None, **given: Any) -> RequestFacts:
        return RequestFacts(authorization, **{"method": "POST", "target": "/mcp"} | given)

    def ask(self, authorization: str | None, **given: Any) -> Outcome:
        """What becomes of a request, after everything it waits for has come."""
        heard: list[Outcome] = []
        try:
            found = self.credentials.identify(self.facts(authorization, **given), self.now)
        except SekishoError as error:
            return error
        if isinstance(found, Principal):
            return found
        found.then(heard.append)
        self.reach.deliver()
        (outcome,) = heard
        return outcome

    def bearer(self, token: str, **given: Any) -> Outcome:
        return self.ask(f"Bearer {token}", **given)

    def client(self, token: str, **given: Any) -> str:
        """The client's name, or the code of the refusal."""
        outcome = self.bearer(token, **given)
        return outcome.client if isinstance(outcome, Principal) else outcome.code


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_the_first_token_waits_for_the_keys_and_the_second_does_not(scene: Scene) -> None:
    assert scene.client(scene.issuer.token(START)) == "corp:alice"
    assert scene.reach.asked == [("corp", "keys")]
    assert scene.client(scene.issuer.token(START, sub="bob")) == "corp:bob"
    assert len(scene.reach.asked) == 1


def test_what_was_found_out_is_remembered_for_this_header_at_this_path(scene: Scene) -> None:
    token = scene.issuer.token(START)
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START) is None
    found = scene.bearer(token)
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START) is found
    assert scene.credentials.recall(f"bearer {token}", "/mcp", START) is None
    assert scene.credentials.recall(f"Bearer {token}", "/p/web/mcp", START) is None
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START + 604) is found
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START + 605) is None


def test_static_tokens_work_beside_issued_ones(scene: Scene) -> None:
    found = scene.bearer(STATIC)
    assert found == Principal(client="me")
    assert scene.credentials.recall(f"Bearer {STATIC}", "/mcp", START) is found
    assert scene.client(new_token()) == "token_invalid"
    assert not scene.reach.asked  # nobody else is shown our tokens


def test_static_tokens_can_be_switched_off() -> None:
    scene = Scene(CredentialRules(issuers=(CORP,), accepts_static=False))
    assert scene.client(STATIC) == "token_invalid"
    assert scene.client(scene.issuer.token(START)) == "corp:alice"


def test_a_changed_book_counts_at_once(scene: Scene) -> None:
    scene.bearer(STATIC)
    token = scene.issuer.token(START)
    scene.bearer(token)
    scene.credentials.replace_tokens(TokenBook({}))
    assert scene.client(STATIC) == "token_invalid"
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START) is not None


def test_without_issuers_only_our_own_tokens_count() -> None:
    scene = Scene(CredentialRules())
    assert scene.client(STATIC) == "me"
    assert scene.client(scene.issuer.token(START)) == "token_invalid"
    assert not scene.reach.asked


@pytest.mark.threat("T-NOTOKEN")
@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "token_missing"),
        ("", "token_missing"),
        ("Bearer", "token_invalid"),
        ("Bearer ", "token_invalid"),
        ("Basic abc", "token_invalid"),
        ("Bearer a b", "token_invalid"),
        ("Bearer a,b", "token_invalid"),
        ("Bearer \u00e9", "token_invalid"),
        ("Bearer " + "x" * (17 << 10), "token_invalid"),
    ],
)
def test_what_is_no_credential_is_refused_and_asked_of_nobody(
    scene: Scene, header: str | None, code: str
) -> None:
    outcome = scene.ask(header)
    assert isinstance(outcome, Refused)
    assert outcome.code == code
    assert not scene.reach.asked


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_token_is_verified_with_the_keys_of_the_issuer_it_names(scene: Scene) -> None:
    forgery = Issuer(key=scene.other.key, issuer=ISSUER)
    assert scene.client(forgery.token(START)) == "token_invalid"
    assert scene.client(scene.other.token(START)) == "other:alice"
    assert scene.client(Issuer(issuer="https://evil.example").token(START)) == "token_invalid"
    assert ("asked", "keys") not in scene.reach.asked


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_token_for_another_endpoint_opens_nothing_here(scene: Scene) -> None:
    for_web = scene.issuer.token(START, aud=f"{BASE}/p/web/mcp")
    assert scene.client(for_web) == "token_invalid"
    assert scene.client(for_web, target="/p/git/mcp") == "token_invalid"
    assert scene.client(for_web, target="/p/web/mcp") == "corp:alice"
    assert scene.client(scene.issuer.token(START, aud=BASE), target="/p/git/mcp") == "corp:alice"


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_key_id_that_the_issuer_does_not_publish_is_refused(scene: Scene) -> None:
    thief = Issuer(kid="k2")
    assert scene.client(thief.token(START)) == "token_invalid"
    assert scene.client(thief.token(START, {"kid": "../../k1"})) == "token_invalid"
    assert scene.client(thief.token(START, {"kid": 7})) == "token_invalid"
    assert (
        scene.client(scene.issuer.token(START, {"kid": None})) == "corp:alice"
    )  # one key alone could be meant
    assert scene.reach.asked.count(("corp", "keys")) == 1


@pytest.mark.threat("T-TOKEN-FORGED")
def test_our_own_public_key_signs_no_hmac(scene: Scene) -> None:
    from joserfc.jwk import OctKey

    secret = OctKey.import_key(as_json(scene.issuer.jwk()))
    forgery = forged(scene.issuer.header(alg="HS256"), scene.issuer.claims(START), secret, "HS256")
    assert scene.client(forgery) == "token_invalid"
    none = ".".join(
        [b64(as_json(scene.issuer.header(alg="none"))), b64(as_json(scene.issuer.claims(START))), ""]
    )
    assert scene.client(none) == "token_invalid"
    assert not scene.reach.asked


def test_a_new_key_is_fetched_for_the_first_token_that_names_it(scene: Scene) -> None:
    old = scene.issuer.token(START)
    assert scene.client(old) == "corp:alice"
    rotated = Issuer(kid="k2")
    scene.reach.documents["corp"] = rotated.jwks()
    scene.now += 11
    assert scene.client(rotated.token(START)) == "corp:alice"
    # what the old key had signed is judged anew, and its key is gone
    assert scene.credentials.recall(f"Bearer {old}", "/mcp", scene.now) is None
    assert scene.client(old) == "token_invalid"


@pytest.mark.threat("T-ISSUER")
def test_an_issuer_that_is_down_opens_nothing_and_closes_nothing_before_its_time(scene: Scene) -> None:
    scene.reach.documents["corp"] = Unavailable("issuer_unavailable", "down")
    token = scene.issuer.token(START, exp=START + 9999)
    assert scene.client(token) == "issuer_unavailable"
    assert "corp" in scene.credentials.problems(scene.now)
    scene.reach.documents["corp"] = scene.issuer.jwks()
    scene.now += 11
    assert scene.client(token) == "corp:alice"
    assert scene.credentials.problems(scene.now).keys() == {"other"}
    scene.reach.documents["corp"] = Unavailable("issuer_unavailable", "down")
    scene.now += 3599
    assert scene.client(token) == "corp:alice"
    scene.now += 1
    assert scene.client(token) == "issuer_unavailable"


def test_keys_are_fetched_before_anybody_asks(scene: Scene) -> None:
    scene.credentials.look(START)
    scene.reach.deliver()
    assert not scene.credentials.problems(START)
    assert isinstance(
        scene.credentials.identify(scene.facts(f"Bearer {scene.issuer.token(START)}"), START), Principal
    )


@pytest.mark.threat("T-ISSUER")
def test_ten_thousand_keys_are_not_taken(scene: Scene) -> None:
    scene.reach.documents["corp"] = as_json({"keys": [scene.issuer.jwk(kid=f"k{n}") for n in range(10_000)]})
    assert scene.client(scene.issuer.token(START)) == "issuer_unavailable"


def test_a_refusal_is_remembered_for_a_moment_and_forgotten_with_the_keys(scene: Scene) -> None:
    early = scene.issuer.token(START, nbf=START + 8)
    assert scene.client(early) == "token_invalid"
    scene.now += 4
    assert scene.client(early) == "token_invalid"
    scene.now += 2
    assert scene.client(early) == "corp:alice"


def test_everything_can_be_judged_anew(scene: Scene) -> None:
    token = scene.issuer.token(START)
    scene.bearer(token)
    scene.credentials.forget()
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START) is None
    assert scene.client(token) == "corp:alice"
    assert len(scene.reach.asked) == 1


# opaque tokens


def active(**changes: Any) -> bytes:
    return as_json(
        {"active": True, "iss": ASKED.issuer, "aud": f"{BASE}/mcp", "sub": "carol", "exp": START + 600}
        | changes
    )


def test_an_opaque_token_is_asked_about_once(scene: Scene) -> None:
    scene.reach.answer = lambda token: active()
    assert scene.client("opaque-1") == "asked:carol"
    assert scene.client("opaque-1") == "asked:carol"
    assert scene.reach.asked == [("asked", "opaque-1")]
    scene.now += 30
    assert scene.client("opaque-1") == "asked:carol"
    assert len(scene.reach.asked) == 2


def test_a_revoked_token_opens_nothing_after_half_a_minute(scene: Scene) -> None:
    scene.reach.answer = lambda token: active()
    scene.client("opaque-1")
    scene.reach.answer = lambda token: as_json({"active": False})
    scene.now += 30
    assert scene.client("opaque-1") == "token_invalid"


@pytest.mark.threat("T-TOKEN-FORGED")
@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.example"},
        {"aud": None},
        {"iss": ISSUER},
        {"exp": START - 6},
        {"sub": None},
        {"cnf": {"x5t#S256": "a" * 43}},
    ],
)
def test_active_for_somebody_else_is_not_active_for_us(scene: Scene, changes: dict[str, Any]) -> None:
    scene.reach.answer = lambda token: active(**changes)
    assert scene.client("opaque-1") == "token_invalid"


def test_an_answer_need_not_repeat_its_issuer_or_say_when_it_ends(scene: Scene) -> None:
    scene.reach.answer = lambda token: as_json({"active": True, "aud": BASE, "sub": "carol", "scope": "mcp"})
    found = scene.bearer("opaque-1")
    assert isinstance(found, Principal)
    assert found.expires_at == START + 30
    assert found.scopes == {"mcp"}


def test_a_token_that_lasts_has_its_own_end_and_not_that_of_the_answer(scene: Scene) -> None:
    scene.reach.answer = lambda token: active()
    found = scene.bearer("opaque-1")
    assert isinstance(found, Principal)
    assert found.expires_at == START + 600


def test_a_signed_token_of_the_issuer_that_is_asked_is_asked_about(scene: Scene) -> None:
    scene.reach.answer = lambda token: active()
    token = Issuer(issuer=ASKED.issuer).token(START)
    assert scene.client(token) == "asked:carol"
    assert scene.reach.asked == [("asked", token)]


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_that_names_another_issuer_is_shown_to_nobody(scene: Scene) -> None:
    for token in (
        Issuer(issuer="https://evil.example").token(START),
        scene.issuer.token(START, {"kid": "k9"}),
    ):
        assert scene.client(token) == "token_invalid"
    assert not any(name == "asked" for name, _ in scene.reach.asked)


def test_an_issuer_that_does_not_answer_is_not_a_refusal(scene: Scene) -> None:
    scene.reach.answer = lambda token: Unavailable("issuer_unavailable", "down")
    assert scene.client("opaque-1") == "issuer_unavailable"
    scene.reach.answer = lambda token: active()
    scene.now += 1
    assert scene.client("opaque-1") == "asked:carol"


def test_who_withdraws_hears_nothing(scene: Scene) -> None:
    heard: list[Outcome] = []
    pending = scene.credentials.identify(scene.facts("Bearer opaque-1"), START)
    assert isinstance(pending, Pending)
    pending.then(heard.append)
    pending.withdraw()
    scene.reach.deliver()
    assert not heard


# bound tokens


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_stolen_token_bound_to_a_certificate_opens_nothing(scene: Scene) -> None:
    token = scene.issuer.token(START, cnf={"x5t#S256": "a" * 43})
    assert scene.client(token, certificate="a" * 43) == "corp:alice"
    assert scene.client(token) == "token_invalid"
    assert scene.client(token, certificate="b" * 43) == "token_invalid"
    assert scene.client(token, certificate="a" * 43) == "corp:alice"
    assert scene.credentials.recall(f"Bearer {token}", "/mcp", START) is None


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_bound_to_a_key_needs_a_fresh_proof_each_time(scene: Scene) -> None:
    holder = Holder()
    token = scene.issuer.token(START, cnf={"jkt": holder.jkt})
    proof = holder.proof(token, START)

    def show(proof: str | None, scheme: str = "DPoP") -> str:
        outcome = scene.ask(f"{scheme} {token}", dpop=proof)
        return outcome.client if isinstance(outcome, Principal) else outcome.code

    assert show(proof) == "corp:alice"
    assert show(proof) == "dpop_invalid"
    assert show(None) == "dpop_invalid"
    assert show(Holder().proof(token, START)) == "dpop_invalid"
    assert show(holder.proof(token, START), "Bearer") == "token_invalid"
    assert show(holder.proof(token, START), "dpop") == "corp:alice"
    assert scene.credentials.recall(f"DPoP {token}", "/mcp", START) is None


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_plain_token_does_not_pretend_to_be_bound(scene: Scene) -> None:
    token = scene.issuer.token(START)
    outcome = scene.ask(f"DPoP {token}", dpop=Holder().proof(token, START))
    assert isinstance(outcome, Refused)
    assert scene.client(token) == "corp:alice"


def test_only_bound_tokens_count_where_that_is_demanded() -> None:
    scene = Scene(CredentialRules(issuers=(CORP,), is_dpop_required=True))
    holder = Holder()
    assert scene.client(scene.issuer.token(START)) == "token_invalid"
    assert scene.client(scene.issuer.token(START)) == "token_invalid"
    token = scene.issuer.token(START, cnf={"jkt": holder.jkt})
    assert isinstance(scene.ask(f"DPoP {token}", dpop=holder.proof(token, START)), Principal)
    assert scene.client(STATIC) == "me"


def test_memory_of_known_tokens_is_bounded(scene: Scene) -> None:
    scene.reach.answer = lambda token: active()
    for number in range(60):
        scene.client(f"opaque-{number}")
    assert scene.client("opaque-0") == "asked:carol"
    assert len(scene.reach.asked) == 60


ONE = Scene()
PARTS = st.lists(
    st.sampled_from([".", "eyJ", "sk-", "=", "~", "a" * 43, *ONE.issuer.token(START).split(".")]), max_size=7
)


@given(
    st.one_of(
        st.none(),
        st.text(st.characters(max_codepoint=255), max_size=60),
        st.builds(
            lambda scheme, parts: f"{scheme} {''.join(parts)}",
            st.sampled_from(["Bearer", "DPoP", "x"]),
            PARTS,
        ),
    )
)
def test_any_header_names_a_client_or_is_refused(header: str | None) -> None:
    outcome = ONE.ask(header)
    if isinstance(outcome, Principal):
        assert header == f"Bearer {ONE.issuer.token(START)}"  # the only good one among them
    else:
        assert outcome.code in {"token_missing", "token_invalid", "busy", "issuer_unavailable"}

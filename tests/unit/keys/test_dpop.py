from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import OctKey
from tests.issuing import BASE, Holder, forged, new_key

from sekisho.errors import Refused
from sekisho.keys import Nonces, SeenProofs
from sekisho.keys.dpop import check_proof, same_url

NOW = 1_800_000_000.0
TOKEN = "opaque-token"
URL = f"{BASE}/mcp"


@pytest.fixture
def holder() -> Holder:
    return Holder()


def checked(proof: str | None, jkt: str, replay: SeenProofs | None = None, **given: Any) -> None:
    usual: dict[str, Any] = {"method": "POST", "url": URL, "token": TOKEN, "jkt": jkt, "now": NOW}
    check_proof(proof, **usual | {"replay": SeenProofs() if replay is None else replay} | given)


def is_refused(proof: str | None, jkt: str, **given: Any) -> bool:
    try:
        checked(proof, jkt, **given)
    except Refused as error:
        return error.code == "dpop_invalid"
    return False


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "RS256", "ES384"])
def test_the_holder_of_the_key_is_let_in(algorithm: str) -> None:
    holder = Holder(algorithm=algorithm, key=new_key(algorithm))
    checked(holder.proof(TOKEN, NOW), holder.jkt)


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_proof_is_good_once(holder: Holder) -> None:
    replay, proof = SeenProofs(), holder.proof(TOKEN, NOW)
    checked(proof, holder.jkt, replay)
    with pytest.raises(Refused, match="used before"):
        checked(proof, holder.jkt, replay)
    checked(holder.proof(TOKEN, NOW), holder.jkt, replay)


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize(
    "changes",
    [
        {"htm": "GET"},
        {"htm": "post"},
        {"htm": None},
        {"htu": f"{BASE}/p/web/mcp"},
        {"htu": "https://evil.example/mcp"},
        {"htu": "http://gate.example.com/mcp"},
        {"htu": "/mcp"},
        {"htu": None},
        {"htu": 7},
        {"iat": int(NOW) - 61},
        {"iat": int(NOW) + 61},
        {"iat": None},
        {"iat": True},
        {"iat": str(int(NOW))},
        {"iat": 10**400},
        {"ath": "x"},
        {"ath": None},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "j" * 513},
    ],
)
def test_a_proof_for_something_else_is_refused(holder: Holder, changes: dict[str, Any]) -> None:
    assert is_refused(holder.proof(TOKEN, NOW, **changes), holder.jkt)


@pytest.mark.parametrize(
    "changes",
    [
        {"iat": int(NOW) - 60},
        {"iat": int(NOW) + 60},
        {"htu": f"{BASE}/mcp?x=1#y"},
        {"htu": "HTTPS://GATE.example.com:443/mc%70"},
    ],
)
def test_its_harmless_twin_is_accepted(holder: Holder, changes: dict[str, Any]) -> None:
    checked(holder.proof(TOKEN, NOW, **changes), holder.jkt)


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_proof_for_another_token_or_by_another_key_is_refused(holder: Holder) -> None:
    assert is_refused(holder.proof("another-token", NOW), holder.jkt)
    assert is_refused(Holder().proof(TOKEN, NOW), holder.jkt)


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_there_is_exactly_one_proof(holder: Holder) -> None:
    one, two = holder.proof(TOKEN, NOW), holder.proof(TOKEN, NOW)
    for proof in (None, "", f"{one}, {two}", f"{one},{one}", one + "x" * 9000, f" {one}"):
        assert is_refused(proof, holder.jkt)
    checked(one, holder.jkt)


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": None},
        {"typ": "DPoP+JWT"},
        {"alg": "none"},
        {"alg": "ES384"},
        {"jwk": None},
        {"jwk": {}},
        {"jwk": "x"},
        {"crit": ["jwk"]},
    ],
)
def test_a_proof_with_a_wrong_header_is_refused(holder: Holder, header: dict[str, Any]) -> None:
    assert is_refused(holder.proof(TOKEN, NOW, header), holder.jkt)


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_proof_that_shows_a_private_or_shared_key_is_refused(holder: Holder) -> None:
    assert is_refused(holder.proof(TOKEN, NOW, {"jwk": holder.key.as_dict(private=True)}), holder.jkt)
    shared = OctKey.generate_key(256)
    head = {"typ": "dpop+jwt", "alg": "HS256", "jwk": shared.as_dict(private=True)}
    assert is_refused(forged(head, {"htm": "POST"}, shared, "HS256"), shared.thumbprint())


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_proof_signed_by_another_key_than_it_shows_is_refused(holder: Holder) -> None:
    thief = Holder()
    assert is_refused(thief.proof(TOKEN, NOW, {"jwk": holder.key.as_dict(private=False)}), holder.jkt)


def test_strangers_cannot_fill_the_memory_of_proofs(holder: Holder) -> None:
    replay = SeenProofs()
    assert is_refused(Holder().proof(TOKEN, NOW), holder.jkt, replay=replay)
    assert not len(replay)


def test_a_nonce_is_demanded_where_it_is_configured(holder: Holder) -> None:
    nonces = Nonces(b"s" * 32)
    for nonce in (None, "", "x", Nonces(b"t" * 32).current(NOW), nonces.current(NOW - 400)):
        with pytest.raises(Refused) as caught:
            checked(holder.proof(TOKEN, NOW, nonce=nonce), holder.jkt, nonces=nonces)
        assert caught.value.code == "dpop_nonce"
    checked(holder.proof(TOKEN, NOW, nonce=nonces.current(NOW - 100)), holder.jkt, nonces=nonces)


@pytest.mark.parametrize(
    ("stated", "same"),
    [
        ("https://gate.example.com/mcp", True),
        ("https://gate.example.com:443/mcp", True),
        ("https://GATE.EXAMPLE.COM/mcp?a#b", True),
        ("https://gate.example.com/%6dcp", True),
        ("https://gate.example.com/MCP", False),
        ("https://gate.example.com/mcp/", False),
        ("https://gate.example.com:8443/mcp", False),
        ("https://gate.example.com//mcp", False),
        ("https://gate.example.com/x/../mcp", False),
        ("https://user@gate.example.com/mcp", False),
        ("https://gate.example.com\\@evil.example/mcp", False),
        ("https://gate.example.com:x/mcp", False),
        ("https:///mcp", False),
        ("https://gate.example.com /mcp", False),
        ("", False),
    ],
)
def test_two_spellings_of_one_url_are_the_same_and_nothing_else_is(stated: str, same: bool) -> None:
    assert same_url(stated, URL) is same


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_none(text: str) -> None:
    assert same_url(text, text) in (True, False)
    assert same_url(text, URL) == same_url(URL, text)


@given(st.text(max_size=60))
def test_any_text_is_refused_as_a_proof(text: str) -> None:
    assert is_refused(text, "a" * 43)

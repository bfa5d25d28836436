from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuing import b64

from sekisho.credentials.identity_assertion import (
    ID_JAG,
    Purpose,
    check_id_token,
    exchange_form,
    read_exchange,
)
from sekisho.errors import Refused

NOW = 1_800_000_000.0
IDP = "https://login.acme.example"
PURPOSE = Purpose(
    idp=IDP,
    audience="https://auth.chat.example/",
    client_id="me",
    resource="https://mcp.chat.example/mcp",
    scopes=("read",),
)
CLAIMS = {
    "iss": IDP,
    "sub": "U1",
    "aud": PURPOSE.audience,
    "client_id": "me",
    "resource": PURPOSE.resource,
    "exp": NOW + 300,
    "iat": NOW,
    "jti": "1",
}
HEAD = {"alg": "RS256", "typ": "oauth-id-jag+jwt"}


def token(head: object = HEAD, claims: object = CLAIMS, signature: str = "c2ln") -> str:
    return f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}.{signature}"


def answer(text: str, **changes: Any) -> bytes:
    told = {"access_token": text, "issued_token_type": ID_JAG, "token_type": "N_A"} | changes
    return json.dumps(told).encode()


@pytest.mark.parametrize(
    "text",
    [
        token(),
        token(HEAD | {"typ": "application/OAuth-ID-JAG+jwt"}),
        token(claims=CLAIMS | {"aud": [PURPOSE.audience], "resource": [PURPOSE.resource]}),
        token(claims=CLAIMS | {"aud": PURPOSE.audience.rstrip("/"), "iss": IDP + "/"}),
        "aGVhZA.a2V5.aXY.Y2lwaGVy.dGFn",
    ],
)
def test_an_id_jag_for_our_purpose_is_taken_whole(text: str) -> None:
    grant = read_exchange(answer(text), PURPOSE, NOW)
    assert (grant.assertion, grant.scopes) == (text, ("read",))
    assert text not in repr(grant)


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize(
    "text",
    [
        token({"alg": "none", "typ": "oauth-id-jag+jwt"}),
        token({"alg": "RS256"}),
        token({"alg": "RS256", "typ": "at+jwt"}),
        token(signature=""),
        token([]),
        token(claims=[]),
        token(claims=CLAIMS | {"exp": "soon"}),
        token(claims={name: value for name, value in CLAIMS.items() if name != "exp"}),
        token(claims=CLAIMS | {"exp": NOW}),
        token(claims=CLAIMS | {"aud": [PURPOSE.audience, "https://evil.example"]}),
        token(claims=CLAIMS | {"aud": []}),
        token(claims=CLAIMS | {"aud": PURPOSE.audience + "x"}),
        token(claims=CLAIMS | {"resource": [PURPOSE.resource, "https://evil.example"]}),
        token(claims=CLAIMS | {"client_id": "me2"}),
        token().replace(".", " "),
        token() + "\n",
        token() + ".x",
        "",
    ],
)
def test_an_id_jag_for_another_purpose_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_exchange(answer(text), PURPOSE, NOW)


@given(st.sampled_from(sorted(set(CLAIMS) - {"sub", "iat", "jti"})), st.text())
def test_no_claim_that_counts_may_be_another(name: str, value: str) -> None:
    changed = CLAIMS | {name: value}
    same = value in (CLAIMS[name], str(CLAIMS[name]).rstrip("/"))
    if same:
        read_exchange(answer(token(claims=changed)), PURPOSE, NOW)
    else:
        with pytest.raises(Refused):
            read_exchange(answer(token(claims=changed)), PURPOSE, NOW)


@given(st.binary())
def test_any_bytes_are_refused_and_not_stumbled_over(body: bytes) -> None:
    with pytest.raises(Refused):
        read_exchange(body, PURPOSE, NOW)


@given(st.text().filter(lambda text: text.count(".") != 4))
def test_any_text_is_refused_and_not_stumbled_over(text: str) -> None:
    with pytest.raises(Refused):
        read_exchange(answer(f"a{text}"), PURPOSE, NOW)
    with pytest.raises(Refused):
        check_id_token(text, issuer=IDP, client_id="me", now=NOW)


def test_what_is_granted_narrows_what_was_asked_and_never_widens_it() -> None:
    wide = Purpose(
        idp=IDP,
        audience=PURPOSE.audience,
        client_id="me",
        resource=PURPOSE.resource,
        scopes=("read", "write"),
    )
    assert read_exchange(answer(token(), scope="write admin"), wide, NOW).scopes == ("write",)
    nothing = Purpose(
        idp=IDP, audience=PURPOSE.audience, client_id="me", resource=PURPOSE.resource, scopes=()
    )
    assert read_exchange(answer(token(), scope="read"), nothing, NOW).scopes == ("read",)
    assert read_exchange(answer(token()), nothing, NOW).scopes == ()
    assert "scope" not in exchange_form("t", nothing)


def test_an_identity_token_for_several_audiences_counts_where_we_are_one() -> None:
    claims = {"iss": IDP, "aud": ["other", "me"], "exp": NOW + 1}
    check_id_token(token({"alg": "RS256"}, claims), issuer=IDP + "/", client_id="me", now=NOW)
    with pytest.raises(Refused, match="has expired"):
        check_id_token(token({"alg": "RS256"}, claims), issuer=IDP, client_id="me", now=NOW + 1)

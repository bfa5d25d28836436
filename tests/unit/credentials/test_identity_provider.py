"""An ID-JAG from the company's identity provider, and an access token for it: over real connections, on loopback."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from sekisho.credentials.authoriser import OAuthAuthoriser
from sekisho.credentials.challenge import Challenge
from sekisho.errors import Refused, SekishoError
from sekisho.keys.files import write_private
from sekisho.protocol import response_bytes

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Company, Desk, Town

ASKED = Challenge(scopes=("read", "write"))
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


async def test_an_identity_token_becomes_an_id_jag_and_that_an_access_token(
    town: Town, company: Company, desk: Desk
) -> None:
    id_token = company.say_who()
    tokens = await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert company.forms == [
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
            "audience": town.issuer,
            "resource": town.url,
            "scope": "read write",
            "subject_token": id_token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
            "client_id": "sekisho",
        }
    ]
    (form,) = town.forms
    assert (form["grant_type"], form["resource"], form["scope"]) == (JWT_BEARER, town.url, "read write")
    assert form["client_id"] == "me"
    signed = company.id_jag(company.forms[0]).rpartition(".")[0]
    assert form["assertion"].rpartition(".")[0] == signed
    assert (tokens.access, tokens.refresh, tokens.resource) == ("access-1", "", town.url)
    assert desk.vault.read().current == tokens


@pytest.mark.threat("T-MIXUP")
async def test_the_identity_token_is_shown_to_the_provider_alone(
    town: Town, company: Company, desk: Desk
) -> None:
    id_token = company.say_who()
    write_private(desk.folder / "secret", b"s\n")
    own = {"client_secret_path": desk.folder / "secret"}
    await desk.client(town, **company.settings(town, idp=own)).obtain(ASKED)
    given = base64.b64decode(company.heads[0]["authorization"].removeprefix("Basic "))
    assert given == b"sekisho:s"
    assert "authorization" not in town.token_heads[0]
    assert id_token not in str(town.forms)


async def test_the_client_signs_for_itself_at_the_provider(town: Town, company: Company, desk: Desk) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    write_private(desk.folder / "key", pem)
    own = {"private_key_path": desk.folder / "key"}
    await desk.client(town, **company.settings(town, idp=own)).obtain(ASKED)
    assertion = company.forms[0]["client_assertion"]
    claims = jwt.decode(assertion, ECKey.import_key(pem), algorithms=["ES256"]).claims
    assert (claims["aud"], claims["sub"]) == (company.issuer, "sekisho")


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "https://evil.example"}, "another authorization server"),
        ({"aud": ["https://evil.example"]}, "another authorization server"),
        ({"client_id": "somebody"}, "another client"),
        ({"resource": "https://evil.example/mcp"}, "another resource"),
        ({"resource": None}, "another resource"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"exp": 1_799_999_999}, "has expired"),
    ],
)
async def test_an_id_jag_for_something_else_is_shown_to_nobody(
    town: Town, company: Company, desk: Desk, claims: dict[str, Any], why: str
) -> None:
    client = desk.client(town, **company.settings(town))
    company.in_claims = claims
    with pytest.raises(Refused, match=why) as caught:
        await client.obtain(ASKED)
    assert caught.value.remedy
    assert town.forms == []
    company.in_claims = {}
    assert (await client.obtain(ASKED)).access == "access-1"


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}, "another kind of token"),
        ({"token_type": "Bearer"}, "calls its ID-JAG an access token"),
        ({"access_token": "opaque"}, "no signed JWT"),
        ({"access_token": "e." + "x" * (32 << 10) + ".s"}, "too large"),
        ({"issued_token_type": None}, "cannot be read"),
        ({"scope": "admin"}, "none of the scopes"),
    ],
)
async def test_an_answer_that_is_no_id_jag_is_refused(
    town: Town, company: Company, desk: Desk, answer: dict[str, Any], why: str
) -> None:
    client = desk.client(town, **company.settings(town))
    company.in_answer = answer
    with pytest.raises(Refused, match=why):
        await client.obtain(ASKED)
    assert town.forms == []
    company.in_answer = {"token_type": "n_a", "scope": "read write"}
    assert (await client.obtain(ASKED)).access == "access-1"


async def test_an_answer_without_end_is_given_up(town: Town, company: Company, desk: Desk) -> None:
    company.refusal = response_bytes(200, b" " * (257 << 10))
    with pytest.raises(Refused, match="no usable answer"):
        await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert town.forms == []
    company.refusal = None
    assert (await desk.client(town, **company.settings(town)).obtain(ASKED)).access == "access-1"


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "somebody"}, "not made for"),
        ({"exp": 1_799_999_999}, "has expired"),
    ],
)
async def test_an_identity_token_of_others_or_of_yesterday_is_not_sent(
    town: Town, company: Company, desk: Desk, claims: dict[str, Any], why: str
) -> None:
    client = desk.client(town, **company.settings(town))
    company.say_who(**claims)
    with pytest.raises(Refused, match=why) as caught:
        await client.obtain(ASKED)
    assert "id_token_path" in caught.value.remedy
    assert company.forms == []
    company.say_who()
    assert (await client.obtain(ASKED)).access == "access-1"


@pytest.mark.threat("T-MIXUP")
async def test_a_provider_whose_metadata_name_another_is_not_asked(
    town: Town, company: Company, desk: Desk
) -> None:
    company.server_metadata["issuer"] = "https://evil.example"
    with pytest.raises(Refused, match="another issuer"):
        await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert company.forms == []


@pytest.mark.threat("T-MIXUP")
async def test_a_plugin_cannot_have_an_id_jag_made_for_a_server_of_its_choice(
    town: Town, company: Company, desk: Desk
) -> None:
    town.resource_metadata["authorization_servers"] = ["https://evil.example"]
    with pytest.raises(Refused, match=r"oauth\.issuer"):
        await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert company.forms == []


async def test_a_provider_that_says_no_is_quoted_by_its_registered_word_alone(
    town: Town, company: Company, desk: Desk
) -> None:
    company.refusal = response_bytes(400, b'{"error":"invalid_grant","error_description":"secret words"}')
    with pytest.raises(Refused, match="refused the exchange: invalid_grant") as caught:
        await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert "secret" not in str(caught.value)
    assert town.forms == []


async def test_fewer_scopes_than_asked_are_all_that_is_asked_of_the_plugins_server(
    town: Town, company: Company, desk: Desk
) -> None:
    company.in_answer = {"scope": "read admin"}
    await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert town.forms[0]["scope"] == "read"


async def test_an_identity_token_that_others_may_read_is_not_sent(
    town: Town, company: Company, desk: Desk
) -> None:
    (desk.folder / "id-token").chmod(0o644)
    with pytest.raises(SekishoError):
        await desk.client(town, **company.settings(town)).obtain(ASKED)
    assert company.forms == []


async def test_the_provider_is_asked_each_time_and_may_have_changed_its_mind(
    town: Town, company: Company, desk: Desk
) -> None:
    events: list[str] = []
    authoriser = OAuthAuthoriser(
        vault=desk.vault,
        client=desk.client(town, **company.settings(town)),
        clock=lambda: desk.now,
        log=lambda event, **fields: events.append(f"{event} {fields}"),
    )
    assert await authoriser.refused(401, "Bearer")
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)
    id_token = company.say_who(exp=desk.now + 9_000)
    company.in_claims = {"exp": desk.now + 9_000}
    desk.now += 3_600 - 10
    await authoriser.prepare()
    assert authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-2"),)
    assert [form["grant_type"] for form in town.forms] == [JWT_BEARER] * 2
    assert company.forms[1]["subject_token"] == id_token
    company.refusal = response_bytes(400, b'{"error":"invalid_target"}')
    assert not await authoriser.refused(401, 'Bearer error="insufficient_scope", scope="more"')
    assert len(town.forms) == 2
    assert "invalid_target" in events[-1]
    assert not any(word in event for event in events for word in (id_token, "access-1", "access-2"))


async def test_a_refresh_token_of_an_earlier_grant_is_not_used(
    town: Town, company: Company, desk: Desk
) -> None:
    await desk.client(town).obtain(ASKED)
    assert desk.vault.read().tokens[town.issuer].refresh == "refresh-1"
    await desk.client(town, **company.settings(town)).obtain(Challenge())
    assert town.forms[-1]["grant_type"] == JWT_BEARER
    assert desk.vault.read().tokens[town.issuer].refresh == ""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import ECKey
from msgspec.structs import replace

from sekisho.credentials.challenge import Challenge
from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.keys.files import write_private
from sekisho.protocol import response_bytes

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Desk, Town

ASKED = Challenge(scheme="bearer")
MORE = Challenge(scheme="bearer", error="insufficient_scope", scopes=("write",))


async def test_a_login_registers_asks_with_pkce_and_keeps_the_tokens(town: Town, desk: Desk) -> None:
    tokens = await desk.client(town).obtain(Challenge(scopes=("read",)))
    assert (tokens.access, tokens.refresh, tokens.scopes) == ("access-1", "refresh-1", ("read",))
    assert (town.pages[0]["code_challenge_method"], town.pages[0]["resource"]) == ("S256", town.url)
    assert town.forms[0]["resource"] == town.url
    assert town.forms[0]["client_id"] == "client-1"
    held = desk.vault.read()
    assert held.issuer == town.issuer
    assert held.current == tokens


@pytest.mark.threat("T-MIXUP")
async def test_a_pre_registered_client_shows_its_secret_to_its_issuer_only(town: Town, desk: Desk) -> None:
    write_private(desk.folder / "secret", b"s:1\n")
    stated: dict[str, Any] = {
        "client_id": "me",
        "client_secret_path": desk.folder / "secret",
        "issuer": town.issuer,
    }
    await desk.client(town, **stated).obtain(ASKED)
    assert base64.b64decode(town.token_heads[0]["authorization"].removeprefix("Basic ")) == b"me:s%3A1"
    assert town.registrations == []
    town.forms.clear()
    town.resource_metadata["authorization_servers"] = ["https://evil.example"]
    with pytest.raises(Refused):
        await desk.client(town, **stated).obtain(ASKED)
    assert town.forms == []


async def test_a_secret_that_others_may_read_is_not_sent(town: Town, desk: Desk) -> None:
    (desk.folder / "secret").write_text("s")
    (desk.folder / "secret").chmod(0o644)
    client = desk.client(town, client_id="me", client_secret_path=desk.folder / "secret", issuer=town.issuer)
    with pytest.raises(SekishoError):
        await client.obtain(ASKED)
    assert town.forms == []


async def test_a_metadata_document_stands_for_the_client_where_the_server_reads_it(
    town: Town, desk: Desk
) -> None:
    town.server_metadata["client_id_metadata_document_supported"] = True
    await desk.client(town, client_metadata_url="https://me.example/client.json").obtain(ASKED)
    assert town.pages[0]["client_id"] == "https://me.example/client.json"
    assert town.registrations == []


async def test_nobody_registers_unless_that_is_allowed(town: Town, desk: Desk) -> None:
    with pytest.raises(Refused, match="does not know this client"):
        await desk.client(town, dynamic_registration=False, redirect_port=0).obtain(ASKED)
    assert town.registrations == []
    assert town.pages == []


async def test_a_registration_is_not_used_at_another_issuer(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(ASKED)
    held = desk.vault.read()
    moved = replace(
        held,
        issuer="https://old.example",
        clients={"https://old.example": held.clients[town.issuer]},
        tokens={"https://old.example": held.tokens[town.issuer]},
    )
    desk.vault.write(moved)
    await desk.client(town).obtain(ASKED)
    assert len(town.registrations) == 2
    assert [form["grant_type"] for form in town.forms] == ["authorization_code", "authorization_code"]


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize("said", [{"iss": "https://evil.example"}, {"iss": None}])
async def test_a_code_of_another_server_is_never_exchanged(
    town: Town, desk: Desk, said: dict[str, str | None]
) -> None:
    town.in_redirect = said
    with pytest.raises(Refused):
        await desk.client(town).obtain(ASKED)
    assert town.forms == []


async def test_a_server_without_pkce_is_refused_before_anybody_is_troubled(town: Town, desk: Desk) -> None:
    town.server_metadata["code_challenge_methods_supported"] = ["plain"]
    with pytest.raises(Refused, match="PKCE"):
        await desk.client(town).obtain(ASKED)
    assert town.registrations == []
    assert town.pages == []


@pytest.mark.threat("T-MIXUP")
async def test_a_redirect_of_the_token_endpoint_is_a_refusal(town: Town, desk: Desk) -> None:
    town.token_answer = lambda form: response_bytes(
        307, b"", headers=(("Location", "https://evil.example/token"),)
    )
    with pytest.raises(Refused, match="307"):
        await desk.client(town).obtain(ASKED)


async def test_a_refresh_token_is_used_once_and_replaced(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(ASKED)
    client = desk.client(town, with_person=False)
    assert (await client.obtain(ASKED)).refresh == "refresh-2"
    assert (await client.obtain(ASKED)).refresh == "refresh-3"
    assert [form.get("refresh_token") for form in town.forms] == [None, "refresh-1", "refresh-2"]
    assert desk.vault.read().current is not None


async def test_a_used_up_refresh_token_leads_to_a_new_login(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(ASKED)

    def refuse_refresh(form: dict[str, str]) -> bytes:
        if form["grant_type"] == "refresh_token":
            return response_bytes(400, b'{"error":"invalid_grant"}')
        return town.give_token(form)

    town.token_answer = refuse_refresh
    assert (await desk.client(town).obtain(ASKED)).access == "access-2"
    with pytest.raises(Unavailable, match="needs a login") as caught:
        await desk.client(town, with_person=False).obtain(ASKED)
    assert "sekisho login notes" in caught.value.remedy


async def test_more_scopes_are_asked_for_together_with_those_held(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(Challenge(scopes=("read",)))
    tokens = await desk.client(town).obtain(MORE)
    assert town.pages[1]["scope"] == "read write"
    assert tokens.scopes == ("read", "write")


async def test_scopes_found_missing_are_remembered_for_the_next_login(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(Challenge(scopes=("read",)))
    with pytest.raises(Unavailable):
        await desk.client(town, with_person=False).obtain(MORE)
    await desk.client(town).obtain(ASKED, anew=True)
    assert set(town.pages[1]["scope"].split()) == {"read", "write"}
    assert desk.vault.read().wanted == ()


async def test_stated_scopes_are_a_ceiling(town: Town, desk: Desk) -> None:
    stated: dict[str, Any] = {"dynamic_registration": True, "scopes": ("read",)}
    await desk.client(town, **stated).obtain(Challenge(scopes=("admin",)))
    assert town.pages[0]["scope"] == "read"
    with pytest.raises(Refused, match="write"):
        await desk.client(town, **stated).obtain(MORE)
    assert len(town.pages) == 1


async def test_offline_access_is_asked_for_where_the_server_knows_it(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(Challenge(scopes=("read",)))
    assert town.pages[0]["scope"] == "read"
    town.server_metadata["scopes_supported"] = ["read", "offline_access"]
    await desk.client(town).obtain(Challenge(scopes=("read",)), anew=True)
    assert town.pages[1]["scope"] == "read offline_access"


async def test_a_machine_signs_for_itself(town: Town, desk: Desk) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    write_private(desk.folder / "key", pem)
    client = desk.client(
        town, grant="client_credentials", client_id="me", private_key_path=desk.folder / "key"
    )
    await client.obtain(Challenge(scopes=("read",)))
    form = town.forms[0]
    claims = jwt.decode(form["client_assertion"], ECKey.import_key(pem), algorithms=["ES256"]).claims
    assert (claims["aud"], claims["sub"], form["scope"]) == (town.issuer, "me", "read")
    assert town.pages == []


async def test_a_workload_shows_its_own_token(town: Town, desk: Desk) -> None:
    write_private(desk.folder / "token", b"workload.jwt.here\n")
    client = desk.client(town, grant="jwt_bearer", assertion_path=desk.folder / "token", issuer=town.issuer)
    await client.obtain(ASKED)
    assert town.forms[0]["assertion"] == "workload.jwt.here"


async def test_a_bound_token_is_asked_for_with_a_proof_and_its_nonce(town: Town, desk: Desk) -> None:
    def bound(form: dict[str, str]) -> bytes:
        if len(town.forms) == 1:
            return response_bytes(400, b'{"error":"use_dpop_nonce"}', headers=(("DPoP-Nonce", "n1"),))
        return response_bytes(200, b'{"access_token":"a","token_type":"DPoP"}')

    town.token_answer = bound
    client = desk.client(town, dynamic_registration=True, dpop=True)
    assert (await client.obtain(ASKED)).kind == "DPoP"
    proof = town.token_heads[1]["dpop"]
    key = client.possession_key()
    assert key is not None
    claims = jwt.decode(proof, ECKey.import_key(key.public), algorithms=["ES256"]).claims
    assert (claims["nonce"], claims["htu"]) == ("n1", f"{town.issuer}/token")


async def test_a_bearer_token_is_refused_where_a_bound_one_was_asked_for(town: Town, desk: Desk) -> None:
    with pytest.raises(Refused, match="DPoP"):
        await desk.client(town, dynamic_registration=True, dpop=True).obtain(ASKED)
    assert desk.vault.read().current is None

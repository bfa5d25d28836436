"""A login at the company's identity provider, for the identity token that is exchanged: real connections, on loopback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sekisho.credentials.challenge import Challenge
from sekisho.errors import Refused, Unavailable

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Company, Desk, Town

ASKED = Challenge(scopes=("read",))


def stated(town: Town, company: Company) -> dict[str, Any]:
    return company.settings(town, idp={"id_token_path": None})


async def test_a_person_logs_in_once_at_the_provider(town: Town, company: Company, desk: Desk) -> None:
    assert (await desk.client(town, **stated(town, company)).obtain(ASKED)).access == "access-1"
    (page,) = company.pages
    assert (page["client_id"], page["scope"]) == ("sekisho", "openid offline_access")
    assert page["code_challenge_method"] == "S256"
    assert "resource" not in page
    identity = desk.vault.read().identity
    assert identity is not None
    assert (identity.issuer, company.forms[0]["subject_token"]) == (company.issuer, identity.id_token)
    assert identity.id_token not in repr(desk.vault.read())
    alone = desk.client(town, with_person=False, **stated(town, company))
    assert (await alone.obtain(ASKED, alone=True)).access == "access-2"
    assert (len(company.pages), len(company.logins), town.pages) == (1, 1, [])


async def test_without_a_login_nobody_is_asked_anything(town: Town, company: Company, desk: Desk) -> None:
    client = desk.client(town, with_person=False, **stated(town, company))
    with pytest.raises(Unavailable, match="login at the identity provider") as caught:
        await client.obtain(ASKED)
    assert (caught.value.code, "sekisho login notes" in caught.value.remedy) == ("login_needed", True)
    with pytest.raises(Unavailable):
        await desk.client(town, **stated(town, company)).obtain(ASKED, alone=True)
    assert (company.forms, company.pages, town.forms) == ([], [], [])


async def test_an_old_identity_token_is_renewed_and_each_refresh_token_used_once(
    town: Town, company: Company, desk: Desk
) -> None:
    await desk.client(town, **stated(town, company)).obtain(ASKED)
    client = desk.client(town, with_person=False, **stated(town, company))
    for _ in range(2):
        desk.now += 3_600
        company.in_id_token = company.in_claims = {"exp": desk.now + 3_600}
        await client.obtain(ASKED)
    assert [form.get("refresh_token") for form in company.logins] == [None, "idp-refresh-1", "idp-refresh-2"]
    assert len(company.pages) == 1
    company.used_up.add("idp-refresh-3")
    desk.now += 3_600
    with pytest.raises(Unavailable, match="needs a login"):
        await client.obtain(ASKED)
    company.in_id_token = company.in_claims = {"exp": desk.now + 3_600}
    await desk.client(town, **stated(town, company)).obtain(ASKED)
    assert len(company.pages) == 2


async def test_a_login_on_request_asks_the_person_again(town: Town, company: Company, desk: Desk) -> None:
    client = desk.client(town, **stated(town, company))
    await client.obtain(ASKED, anew=True)
    await client.obtain(ASKED, anew=True)
    assert len(company.pages) == 2


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize(
    "claims", [{"iss": "https://evil.example"}, {"aud": "somebody"}, {"exp": 1_799_999_999}]
)
async def test_an_identity_token_for_somebody_else_is_not_exchanged(
    town: Town, company: Company, desk: Desk, claims: dict[str, Any]
) -> None:
    client = desk.client(town, **stated(town, company))
    company.in_id_token = claims
    with pytest.raises(Refused, match="identity token"):
        await client.obtain(ASKED)
    assert (company.forms, town.forms, desk.vault.read().identity) == ([], [], None)
    company.in_id_token = {}
    assert (await client.obtain(ASKED)).access == "access-1"


@pytest.mark.threat("T-MIXUP")
async def test_a_code_of_another_server_is_never_exchanged(town: Town, company: Company, desk: Desk) -> None:
    company.in_redirect = {"iss": "https://evil.example"}
    with pytest.raises(Refused):
        await desk.client(town, **stated(town, company)).obtain(ASKED)
    assert (company.logins, company.forms) == ([], [])


@pytest.mark.threat("T-MIXUP")
async def test_what_one_provider_gave_is_not_shown_to_another(
    town: Town, company: Company, desk: Desk, serving: Any
) -> None:
    await desk.client(town, **stated(town, company)).obtain(ASKED)
    company.forms.clear()
    async with serving(company.answer) as issuer:
        company.open_at(issuer)
        with pytest.raises(Unavailable, match="needs a login"):
            await desk.client(town, with_person=False, **stated(town, company)).obtain(ASKED)
        assert (company.forms, len(company.logins)) == ([], 1)


async def test_a_provider_without_pkce_is_refused_before_anybody_is_troubled(
    town: Town, company: Company, desk: Desk
) -> None:
    company.server_metadata["code_challenge_methods_supported"] = ["plain"]
    with pytest.raises(Refused, match="PKCE"):
        await desk.client(town, **stated(town, company)).obtain(ASKED)
    assert company.pages == []

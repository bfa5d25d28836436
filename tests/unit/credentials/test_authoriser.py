from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from sekisho.credentials.authoriser import MAX_WAYS, STRAGGLE_S, WINDOW_S, OAuthAuthoriser
from sekisho.credentials.challenge import Challenge
from sekisho.protocol import response_bytes

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Desk, Town

MORE = 'Bearer error="insufficient_scope", scope="write"'


class Clerk:
    """An authoriser and what it logged."""

    def __init__(self, town: Town, desk: Desk, **stated: Any) -> None:
        self.events: list[str] = []
        self.authoriser = OAuthAuthoriser(
            vault=desk.vault,
            client=desk.client(town, **stated),
            clock=lambda: desk.now,
            log=lambda event, **fields: self.events.append(f"{event} {fields}"),
        )


async def test_nothing_is_sent_before_anything_was_given(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    await clerk.authoriser.prepare()
    assert clerk.authoriser.headers("POST", town.url) == ()
    assert town.asked == []


async def test_a_refusal_leads_to_a_token_for_this_resource_alone(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    assert await clerk.authoriser.refused(401, "Bearer")
    assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)
    assert clerk.authoriser.headers("POST", town.url + "/messages") != ()
    for elsewhere in (town.issuer + "/mcp", "https://evil.example/mcp", town.url + "x", ""):
        assert clerk.authoriser.headers("POST", elsewhere) == ()
    assert not any("access-1" in event for event in clerk.events)


async def test_requests_refused_at_once_share_one_way(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    assert all(await asyncio.gather(*(clerk.authoriser.refused(401, "Bearer") for _ in range(20))))
    assert len(town.forms) == 1


async def test_a_server_that_refuses_every_token_is_not_asked_without_end(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    outcomes = []
    for _ in range(MAX_WAYS + 5):
        outcomes.append(await clerk.authoriser.refused(403, MORE))
        desk.now += STRAGGLE_S
    assert outcomes == [True] * MAX_WAYS + [False] * 5
    assert len(town.forms) == MAX_WAYS
    desk.now += WINDOW_S + 1
    assert await clerk.authoriser.refused(403, MORE)


@pytest.mark.parametrize(("status", "challenge"), [(403, ""), (403, "Bearer"), (400, MORE), (500, MORE)])
async def test_another_refusal_is_final(town: Town, desk: Desk, status: int, challenge: str) -> None:
    clerk = Clerk(town, desk)
    assert not await clerk.authoriser.refused(status, challenge)
    assert town.asked == []


async def test_a_login_that_is_missing_is_said_and_seen_when_it_came(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk, with_person=False)
    assert not await clerk.authoriser.refused(401, "Bearer")
    assert clerk.authoriser.problem is not None
    assert clerk.authoriser.problem.code == "login_needed"
    await desk.client(town).obtain(Challenge())
    assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)


async def test_a_login_made_elsewhere_is_taken_instead_of_a_new_one(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    assert await clerk.authoriser.refused(401, "Bearer")
    desk.now += STRAGGLE_S
    await desk.client(town).obtain(Challenge(), anew=True)
    asked = len(town.forms)
    assert await clerk.authoriser.refused(401, "Bearer")
    assert len(town.forms) == asked
    assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-2"),)


async def test_a_token_about_to_end_is_renewed_before_it_is_used(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(Challenge())
    clerk = Clerk(town, desk, with_person=False)
    await clerk.authoriser.prepare()
    assert len(town.forms) == 1
    desk.now += 3590
    await clerk.authoriser.prepare()
    assert town.forms[1]["refresh_token"] == "refresh-1"
    assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-2"),)


async def test_a_bound_token_goes_with_a_fresh_proof_and_the_servers_nonce(town: Town, desk: Desk) -> None:
    town.token_answer = lambda form: response_bytes(200, b'{"access_token":"a","token_type":"DPoP"}')
    stated = {"dynamic_registration": True, "dpop": True}
    clerk = Clerk(town, desk, **stated)
    assert await clerk.authoriser.refused(401, "DPoP")
    first, second = (dict(clerk.authoriser.headers("POST", town.url)) for _ in range(2))
    assert first["Authorization"] == "DPoP a"
    assert first["DPoP"] != second["DPoP"]
    challenge = 'DPoP error="use_dpop_nonce"'
    assert await clerk.authoriser.refused(401, challenge, "n1")
    assert not await clerk.authoriser.refused(401, challenge, "n1")
    key = desk.client(town, **stated).possession_key()
    assert key is not None
    proof = dict(clerk.authoriser.headers("POST", town.url))["DPoP"]
    assert jwt.decode(proof, ECKey.import_key(key.public), algorithms=["ES256"]).claims["nonce"] == "n1"
    assert len(town.forms) == 1


async def test_refusals_of_requests_with_the_token_before_cost_no_way(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(Challenge())
    clerk = Clerk(town, desk)
    assert clerk.authoriser.headers("POST", town.url) != ()
    assert await clerk.authoriser.refused(401, "Bearer")
    assert all([await clerk.authoriser.refused(401, "Bearer") for _ in range(20)])
    assert len(town.forms) == 2
    assert await clerk.authoriser.refused(403, MORE)  # what is missing is no matter of age
    assert len(town.forms) == 3
    desk.now += STRAGGLE_S
    assert await clerk.authoriser.refused(401, "Bearer")
    assert len(town.forms) == 4


async def test_the_first_token_was_refused_itself(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    assert await clerk.authoriser.refused(401, "Bearer")
    assert await clerk.authoriser.refused(401, "Bearer")
    assert len(town.forms) == 2


async def test_a_token_in_use_is_renewed_before_it_ends_without_anybody(town: Town, desk: Desk) -> None:
    await desk.client(town).obtain(Challenge())
    clerk = Clerk(town, desk)
    before = clerk.authoriser.headers("POST", town.url)
    desk.now += 3590
    assert clerk.authoriser.headers("POST", town.url) is before
    assert await clerk.authoriser.refused(401, "Bearer")  # shares the way that began
    assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-2"),)
    assert [form["grant_type"] for form in town.forms] == ["authorization_code", "refresh_token"]


async def test_a_login_goes_on_when_the_request_that_began_it_is_gone(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk)
    request = asyncio.ensure_future(clerk.authoriser.refused(401, "Bearer"))
    await asyncio.sleep(0)
    request.cancel()
    assert await clerk.authoriser.refused(401, "Bearer")
    assert len(town.pages) == 1
    assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)


async def test_a_token_that_cannot_be_renewed_early_is_tried_once_and_used_to_its_end(
    town: Town, desk: Desk
) -> None:
    await desk.client(town).obtain(Challenge())
    clerk = Clerk(town, desk, with_person=False)
    town.token_answer = lambda form: response_bytes(400, b'{"error":"invalid_grant"}')
    desk.now += 3590
    for _ in range(50):
        await clerk.authoriser.prepare()
        assert clerk.authoriser.headers("POST", town.url) == (("Authorization", "Bearer access-1"),)
    assert len(town.forms) == 2
    assert len(clerk.events) == 1
    assert desk.vault.read().wanted == ()


async def test_what_cannot_be_mended_is_said_once(town: Town, desk: Desk) -> None:
    clerk = Clerk(town, desk, with_person=False)
    for _ in range(50):
        assert not await clerk.authoriser.refused(401, "Bearer")
    assert len(clerk.events) == MAX_WAYS + 1

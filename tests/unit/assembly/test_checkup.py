"""What an operator is told about `[auth]` before a client finds out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.issuing import BASE, Issuer, as_json
from tests.real.authorization_server import METADATA, AuthorizationServer, listening

from sekisho.assembly.checkup import examine_auth
from sekisho.config import Auth, AuthIssuer, CoreConfig, CoreServer
from sekisho.sandbox import Row

pytestmark = pytest.mark.real

SERVED = CoreServer(allowed_hosts=("gate.example.com",))


def examined(
    given: Callable[[AuthorizationServer], AuthIssuer],
    server: CoreServer = SERVED,
    prepare: Callable[[AuthorizationServer], None] = lambda server: None,
) -> dict[str, Row]:
    """The rows by name; the authorization server runs while they are made."""

    async def run() -> tuple[Row, ...]:
        async with listening(Issuer()) as one:
            prepare(one)
            auth = Auth(resource=BASE, issuers=(given(one),))
            config = CoreConfig(core_server=server, auth=auth)
            return await asyncio.to_thread(examine_auth, config)

    rows = {row.what: row for row in asyncio.run(run())}
    assert all(bool(row.fix) != row.ok for row in rows.values())
    return rows


def plain(server: AuthorizationServer) -> AuthIssuer:
    return AuthIssuer(name="corp", issuer=server.url)


def asking(folder: Path) -> Callable[[AuthorizationServer], AuthIssuer]:
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text("s3cret")
    return lambda server: AuthIssuer(
        name="corp",
        issuer=server.url,
        introspection_url=f"{server.url}/introspect",
        client_id="gate",
        client_secret_path=secret,
    )


def test_without_issuers_nobody_is_asked() -> None:
    assert examine_auth(CoreConfig()) == ()


def test_an_issuer_that_is_ready_is_said_to_be() -> None:
    rows = examined(plain)
    assert rows["auth.resource"].ok
    assert rows["issuer corp"].ok
    assert rows["issuer corp"].detail == "1 key to verify tokens with"


def test_a_public_name_that_the_door_refuses_is_named() -> None:
    row = examined(plain, CoreServer())["auth.resource"]
    assert not row.ok
    assert row.fix == 'add "gate.example.com" to core_server.allowed_hosts'


@pytest.mark.parametrize("slash", ["/", "/realms/other"])
def test_an_issuer_under_another_name_is_shown_with_that_name(slash: str) -> None:
    def elsewhere(server: AuthorizationServer) -> None:
        server.say(METADATA, as_json({"issuer": server.url + slash, "jwks_uri": f"{server.url}/jwks"}))

    row = examined(plain, prepare=elsewhere)["issuer corp"]
    assert not row.ok
    assert row.detail.endswith(f"{slash}'")
    assert "letter for letter" in row.fix


@pytest.mark.threat("T-ISSUER")
def test_what_an_issuer_says_reaches_no_terminal_as_it_is() -> None:
    def hostile(server: AuthorizationServer) -> None:
        server.say(METADATA, as_json({"issuer": "\x1b]0;owned\x07" + "x" * 9999}))

    row = examined(plain, prepare=hostile)["issuer corp"]
    assert row.detail.isprintable()
    assert len(row.detail) < 300


def test_keys_that_verify_nothing_are_none() -> None:
    row = examined(plain, prepare=lambda server: server.say("/jwks", b'{"keys":[]}'))["issuer corp"]
    assert (row.ok, row.detail) == (
        False,
        "the issuer's key set holds no key that could verify a token",
    )


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        (None, 200, "answers questions about tokens"),
        ({"error": "invalid_client"}, 401, "the issuer answers introspection with 401"),
        ({"active": True}, 200, "it takes a token that nobody has for an active one"),
        ({}, 200, "the token's issuer gave an answer that cannot be read"),
    ],
)
def test_an_issuer_that_is_asked_about_tokens_is_asked_about_one_that_nobody_has(
    tmp_path: Path, answer: Any, status: int, detail: str
) -> None:
    def prepare(server: AuthorizationServer) -> None:
        if answer is not None:
            server.say("/introspect", as_json(answer), status)

    row = examined(asking(tmp_path), prepare=prepare)["issuer corp"]
    assert (row.ok, row.detail) == (answer is None, detail)


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    issuer = asking(tmp_path)
    (tmp_path / "secret").unlink()
    assert str(tmp_path) in examined(issuer)["issuer corp"].detail

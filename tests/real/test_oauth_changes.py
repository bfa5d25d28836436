"""What changes while a house runs: proofs that another worker saw, reloads, rotated tokens, other authorities."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from tests.issuing import Holder
from tests.real.authorization_server import AuthorizationServer
from tests.real.conftest import ECHO, ECHO_TOOLS, House, common, plugin, quoted, until
from tests.real.login import (
    Caller,
    Login,
    bearer,
    calling,
    client_context,
    head,
    issued,
    private_file,
    proved,
)
from tests.real.test_workers import server_of

from sekisho.keys import Authority, KeyFolder, ensure_bearer

pytestmark = pytest.mark.real

WORKERS: Final = 2
MAX_TRIES: Final = 200
PLUGIN: Final = plugin("echo", ECHO, operations=ECHO_TOOLS)


def table(server: AuthorizationServer, more: str = "") -> str:
    """An `auth` table with one issuer."""
    return (
        f'[auth]\nresource = "HERE"\nrequired_scopes = ["mcp"]\n{more}'
        f'[[auth.issuers]]\nname = "corp"\nissuer = "{server.url}"\n'
    )


@pytest.fixture
def corp() -> Iterator[AuthorizationServer]:
    with Login("ES256") as login:
        yield login.servers[0]


@pytest.fixture
def start(walls: None, tmp_path: Path) -> Iterator[Callable[[str], House]]:
    """Builds a house with two workers."""
    built: list[House] = []

    def build(text: str) -> House:
        built.append(House(tmp_path, common() + text + PLUGIN, core=f"workers = {WORKERS}\n"))
        return built[-1]

    yield build
    for one in built:
        one.stop()


Start = Callable[[str], House]


def change(house: House, text: str) -> None:
    """Another table, and a reload."""
    house.configure(common() + text + PLUGIN)
    house.hang_up()


def reaches(house: House, authorization: str, code: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether several connections in a row, which both workers share, end with this code."""
    codes = []
    for _ in range(8):
        with calling(house, context) as caller:
            codes.append(caller.call(authorization).code)
    return set(codes) == {code}


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_proof_that_one_worker_saw_is_refused_by_every_worker_also_after_a_reload(
    start: Start, corp: AuthorizationServer
) -> None:
    house = start(table(corp))
    holder = Holder()
    token = issued(corp, house, cnf={"jkt": holder.jkt})
    with ExitStack() as stack:
        callers: dict[int, Caller] = {}
        for _ in range(MAX_TRIES):
            caller = stack.enter_context(calling(house))
            assert caller.call(f"DPoP {token}", proof=proved(holder, token, house)).code == "ok"
            callers.setdefault(server_of(house, caller), caller)
            if callers.keys() >= set(range(WORKERS)):
                break
        proof = proved(holder, token, house)
        assert callers[0].call(f"DPoP {token}", proof=proof).code == "ok"
        for caller in callers.values():
            assert caller.call(f"DPoP {token}", proof=proof).code == "dpop_invalid"
        change(house, table(corp, 'dpop = "required"\n'))
        plain = bearer(corp, house)
        until(lambda: reaches(house, plain, "token_invalid"), "the reload reached both")
        for caller in callers.values():
            assert caller.call(f"DPoP {token}", proof=proof).code == "dpop_invalid"
            assert caller.call(f"DPoP {token}", proof=proved(holder, token, house)).code == "ok"


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_nonce_that_one_worker_gave_is_good_at_every_worker(
    start: Start, corp: AuthorizationServer
) -> None:
    house = start(table(corp, "dpop_nonce = true\n"))
    holder = Holder()
    token = issued(corp, house, cnf={"jkt": holder.jkt})
    with calling(house) as caller:
        refused = caller.call(f"DPoP {token}", proof=proved(holder, token, house))
        assert (refused.status, refused.code) == (401, "dpop_nonce")
        assert refused.challenges["DPoP"]["error"] == "use_dpop_nonce"
        (nonce,) = refused.all("DPoP-Nonce")
    for text in ("short", "x" * 600_000) * 4:  # the connections are shared by both workers
        with calling(house) as caller:
            proof = proved(holder, token, house, nonce=nonce)
            assert caller.call(f"DPoP {token}", proof=proof, text=text).code == "ok"
            wrong = proved(holder, token, house, nonce=nonce[:-1] + "!")
            assert caller.call(f"DPoP {token}", proof=wrong).code == "dpop_nonce"


def test_issuers_come_and_go_with_a_reload_and_a_wrong_table_changes_nothing(
    start: Start, corp: AuthorizationServer, tmp_path: Path
) -> None:
    house = start("")
    token = bearer(corp, house)
    with calling(house) as caller:
        assert caller.call(token).challenges == {"Bearer": {"realm": "sekisho"}}
        assert caller.send("GET", "/.well-known/oauth-protected-resource/mcp").status == 404
    change(house, table(corp))
    until(lambda: reaches(house, token, "ok"), "the issuer is believed")
    secret = private_file(tmp_path, "empty", b"")
    asked = f'introspection_url = "{corp.url}/introspect"\nclient_id = "a"\nclient_secret_path = {quoted(secret)}\n'
    for wrong in (table(corp) + asked, table(corp, f"client_ca_path = {quoted(secret)}\n")):
        before = house.stderr.read_bytes().count(b"reload_refused")
        change(house, wrong)
        until(
            lambda n=before: house.stderr.read_bytes().count(b"reload_refused") == n + WORKERS,  # type: ignore[misc]
            "both refuse it",
        )
        assert reaches(house, token, "ok")
    change(house, "")
    until(lambda: reaches(house, token, "token_invalid"), "the issuer is forgotten")
    assert reaches(house, f"Bearer {house.token}", "ok")


def test_a_reload_while_the_issuer_is_away_locks_nobody_out_and_readyz_says_who_is_missing(
    start: Start, corp: AuthorizationServer
) -> None:
    house = start(table(corp))
    token = bearer(corp, house)
    until(lambda: reaches(house, token, "ok"), "its keys are here")
    assert house.status("/readyz").status_code == 200
    corp.say("/jwks", b"{}", 500)
    change(house, table(corp) + "[limits]\nmax_pipelined = 7\n")
    until(lambda: house.stderr.read_bytes().count(b"reloaded") >= WORKERS, "it was read")
    assert reaches(house, bearer(corp, house), "ok")
    change(house, table(corp, "static_tokens = false\n"))
    until(lambda: "issuer corp" in house.status("/readyz").text, "its keys are missing now")
    with calling(house) as caller:
        assert caller.call(bearer(corp, house)).status == 503
    del corp.pages["/jwks"]
    until(lambda: reaches(house, token, "ok"), "its keys are back")
    until(lambda: house.status("/readyz").status_code == 200, "all is well")
    assert reaches(house, f"Bearer {house.token}", "token_invalid")


@pytest.mark.threat("T-NOTOKEN")
def test_a_rotated_token_opens_nothing_after_a_reload_and_its_streams_end(
    start: Start, corp: AuthorizationServer
) -> None:
    house = start(table(corp))
    old = f"Bearer {house.token}"
    with calling(house) as caller, calling(house) as listening:
        session = caller.open_session(old)
        headers = head(old) | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
        listening.http.request("GET", "/mcp", headers=headers)
        stream = listening.http.getresponse()
        assert stream.status == 200
        file = Path(house.ready["token_file"])
        file.unlink()
        ensure_bearer(KeyFolder(house.home / "keys", "sekisho.local"), file.stem)
        house.hang_up()
        until(lambda: reaches(house, old, "token_invalid"), "the old one is refused")
        stream.read()  # ends, or the connection's own limit ends the test
    assert reaches(house, f"Bearer {file.read_text().strip()}", "ok")
    assert reaches(house, bearer(corp, house), "ok")


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_other_authorities_of_clients_count_after_a_reload(
    start: Start, corp: AuthorizationServer, tmp_path: Path
) -> None:
    authorities = [Authority.create("clients.example", time.time()) for _ in range(2)]
    files = [
        private_file(tmp_path, f"ca{number}.pem", one.certificate_pem)
        for number, one in enumerate(authorities)
    ]
    house = start(table(corp))
    shown = [client_context(house, one, tmp_path) for one in authorities]
    tokens = [bearer(corp, house, cnf={"x5t#S256": thumbprint}) for _, thumbprint in shown]
    assert reaches(house, tokens[0], "token_invalid", shown[0][0])  # nobody asks for certificates yet
    with calling(house) as staying:
        for mine, other in ((0, 1), (1, 0)):
            change(house, table(corp, f"client_ca_path = {quoted(files[mine])}\n"))
            until(lambda n=mine: lets_in(house, tokens[n], shown[n][0]), "it is believed")  # type: ignore[misc]
            assert not lets_in(house, tokens[other], shown[other][0])
        files[1].write_bytes(authorities[0].certificate_pem)  # the same file, another authority
        until(lambda: lets_in(house, tokens[0], shown[0][0]), "its new content counts")
        assert staying.call(bearer(corp, house)).code == "ok"


def lets_in(house: House, token: str, context: ssl.SSLContext) -> bool:
    """Whether both workers accept the certificate."""
    try:
        return reaches(house, token, "ok", context)
    except OSError:
        return False

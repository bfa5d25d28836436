"""Clients with tokens of authorization servers at the door of a real house: who is let in, what the others are told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from tests.issuing import Holder, as_json, new_key
from tests.real.authorization_server import AuthorizationServer
from tests.real.conftest import ECHO, ECHO_TOOLS, House, common, plugin, quoted, until
from tests.real.login import (
    Caller,
    Hold,
    Login,
    active,
    bearer,
    calling,
    client_context,
    head,
    issued,
    private_file,
    proved,
)
from tests.real.raw import connected, request

from sekisho.keys import Authority

pytestmark = pytest.mark.real

ENDPOINT: Final = "/p/echo/mcp"
WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
LARGE: Final = "x" * 600_000  # comes in pieces, so that the door is asked before the body is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """One house and the authorization servers that it believes."""

    house: House
    corp: AuthorizationServer
    turning: AuthorizationServer
    asked: AuthorizationServer
    mute: AuthorizationServer
    clients: Authority
    folder: Path


def auth(issuers: dict[str, str], secret: Path, clients: Path) -> str:
    """The tables of `auth`."""
    tables = "".join(
        f'[[auth.issuers]]\nname = "{name}"\nissuer = "{issuer}"\n'
        + (
            f'introspection_url = "{issuer}/introspect"\nclient_id = "gate"\nclient_secret_path = {quoted(secret)}\n'
            if name == "asked"
            else ""
        )
        for name, issuer in issuers.items()
    )
    return (
        f'[auth]\nresource = "HERE"\nrequired_scopes = ["mcp"]\nclient_ca_path = {quoted(clients)}\n'
        '[auth.plugin_scopes]\necho = ["tools"]\n[auth.operation_scopes]\n"echo.add" = ["sums"]\n' + tables
    )


@pytest.fixture(scope="module")
def estate(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """Shared by these tests; none of them wounds it."""
    folder = tmp_path_factory.mktemp("oauth")
    authority = Authority.create("clients.example", time.time())
    ca = private_file(folder, "clients.pem", authority.certificate_pem)
    secret = private_file(folder, "secret", b"introspection-secret\n")
    with Login("ES256", "EdDSA", "ES256", "ES256") as login:
        corp, turning, asked, mute = login.servers
        mute.pages["/jwks"] = login.silence
        issuers = {"corp": corp.url, "turning": turning.url, "asked": asked.url, "mute": mute.url}
        table = auth(issuers, secret, ca)
        house = House(folder, common() + table + plugin("echo", ECHO, operations=ECHO_TOOLS))
        yield Estate(
            house=house,
            corp=corp,
            turning=turning,
            asked=asked,
            mute=mute,
            clients=authority,
            folder=folder,
        )
        house.stop()


@pytest.fixture
def house(estate: Estate) -> House:
    return estate.house


@pytest.fixture
def caller(house: House) -> Iterator[Caller]:
    with calling(house) as one:
        yield one


# what everybody may know


def test_each_endpoint_has_a_document_that_strangers_and_web_pages_may_read(
    estate: Estate, caller: Caller
) -> None:
    documents = {"": "", "/mcp": "/mcp", ENDPOINT: ENDPOINT, "/p/nobody/mcp": "/p/nobody/mcp"}
    for path, resource in documents.items():
        reply = caller.send("GET", WELL_KNOWN + path, headers={"Origin": "https://page.example"})
        assert (reply.status, reply.all("Access-Control-Allow-Origin")) == (200, ["*"])
        assert reply.body["resource"] == estate.house.base + resource
        assert reply.body["authorization_servers"][0] == estate.corp.url
        assert reply.body["scopes_supported"][:1] == ["mcp"]
        assert reply.body["tls_client_certificate_bound_access_tokens"] is True


def test_a_browser_may_ask_whether_it_may_read_the_document(caller: Caller) -> None:
    asking = {"Origin": "https://page.example", "Access-Control-Request-Method": "GET"}
    reply = caller.send("OPTIONS", f"{WELL_KNOWN}/mcp", headers=asking)
    assert (reply.status, reply.body) == (204, b"")
    assert reply.all("Access-Control-Allow-Headers") == ["MCP-Protocol-Version"]
    assert (
        caller.send("OPTIONS", "/mcp", headers=asking).status == 403
    )  # the endpoint itself is not for pages


def test_documents_are_shown_under_our_own_name_only(caller: Caller) -> None:
    assert caller.send("GET", f"{WELL_KNOWN}/mcp", headers={"Host": "evil.example"}).status == 403
    assert caller.send("GET", f"{WELL_KNOWN}/other").status == 404
    assert caller.send("POST", f"{WELL_KNOWN}/mcp", b"{}").status == 404


# challenges


@pytest.mark.parametrize(("path", "scope"), [("/mcp", "mcp"), (ENDPOINT, "mcp tools")])
def test_who_brings_no_token_is_told_where_to_get_one(caller: Caller, path: str, scope: str) -> None:
    for reply in (caller.call(None, path=path), caller.legacy(None, "initialize", {}, path=path)):
        assert (reply.status, reply.code) == (401, "token_missing")
        told = reply.challenges["Bearer"]
        assert told["resource_metadata"] == f"{caller.house.base}{WELL_KNOWN}{path}"
        assert told["scope"] == scope
        assert "error" not in told


def test_who_lacks_scopes_is_told_all_that_the_operation_needs(estate: Estate, caller: Caller) -> None:
    token = bearer(estate.corp, estate.house)
    assert caller.call(token).code == "ok"
    for path, tool in (("/mcp", "echo__add"), (ENDPOINT, "add")):
        session = caller.open_session(token, path)
        arguments = {"name": tool, "arguments": {"a": 1, "b": 2}}
        for reply in (
            caller.call(token, tool, path=path),
            caller.legacy(token, "tools/call", arguments, session=session, path=path),
        ):
            assert (reply.status, reply.code) == (403, "scope_missing")
            told = reply.challenges["Bearer"]
            assert (told["error"], told["scope"]) == ("insufficient_scope", "mcp tools sums")
            assert told["resource_metadata"] == f"{caller.house.base}{WELL_KNOWN}{path}"
        more = bearer(estate.corp, estate.house, scope="mcp tools sums")
        assert caller.call(more, tool, path=path).code == "ok"


# tokens


def test_a_signed_token_opens_the_gate_in_both_eras(estate: Estate, caller: Caller) -> None:
    token = bearer(estate.corp, estate.house, sub="dora")
    assert caller.call(token).body["result"]["content"][0]["text"] == "hello"
    session = caller.open_session(token)
    arguments = {"name": "echo__echo", "arguments": {"text": "again"}}
    assert caller.legacy(token, "tools/call", arguments, session=session).code == "ok"
    until(lambda: any(one.get("client") == "corp:dora" for one in estate.house.records()), "it is on record")


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_session_is_of_no_use_to_another_client(estate: Estate, caller: Caller) -> None:
    session = caller.open_session(bearer(estate.corp, estate.house))
    for other in (bearer(estate.corp, estate.house, sub="eve"), f"Bearer {estate.house.token}"):
        assert caller.legacy(other, "ping", {}, session=session).code == "session_unknown"


@pytest.mark.threat("T-TOKEN-FORGED")
@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 60},
        {"aud": "https://other.example"},
        {"iss": "https://other.example"},
        {"sub": None},
        {"exp": None},
        {"cnf": {"kid": "what is this"}},
    ],
    ids=["expired", "other audience", "other issuer", "of nobody", "for ever", "bound in an unknown way"],
)
def test_a_token_that_is_not_for_us_opens_nothing(
    estate: Estate, caller: Caller, claims: dict[str, Any]
) -> None:
    reply = caller.call(bearer(estate.corp, estate.house, **claims))
    assert (reply.status, reply.code) == (401, "token_invalid")
    assert reply.challenges["Bearer"]["error"] == "invalid_token"


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_for_one_endpoint_opens_that_one_only(estate: Estate, caller: Caller) -> None:
    token = bearer(estate.corp, estate.house, aud=estate.house.base + ENDPOINT)
    for _ in range(2):  # what was found out at one path is not believed at another
        assert caller.call(token, "echo", path=ENDPOINT).code == "ok"
        assert caller.call(token).code == "token_invalid"


@pytest.mark.threat("T-TOKEN-FORGED")
def test_a_token_signed_with_another_key_opens_nothing(estate: Estate, caller: Caller) -> None:
    forger = type(estate.corp.issuer).of("ES256", issuer=estate.corp.url)
    token = forger.token(time.time(), aud=estate.house.base)
    assert caller.call(f"Bearer {token}").code == "token_invalid"
    assert caller.call(bearer(estate.corp, estate.house)).code == "ok"


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_in_the_url_is_refused_even_if_it_is_good(estate: Estate, caller: Caller) -> None:
    token = issued(estate.corp, estate.house)
    for given in (None, f"Bearer {token}"):
        reply = caller.call(given, path=f"/mcp?access_token={token}")
        assert (reply.status, reply.code) == (400, "token_in_query")


def test_a_static_token_goes_on_opening_the_gate_and_needs_no_scopes(caller: Caller) -> None:
    token = f"Bearer {caller.house.token}"
    assert caller.call(token, "echo__add").code == "ok"
    assert caller.call(token + "x").code == "token_invalid"


def test_a_new_key_is_believed_and_the_old_one_no_longer(estate: Estate, caller: Caller) -> None:
    old = bearer(estate.turning, estate.house)
    assert caller.call(old).code == "ok"
    estate.turning.issuer.key, estate.turning.issuer.kid = new_key("EdDSA"), "k2"
    new = bearer(estate.turning, estate.house)
    until(lambda: caller.call(new).code == "ok", "the new key is known")
    until(lambda: caller.call(old).code == "token_invalid", "the old key is forgotten")


# tokens that the issuer is asked about


def test_an_opaque_token_is_asked_about_at_its_first_use(estate: Estate, caller: Caller) -> None:
    estate.asked.claims["opaque-1"] = active(estate.house)
    assert caller.call("Bearer opaque-1", "echo__echo").code == "ok"
    assert caller.call("Bearer opaque-1").code == "ok"
    assert caller.call("Bearer opaque-unknown").code == "token_invalid"
    assert caller.call("Bearer opaque-1", "echo__add").code == "scope_missing"


@pytest.mark.parametrize("text", ["short", LARGE], ids=["small", "large"])
def test_a_request_waits_for_the_issuer_and_its_body_may_come_meanwhile(
    estate: Estate, house: House, text: str
) -> None:
    token = f"opaque-slow-{len(text)}"
    hold = Hold(as_json(active(house)))
    estate.asked.pages["/introspect"] = hold.page
    data = request(house, "tools/call", {"name": "echo__echo", "arguments": {"text": text}}, token=token)
    half = len(data) // 2
    try:
        with connected(house) as (raw,):
            raw.send(data[:half])
            raw.send(data[half:])
            assert hold.asked.wait(20)
            hold.released.set()
            answer = raw.answer()
            assert answer is not None
            assert answer.code == "ok"
            raw.send(request(house, ident=2, token=token))
            second = raw.answer()
            assert second is not None
            assert second.code == "ok"
    finally:
        hold.released.set()
        del estate.asked.pages["/introspect"]


@pytest.mark.threat("T-FLOOD")
def test_a_client_that_leaves_while_the_issuer_is_asked_disturbs_nobody(
    estate: Estate, house: House, caller: Caller
) -> None:
    hold = Hold(as_json(active(house)))
    estate.asked.pages["/introspect"] = hold.page
    try:
        with connected(house, 3) as raws:
            call = {"name": "echo__echo", "arguments": {"text": "left"}}
            for raw in raws:
                raw.send(request(house, "tools/call", call, token="opaque-left"))
            assert hold.asked.wait(20)
            raws[0].close()
            raws[1].close()
            hold.released.set()
            answer = raws[2].answer()
            assert answer is not None
            assert answer.code == "ok"
    finally:
        hold.released.set()
        del estate.asked.pages["/introspect"]
    assert caller.call(bearer(estate.corp, house)).code == "ok"


@pytest.mark.threat("T-ISSUER")
def test_an_issuer_that_never_answers_stops_its_own_clients_only(
    estate: Estate, house: House, caller: Caller
) -> None:
    waiting = threading.Thread(target=caller.call, args=(bearer(estate.mute, house),))
    waiting.start()
    with calling(house) as other:
        assert other.call(bearer(estate.corp, house)).code == "ok"
        reply = other.call(bearer(estate.mute, house))
        assert (reply.status, reply.code) == (503, "issuer_unavailable")
        assert other.call(bearer(estate.corp, house)).code == "ok"
    waiting.join(30)
    problems = house.status("/readyz").json()
    assert "issuer mute" in json.dumps(problems)
    assert "issuer corp" not in json.dumps(problems)


# bound tokens


@pytest.fixture
def holder() -> Holder:
    made = Holder()
    made.count = time.monotonic_ns()  # ids of proofs are never used again
    return made


def bound(estate: Estate, holder: Holder) -> str:
    return issued(estate.corp, estate.house, cnf={"jkt": holder.jkt})


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize("text", ["short", LARGE], ids=["small", "large"])
def test_each_request_of_a_holder_needs_a_proof_of_its_own(
    estate: Estate, house: House, caller: Caller, holder: Holder, text: str
) -> None:
    token = bound(estate, holder)
    proofs = [proved(holder, token, house) for _ in range(3)]
    for proof in proofs:
        reply = caller.call(f"DPoP {token}", proof=proof, text=text)
        assert reply.code == "ok", reply.body
    for used in (proofs[0], None):
        with calling(house) as thief:
            reply = thief.call(f"DPoP {token}", proof=used, text="stolen")
            assert (reply.status, reply.code) == (401, "dpop_invalid")
            assert reply.challenges["DPoP"]["error"] == "invalid_dpop_proof"
            assert "ES256" in reply.challenges["DPoP"]["algs"]


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize(
    "changes",
    [
        {"htu": "https://other.example/mcp"},
        {"htm": "GET"},
        {"ath": "AAAA"},
        {"iat": int(time.time()) - 600},
        {"jti": None},
    ],
    ids=["other place", "other method", "other token", "too old", "without a number"],
)
def test_a_proof_for_something_else_is_none(
    estate: Estate, house: House, caller: Caller, holder: Holder, changes: dict[str, Any]
) -> None:
    token = bound(estate, holder)
    assert caller.call(f"DPoP {token}", proof=proved(holder, token, house, **changes)).code == "dpop_invalid"
    assert caller.call(f"DPoP {token}", proof=proved(holder, token, house)).code == "ok"


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_bound_token_is_no_bearer_token(
    estate: Estate, house: House, caller: Caller, holder: Holder
) -> None:
    token = bound(estate, holder)
    assert caller.call(f"Bearer {token}").code == "token_invalid"
    assert caller.call(f"Bearer {token}", proof=proved(holder, token, house)).code == "token_invalid"
    plain = issued(estate.corp, house)
    assert caller.call(f"DPoP {plain}", proof=proved(holder, plain, house)).code == "token_invalid"


def test_a_holder_opens_and_ends_a_session_with_a_proof_for_each_method(
    estate: Estate, house: House, caller: Caller, holder: Holder
) -> None:
    token = bound(estate, holder)
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opened = caller.legacy(f"DPoP {token}", "initialize", hello, proof=proved(holder, token, house))
    (session,) = opened.all("Mcp-Session-Id")
    for method, status in (("GET", 200), ("DELETE", 204)):
        for htm, expected in (("POST", 401), (method, status)):
            headers = head(f"DPoP {token}", proved(holder, token, house, htm=htm))
            headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
            with calling(house) as other:
                other.http.request(method, "/mcp", headers=headers)
                assert other.http.getresponse().status == expected


def test_proofs_are_looked_at_once_for_each_pipelined_request(
    estate: Estate, house: House, holder: Holder
) -> None:
    token = bound(estate, holder)
    with connected(house) as (raw,):
        raw.send(b"".join(pipelined(house, holder, token, number, LARGE) for number in range(5)))
        answers = [raw.answer() for _ in range(5)]
        assert [answer is not None and answer.code for answer in answers] == ["ok"] * 5
        assert [answer is not None and answer.body["id"] for answer in answers] == list(range(5))
        same = pipelined(house, holder, token, 5, "a")
        raw.send(same + same)
        codes = [answer is not None and answer.code for answer in (raw.answer(), raw.answer())]
        assert codes == ["ok", "dpop_invalid"]


def pipelined(house: House, holder: Holder, token: str, number: int, text: str) -> bytes:
    """One call as bytes; its arguments are as long as the text."""
    call = {"name": "echo__echo", "arguments": {"text": text}}
    proof = f"DPoP: {proved(holder, token, house)}\r\n".encode()
    data = request(house, "tools/call", call, ident=number, token=token, extra=proof)
    return data.replace(b"Authorization: Bearer", b"Authorization: DPoP")


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_token_bound_to_a_certificate_opens_nothing_without_it(
    estate: Estate, house: House, caller: Caller
) -> None:
    context, thumbprint = client_context(house, estate.clients, estate.folder)
    token = bearer(estate.corp, house, cnf={"x5t#S256": thumbprint})
    with calling(house, context) as owner:
        assert owner.call(token).code == "ok"
        assert owner.call(token, text=LARGE).code == "ok"
        assert owner.call(bearer(estate.corp, house)).code == "ok"
    assert caller.call(token).code == "token_invalid"
    other, _ = client_context(house, estate.clients, estate.folder)
    with calling(house, other) as thief:
        assert thief.call(token).code == "token_invalid"


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_certificate_of_an_unknown_authority_does_not_get_in(estate: Estate, house: House) -> None:
    other = Authority.create("clients.example", time.time())
    context, _ = client_context(house, other, estate.folder)
    with calling(house, context) as stranger, pytest.raises(OSError, match=r"(?i)alert|reset|eof|closed"):
        stranger.call(bearer(estate.corp, house))


# streams and traces


def test_the_stream_of_a_session_ends_with_its_token(estate: Estate, house: House) -> None:
    token = bearer(estate.corp, house, exp=int(time.time()) + 8)
    with calling(house) as caller, calling(house) as listening:
        session = caller.open_session(token)
        headers = head(token) | {"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}
        listening.http.request("GET", "/mcp", headers=headers)
        stream = listening.http.getresponse()
        assert stream.status == 200
        stream.read()  # ends, or the connection's own limit ends the test
        until(lambda: caller.legacy(token, "ping", {}, session=session).status == 401, "it is refused")


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_nothing_of_a_token_stands_in_any_log(
    estate: Estate, house: House, caller: Caller, holder: Holder
) -> None:
    good, expired = issued(estate.corp, house), issued(estate.corp, house, exp=int(time.time()) - 60)
    held = bound(estate, holder)
    opaque, unknown = "opaque-secret-of-carol", "opaque-that-nobody-knows"
    estate.asked.claims[opaque] = active(house)
    proofs = [proved(holder, held, house), proved(holder, held, house, htm="GET")]
    for token in (good, expired, opaque, unknown, house.token, held):
        caller.call(f"Bearer {token}")
        caller.call(f"Bearer {token}", path=f"/mcp?access_token={token}")
    for proof in (*proofs, proofs[0]):
        caller.call(f"DPoP {held}", proof=proof)
    secrets = [good, expired, held, opaque, unknown, house.token, *proofs, "introspection-secret"]
    until(lambda: any(one.get("code") == "dpop_invalid" for one in house.records()), "all is on record")
    kept = [house.log.read_bytes(), house.stderr.read_bytes(), house.status("/metrics").content]
    kept += [house.status("/readyz").content]
    for secret in secrets:
        pieces = {secret, secret.rpartition(".")[2]}
        assert not any(piece.encode() in one for piece in pieces for one in kept)

"""What a head must show, and that a credential is looked at once, also when its issuer has to be asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.issuing import BASE, ISSUER, Holder, Issuer, Reach, as_json

from sekisho.errors import Refused, RemoteProtocolError, SekishoError, Unavailable
from sekisho.gateway import FreightLimits
from sekisho.gateway.freight import STRANGERS
from sekisho.gateway.reception import check_form, document_of, look
from sekisho.keys import (
    Challenges,
    CredentialRules,
    Credentials,
    IssuerRules,
    Resource,
    ResourceTraits,
    ScopePolicy,
    TokenBook,
)
from sekisho.policy import AccessPolicy, Rule
from sekisho.protocol import JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

WELL_KNOWN = "/.well-known/oauth-protected-resource"
ASKED = "https://asked.example.com"


class Scene:
    """A house that believes two issuers, one of which is asked about its tokens."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.issuer = Issuer()
        self.reach = Reach(documents={"corp": self.issuer.jwks()}, answer=self.introspect)
        scopes = ScopePolicy(("mcp",), {}, {("calc", "add"): ("sums",)})
        resource = Resource(BASE, ("calc",), scopes, ResourceTraits(issuers=(ISSUER,)))
        rules = CredentialRules(
            issuers=(
                IssuerRules(name="corp", issuer=ISSUER),
                IssuerRules(name="asked", issuer=ASKED, is_asked=True),
            )
        )
        self.credentials = Credentials(
            TokenBook({}), clock=kit.clock.now, rules=rules, resource=resource, hands=self.reach
        )
        kit.change(
            credentials=self.credentials,
            resource=resource,
            scopes=scopes,
            challenges=Challenges(resource, scopes),
            access=AccessPolicy(
                [Rule(client=name, plugin=kit.calc, operations=frozenset({"add"})) for name in CLIENTS]
            ),
        )
        self.known: dict[str, dict[str, Any]] = {}

    def introspect(self, token: str) -> bytes | SekishoError:
        claims = self.known.get(token)
        if claims is None:
            return Unavailable("issuer_unavailable", "no answer")
        return as_json({"active": True, "aud": BASE, "exp": int(self.kit.now) + 600} | claims)

    def fetch_keys(self) -> None:
        self.credentials.look(self.kit.now)
        self.reach.deliver()

    def request(self, authorization: str, **headers: str) -> Any:
        params = {"name": "calc__add", "arguments": {"a": 1}}
        given = {"authorization": authorization} | headers
        return self.kit.modern_request("tools/call", params, token=None, headers=given)

    def bound(self, holder: Holder) -> str:
        return self.issuer.token(self.kit.now, scope="mcp sums", cnf={"jkt": holder.jkt})


CLIENTS = ("corp:alice", "asked:carol")


@pytest.fixture
def scene(kit: Kit) -> Scene:
    return Scene(kit)


def answer(scene: Scene, ear: Any) -> Any:
    """The one answer, after the plugin's, if it was asked."""
    kit = scene.kit
    kit.log.settle()
    while kit.line.waiting:
        kit.line.reply()
        kit.log.settle()
    assert len(ear.heard) == 1
    return kit.reply.read(ear.heard[0])


# documents for everybody


def test_documents_are_given_to_anybody_who_knows_our_name(scene: Scene) -> None:
    kit = scene.kit
    shown = kit.ask(kit.request(method="GET", target=f"{WELL_KNOWN}/mcp", token=None))
    assert (shown.status, shown.body["resource"]) == (200, f"{BASE}/mcp")
    asked = kit.ask(kit.request(method="OPTIONS", target=f"{WELL_KNOWN}/mcp", token=None))
    assert (asked.status, asked.headers["access-control-allow-origin"]) == (204, "*")
    stranger = {"host": "evil.example"}
    refused = kit.ask(kit.request(method="GET", target=f"{WELL_KNOWN}/mcp", token=None, headers=stranger))
    assert refused.code == "origin_refused"


@pytest.mark.parametrize(("method", "target"), [("POST", f"{WELL_KNOWN}/mcp"), ("GET", "/mcp")])
def test_everything_else_is_no_document(scene: Scene, method: str, target: str) -> None:
    kit = scene.kit
    assert document_of(kit.request(method=method, target=target), kit.house, kit.rules) is None


def test_a_house_with_static_tokens_only_announces_nothing(kit: Kit) -> None:
    request = kit.request(method="GET", target=f"{WELL_KNOWN}/mcp", token=None)
    assert document_of(request, kit.house, kit.rules) is None
    assert kit.ask(request).code == "http_not_found"


# the right door


@pytest.mark.parametrize(
    ("target", "endpoint"), [("/mcp", None), ("/p/calc/mcp", "calc"), ("/p/no-such-one/mcp", "no-such-one")]
)
def test_an_endpoint_is_read_from_the_path(kit: Kit, target: str, endpoint: str | None) -> None:
    seen = look(
        kit.request(target=target, headers={"accept": "application/json, text/event-stream"}), kit.rules
    )
    assert (seen.endpoint, seen.takes_streams) == (endpoint, True)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/mcp/", "http_not_found"),
        ("/mcp?a=b", "http_not_found"),
        ("/p/Calc/mcp", "http_not_found"),
        ("/p/calc/mcp/x", "http_not_found"),
        ("/mcp?access_token=x", "token_in_query"),
    ],
)
def test_another_path_is_refused_before_anybody_asks_who_is_there(kit: Kit, target: str, code: str) -> None:
    with pytest.raises(Refused) as caught:
        look(kit.request(target=target), kit.rules)
    assert caught.value.code == code


@given(st.text(max_size=40))
def test_no_other_path_is_an_endpoint(new_kit: Any, text: str) -> None:
    kit = new_kit()
    try:
        endpoint = look(kit.request(target="/" + text), kit.rules).endpoint
    except Refused:
        return
    assert "/" + text == ("/mcp" if endpoint is None else f"/p/{endpoint}/mcp")


@pytest.mark.threat("T-REBIND")
def test_a_page_of_another_origin_is_refused_before_anybody_asks_who_is_there(kit: Kit) -> None:
    look(kit.request(headers={"origin": "https://desk.example"}), kit.rules)
    for wrong in ({"origin": "https://evil.example"}, {"host": "evil.example"}):
        with pytest.raises(Refused, match="not"):
            look(kit.request(headers=wrong), kit.rules)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"method": "PUT"}, "http_method_not_allowed"),
        ({"headers": {"content-type": "text/plain"}}, "http_media_type"),
        ({"headers": {"accept": "text/html"}}, "http_not_acceptable"),
    ],
)
def test_the_form_of_a_request_is_checked(kit: Kit, fields: dict[str, Any], code: str) -> None:
    check_form(kit.request(headers={"accept": "*/*", "content-type": "application/json; charset=utf-8"}))
    check_form(kit.request(method="GET", headers={"content-type": ""}))
    with pytest.raises(RemoteProtocolError) as caught:
        check_form(kit.request(**fields))
    assert caught.value.code == code


# who is there


@pytest.mark.threat("T-TOKEN-STOLEN")
@pytest.mark.parametrize("comes_in_pieces", [False, True])
def test_a_proof_serves_one_request_however_its_body_comes(scene: Scene, comes_in_pieces: bool) -> None:
    scene.fetch_keys()
    holder, kit = Holder(), scene.kit
    token = scene.bound(holder)
    request = scene.request(f"DPoP {token}", dpop=holder.proof(token, kit.now))
    codes = []
    for _ in range(2):
        ear = kit.ear()
        if not comes_in_pieces or kit.door.lets_in(replace_body(request), ear):
            kit.door.answer(request, ear)
        codes.append(answer(scene, ear).code)
        assert ear.shown is None
    assert codes == ["ok", "dpop_invalid"]


def replace_body(request: Any) -> Any:
    """The same head, while its body is still on its way."""
    return type(request)(method=request.method, target=request.target, headers=request.headers, body=b"")


def test_what_one_request_showed_is_not_believed_of_the_next(scene: Scene) -> None:
    scene.fetch_keys()
    kit, ear = scene.kit, scene.kit.ear()
    good = scene.request(f"Bearer {scene.issuer.token(kit.now, scope='mcp sums')}")
    assert kit.door.lets_in(good, ear)
    kit.door.answer(good, ear)
    assert answer(scene, ear).code == "ok"
    ear.heard.clear()
    wrong = scene.issuer.token(kit.now, aud="https://other.example")
    kit.door.answer(scene.request(f"Bearer {wrong}"), ear)
    assert answer(scene, ear).code == "token_invalid"


@pytest.mark.threat("T-NOTOKEN")
def test_no_body_is_taken_from_who_shows_a_bad_credential(scene: Scene) -> None:
    scene.fetch_keys()
    ear = scene.kit.ear()
    bad = scene.issuer.token(scene.kit.now, aud="https://other.example")
    assert not scene.kit.door.lets_in(scene.request(f"Bearer {bad}"), ear)
    reply = answer(scene, ear)
    assert (reply.code, reply.headers["connection"]) == ("token_invalid", "close")
    assert f'resource_metadata="{BASE}{WELL_KNOWN}/mcp"' in reply.headers["www-authenticate"]


@pytest.mark.parametrize("comes_in_pieces", [False, True])
def test_a_request_waits_for_its_issuer_and_is_answered_once(scene: Scene, comes_in_pieces: bool) -> None:
    scene.known["opaque"] = {"sub": "carol", "scope": "mcp sums"}
    kit, ear = scene.kit, scene.kit.ear()
    request = scene.request("Bearer opaque")
    if comes_in_pieces:
        assert kit.door.lets_in(replace_body(request), ear)
    kit.door.answer(request, ear)
    assert not ear.heard
    scene.reach.deliver()
    assert answer(scene, ear).code == "ok"
    assert ear.client == "asked:carol"
    assert len(scene.reach.asked) == 1


def test_an_answer_that_came_before_the_body_is_used(scene: Scene) -> None:
    scene.known["opaque"] = {"sub": "carol", "scope": "mcp sums"}
    kit, ear = scene.kit, scene.kit.ear()
    request = scene.request("Bearer opaque")
    assert kit.door.lets_in(replace_body(request), ear)
    scene.reach.deliver()
    kit.door.answer(request, ear)
    assert answer(scene, ear).code == "ok"


@pytest.mark.threat("T-ISSUER")
def test_who_cannot_be_asked_about_is_told_to_try_again(scene: Scene) -> None:
    kit, ear = scene.kit, scene.kit.ear()
    kit.door.answer(scene.request("Bearer unheard-of"), ear)
    scene.reach.deliver()
    reply = answer(scene, ear)
    assert (reply.status, reply.code) == (503, "issuer_unavailable")


@pytest.mark.threat("T-FLOOD")
def test_a_client_that_left_while_its_issuer_was_asked_has_no_call(scene: Scene) -> None:
    scene.known["opaque"] = {"sub": "carol", "scope": "mcp sums"}
    kit = scene.kit
    leaving, staying = kit.ear(), kit.ear()
    waiting = kit.door.answer(scene.request("Bearer opaque"), leaving)
    kit.door.answer(scene.request("Bearer opaque"), staying)
    assert waiting is not None
    waiting.withdraw(Refused("cancelled", "gone"))
    scene.reach.deliver()
    assert answer(scene, staying).code == "ok"
    assert not leaving.heard
    assert len(kit.line.frames) == 1


def test_a_client_that_leaves_after_the_answer_of_its_issuer_withdraws_its_call(scene: Scene) -> None:
    scene.known["opaque"] = {"sub": "carol", "scope": "mcp sums"}
    kit, ear = scene.kit, scene.kit.ear()
    waiting = kit.door.answer(scene.request("Bearer opaque"), ear)
    scene.reach.deliver()
    kit.log.settle()
    assert waiting is not None
    waiting.withdraw(Refused("cancelled", "gone"))
    kit.log.settle()
    assert kit.line.cancelled == [1]


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_bound_token_needs_the_certificate_of_its_connection(scene: Scene) -> None:
    scene.fetch_keys()
    kit = scene.kit
    thumbprint = "A" * 43
    token = scene.issuer.token(kit.now, scope="mcp sums", cnf={"x5t#S256": thumbprint})
    codes = []
    for certificate in (thumbprint, "B" * 43, None, thumbprint):
        ear = kit.ear()
        ear.certificate = certificate
        kit.door.answer(scene.request(f"Bearer {token}"), ear)
        codes.append(answer(scene, ear).code)
    assert codes == ["ok", "token_invalid", "token_invalid", "ok"]


@pytest.mark.threat("T-FLOOD")
def test_a_client_with_too_many_connections_is_sent_away(scene: Scene) -> None:
    scene.fetch_keys()
    kit = scene.kit
    ear = kit.ear(is_welcome=False)
    kit.door.answer(scene.request(f"Bearer {scene.issuer.token(kit.now)}"), ear)
    reply = answer(scene, ear)
    assert (reply.code, reply.headers["connection"]) == ("busy", "close")


def test_a_known_client_is_told_that_there_is_no_such_plugin_and_a_stranger_is_not(kit: Kit) -> None:
    kit.change(standings={kit.calc: kit.standing()})
    assert kit.say("ping", target="/p/nobody/mcp").code == "plugin_unknown"
    assert kit.say("ping", target="/p/nobody/mcp", token=None).code == "token_missing"


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"headers": {"content-type": "text/plain"}}, "http_media_type"),
        ({"headers": {"accept": "text/html"}}, "http_not_acceptable"),
        ({"target": "/p/nobody/mcp"}, "plugin_unknown"),
        ({}, "ok"),
    ],
)
def test_a_connection_is_nobody_s_while_all_that_came_on_it_was_refused(
    kit: Kit, fields: dict[str, Any], code: str
) -> None:
    ear = kit.ear()
    kit.door.answer(kit.modern_request("tools/list", **fields), ear)
    kit.log.settle()
    assert kit.reply.read(ear.heard[0]).code == code
    assert ear.client == ("aya" if code == "ok" else None)
    records = [] if code == "ok" else ["aya"]  # say whose it was
    assert [one["client"] for one in kit.log.entries] == records


def test_rules_that_changed_are_asked_again(kit: Kit) -> None:
    page = {"origin": "https://desk.example"}
    assert kit.say_modern("server/discover", headers=page).code == "ok"
    kit.rules = replace(kit.rules, origins=frozenset())
    assert kit.say_modern("server/discover", headers=page).code == "origin_refused"


# who waits for an issuer, with a large body


def large(scene: Scene, authorization: str = "Bearer opaque") -> Any:
    one = scene.request(authorization)
    return type(one)(
        method=one.method, target=one.target, headers=one.headers, body=one.body + b" " * 100_000
    )


@pytest.fixture
def narrow(scene: Scene) -> Scene:
    """The bodies of two of them may wait at one time."""
    kit = scene.kit
    kit.rules = replace(kit.rules, message_limits=JsonLimits(max_bytes=1 << 20))
    kit.road = kit.new_road(freight=FreightLimits(total=1 << 20, of_client=220_000))
    kit.door = kit.new_door()
    scene.known["opaque"] = {"sub": "carol", "scope": "mcp sums"}
    return scene


@pytest.mark.threat("T-FLOOD")
def test_strangers_who_wait_for_an_issuer_keep_so_many_bytes_together(narrow: Scene) -> None:
    kit = narrow.kit
    ears = [kit.ear() for _ in range(5)]
    for ear in ears:
        kit.door.answer(large(narrow), ear)
    kit.log.settle()
    assert [bool(ear.heard) for ear in ears] == [False, False, True, True, True]
    assert kit.reply.read(ears[2].heard[0]).code == "busy"
    small = kit.ear()
    kit.door.answer(narrow.request("Bearer opaque"), small)  # bounded by the number of connections
    narrow.reach.deliver()
    assert [answer(narrow, ear).code for ear in (*ears[:2], small)] == ["ok"] * 3
    assert kit.road.freight.has_room(STRANGERS, 210_000)


def test_who_goes_while_the_issuer_is_asked_leaves_no_bytes_behind(narrow: Scene) -> None:
    kit = narrow.kit
    waiting = kit.door.answer(large(narrow), kit.ear())
    assert not kit.road.freight.has_room(STRANGERS, 210_000)
    assert waiting is not None
    waiting.withdraw(Refused("cancelled", "test"))
    assert kit.road.freight.has_room(STRANGERS, 210_000)
    narrow.reach.deliver()
    kit.log.settle()
    assert kit.line.frames == []


@pytest.mark.threat("T-FLOOD")
def test_a_body_that_would_be_too_much_is_refused_before_it_comes(narrow: Scene) -> None:
    narrow.fetch_keys()
    kit, ear = narrow.kit, narrow.kit.ear()
    authorization = f"Bearer {narrow.issuer.token(kit.now, scope='mcp sums')}"
    head = narrow.request(authorization, **{"content-length": "150000"})
    assert kit.road.freight.take("corp:alice", 100_000)
    assert not kit.door.lets_in(replace_body(head), ear)
    reply = answer(narrow, ear)
    assert (reply.code, reply.status, reply.headers["connection"]) == ("busy", 503, "close")
    small = narrow.request(authorization, **{"content-length": "60000"})
    assert kit.door.lets_in(replace_body(small), kit.ear())
    kit.road.freight.give("corp:alice", 100_000)
    assert kit.door.lets_in(replace_body(head), kit.ear())

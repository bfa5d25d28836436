"""Tokens of a real authorization server, over real connections: what the gate learns and what it does not believe."""

from __future__ import annotations

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import import_key
from tests.issuing import BASE, Holder, Issuer, as_json
from tests.real.authorization_server import METADATA, AuthorizationServer, listening

from sekisho.assembly import fetching
from sekisho.assembly.authentication import Authentication, authentication
from sekisho.assembly.issuers import Issuers
from sekisho.config import Auth, AuthIssuer, CoreConfig
from sekisho.errors import SekishoError
from sekisho.keys import Authority, KeyFolder, Principal, RequestFacts, Role, SpiffeId, TokenBook

pytestmark = pytest.mark.real


@dataclass
class Gate:
    parts: Authentication

    async def show(self, token: str, scheme: str = "Bearer", **given: Any) -> str:
        """The client's name, or the code of the refusal."""
        facts = RequestFacts(f"{scheme} {token}", **{"method": "POST", "target": "/mcp"} | given)
        loop = asyncio.get_running_loop()
        try:
            found = self.parts.credentials.identify(facts, time.time())
        except SekishoError as error:
            return error.code
        if isinstance(found, Principal):
            return found.client
        waiting: asyncio.Future[str] = loop.create_future()
        found.then(lambda one: waiting.set_result(one.client if isinstance(one, Principal) else one.code))
        async with asyncio.timeout(30):
            return await waiting

    @property
    def problem(self) -> str:
        return self.parts.credentials.problems(time.time()).get("corp", "")


@asynccontextmanager
async def gate(folder: Path, issuer: AuthIssuer, **given: Any) -> AsyncIterator[Gate]:
    config = CoreConfig(auth=Auth(resource=BASE, issuers=(issuer,), **given))
    keys = KeyFolder(folder / "keys", "example.org")
    async with asyncio.TaskGroup() as group:
        hands = Issuers(config.auth.issuers)
        hands.open(group)
        yield Gate(authentication(config, keys, TokenBook({}), hands, time.time))


def secret_file(folder: Path, data: bytes) -> Path:
    path = folder / "client-secret"
    path.touch(mode=0o600)
    path.write_bytes(data)
    return path


async def test_a_token_of_a_discovered_issuer_opens_the_gate(tmp_path: Path) -> None:
    async with (
        listening(Issuer()) as server,
        gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here,
    ):
        names = await asyncio.gather(
            *(here.show(server.issuer.token(time.time(), sub=f"c{n}")) for n in range(9))
        )
        assert names == [f"corp:c{n}" for n in range(9)]
        assert server.targets == [METADATA, "/jwks"]
        assert all("authorization" not in one.headers for one in server.asked)
        assert here.parts.resource is not None
        assert server.url.encode() in (
            here.parts.resource.metadata("/.well-known/oauth-protected-resource/mcp") or b""
        )


async def test_openid_discovery_is_tried_when_there_is_no_other(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        server.say(METADATA, b"{}", 404)
        document = {"issuer": server.url, "jwks_uri": f"{server.url}/jwks"}
        server.say("/.well-known/openid-configuration", as_json(document))
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "corp:alice"


async def test_a_bound_token_is_accepted_from_its_holder_once_per_proof(tmp_path: Path) -> None:
    async with (
        listening(Issuer()) as server,
        gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here,
    ):
        holder = Holder()
        token = server.issuer.token(time.time(), cnf={"jkt": holder.jkt})
        proof = holder.proof(token, time.time())
        assert await here.show(token, "DPoP", dpop=proof) == "corp:alice"
        assert await here.show(token, "DPoP", dpop=proof) == "dpop_invalid"
        assert await here.show(token) == "token_invalid"


@pytest.mark.threat("T-ISSUER")
@pytest.mark.parametrize(
    "lie", [{"issuer": "https://other.example"}, {"jwks_uri": None}, {"jwks_uri": "file:///etc/passwd"}]
)
async def test_metadata_that_lie_are_not_believed(tmp_path: Path, lie: dict[str, Any]) -> None:
    async with listening(Issuer()) as server:
        server.say(METADATA, as_json({"issuer": server.url, "jwks_uri": f"{server.url}/jwks"} | lie))
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "issuer_unavailable"
            assert "/jwks" not in server.targets
            assert here.problem


@pytest.mark.threat("T-ISSUER")
async def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        server.say("/moved", server.issuer.jwks())
        server.say("/jwks", b"", 302, (("Location", f"{server.url}/moved"),))
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "issuer_unavailable"
            assert "/moved" not in server.targets


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n"


@pytest.mark.threat("T-ISSUER")
@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD % b"application/json" + b'{"keys":[', b" " * 4096),
        (HEAD % b"text/event-stream", b": " + b"x" * 4096 + b"\n"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: " + b"x" * 999 + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b" " * 4096),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 999),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    ],
)
async def test_a_key_set_that_never_ends_is_given_up(tmp_path: Path, start: bytes, piece: bytes) -> None:
    async with listening(Issuer()) as server:
        server.never_stop("/jwks", start, piece)
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "issuer_unavailable"


@pytest.mark.threat("T-ISSUER")
async def test_an_answer_of_one_byte_at_a_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "EXCHANGE_S", 0.5)
    async with listening(Issuer()) as server:
        server.never_stop("/jwks", HEAD % b"application/json", b" ", pause_s=0.05)
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "issuer_unavailable"
            assert "in time" in here.problem


@pytest.mark.threat("T-ISSUER")
async def test_ten_thousand_keys_are_not_taken(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        many = [{"kty": "oct", "kid": str(number)} for number in range(9_999)]
        server.say("/jwks", server.issuer.jwks(*many))
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "issuer_unavailable"
            assert "too large" in here.problem
        server.say("/jwks", server.issuer.jwks(*many[:63]))
        async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url)) as here:
            assert await here.show(server.issuer.token(time.time())) == "corp:alice"


async def test_an_issuer_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        issuer = server.issuer
    async with gate(tmp_path, AuthIssuer(name="corp", issuer=issuer.issuer)) as here:
        assert await here.show(issuer.token(time.time())) == "issuer_unavailable"
        assert "cannot be reached" in here.problem


def certificate(folder: Path, authority: Authority) -> ssl.SSLContext:
    """A server's context with a certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = SpiffeId(trust_domain="example.org", role=Role.CORE, name="issuer")
    leaf = authority.issue(name, key.public_key(), time.time(), ips=("127.0.0.1",))
    (folder / "leaf.pem").write_bytes(
        leaf.public_bytes(Encoding.PEM) + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    return context


@pytest.mark.threat("T-ISSUER")
async def test_only_an_issuer_with_a_trusted_certificate_is_believed(tmp_path: Path) -> None:
    authority = Authority.create("example.org", time.time())
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "other.pem").write_bytes(Authority.create("example.org", time.time()).certificate_pem)
    async with listening(Issuer(), certificate(tmp_path, authority)) as server:
        token = server.issuer.token(time.time())
        outcomes = {
            tmp_path / "ca.pem": "corp:alice",
            tmp_path / "other.pem": "issuer_unavailable",
            None: "issuer_unavailable",
        }
        for ca, outcome in outcomes.items():
            async with gate(tmp_path, AuthIssuer(name="corp", issuer=server.url, ca_cert_path=ca)) as here:
                assert await here.show(token) == outcome


@pytest.mark.threat("T-ISSUER")
async def test_an_encrypted_issuer_does_not_lead_to_a_plain_service_of_this_machine(tmp_path: Path) -> None:
    authority = Authority.create("example.org", time.time())
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    async with listening(Issuer(), certificate(tmp_path, authority)) as server, listening(Issuer()) as inside:
        server.say(METADATA, as_json({"issuer": server.url, "jwks_uri": f"{inside.url}/jwks"}))
        async with gate(
            tmp_path, AuthIssuer(name="corp", issuer=server.url, ca_cert_path=tmp_path / "ca.pem")
        ) as here:
            assert await here.show(server.issuer.token(time.time())) == "issuer_unavailable"
            assert not inside.asked


def asking(server: AuthorizationServer, secret: Path, **given: Any) -> AuthIssuer:
    usual: dict[str, Any] = {"client_id": "gate way", "client_secret_path": secret}
    return AuthIssuer(
        name="corp", issuer=server.url, introspection_url=f"{server.url}/introspect", **usual | given
    )


async def test_an_opaque_token_is_asked_about_once_by_a_known_client(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        server.claims["opaque"] = {"active": True, "aud": BASE, "sub": "carol", "scope": "mcp"}
        async with gate(tmp_path, asking(server, secret_file(tmp_path, b"s3:cret\n"))) as here:
            assert await asyncio.gather(*(here.show("opaque") for _ in range(9))) == ["corp:carol"] * 9
            assert await here.show("unknown") == "token_invalid"
        asked = server.asked[0]
        assert [one.form["token"] for one in server.asked] == [["opaque"], ["unknown"]]
        assert asked.headers["authorization"] == "Basic " + base64.b64encode(b"gate+way:s3%3Acret").decode()


async def test_we_prove_ourselves_with_a_key_where_the_issuer_wants_that(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    async with listening(Issuer()) as server:
        server.claims["opaque"] = {"active": True, "aud": BASE, "sub": "carol"}
        issuer = asking(server, secret_file(tmp_path, pem), client_auth="private_key_jwt")
        async with gate(tmp_path, issuer) as here:
            assert await here.show("opaque") == "corp:carol"
        (text,) = server.asked[0].form["client_assertion"]
        claims = jwt.decode(text, import_key(pem, "EC"), algorithms=["ES256"]).claims
        assert (claims["iss"], claims["aud"]) == ("gate way", server.url)
        assert "authorization" not in server.asked[0].headers


async def test_a_bearer_secret_is_sent_where_the_issuer_wants_that(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        server.claims["opaque"] = {"active": True, "aud": BASE, "sub": "carol"}
        async with gate(tmp_path, asking(server, secret_file(tmp_path, b"s"), client_auth="bearer")) as here:
            assert await here.show("opaque") == "corp:carol"
        assert server.asked[0].headers["authorization"] == "Bearer s"


@pytest.mark.threat("T-TOKEN-FORGED")
async def test_active_for_another_audience_opens_nothing(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        server.claims["opaque"] = {"active": True, "aud": "https://other.example", "sub": "carol"}
        async with gate(tmp_path, asking(server, secret_file(tmp_path, b"s"))) as here:
            assert await here.show("opaque") == "token_invalid"


@pytest.mark.threat("T-ISSUER")
async def test_an_active_that_comes_with_an_error_status_is_not_believed(tmp_path: Path) -> None:
    async with listening(Issuer()) as server:
        server.say("/introspect", as_json({"active": True, "aud": BASE, "sub": "carol"}), 401)
        async with gate(tmp_path, asking(server, secret_file(tmp_path, b"s"))) as here:
            assert await here.show("opaque") == "issuer_unavailable"

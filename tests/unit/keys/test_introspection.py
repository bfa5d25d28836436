from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc import jwt
from joserfc.jwk import import_key
from tests.issuing import as_json

from sekisho.errors import Misconfigured, RemoteProtocolError, SekishoError, Unavailable
from sekisho.keys import assertion, basic_credentials, question
from sekisho.keys.introspection import Answer, Introspections

START = 1_800_000_000.0
DOWN = Unavailable("issuer_unavailable", "down")


@dataclass
class Scene:
    now: float = START
    asked: list[str] = field(default_factory=list)
    waiting: list[Callable[[Any], None]] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.desk = Introspections(self._ask, lambda: self.now)

    def _ask(self, token: str, then: Callable[[Any], None]) -> None:
        self.asked.append(token)
        self.waiting.append(then)

    def ask(self, token: str) -> None:
        self.desk.ask(token, token.encode(), self.heard.append, self.now)

    def deliver(self, answer: bytes | SekishoError) -> None:
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then(answer)

    def find(self, token: str) -> Answer | None:
        return self.desk.find(token.encode(), self.now)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_who_shows_the_same_token_meanwhile_waits_for_the_same_answer(scene: Scene) -> None:
    for token in ("a", "a", "b", "a"):
        scene.ask(token)
    assert scene.asked == ["a", "b"]
    scene.deliver(as_json({"active": True, "sub": "x"}))
    assert len(scene.heard) == 4
    found = scene.find("a")
    assert found is not None
    assert found.claims == {"active": True, "sub": "x"}


def test_active_is_believed_for_thirty_seconds_and_inactive_for_five(scene: Scene) -> None:
    scene.ask("good")
    scene.deliver(as_json({"active": True}))
    scene.ask("bad")
    scene.deliver(as_json({"active": False, "sub": "x"}))
    scene.now += 4.9
    bad = scene.find("bad")
    assert bad is not None
    assert bad.claims is None
    scene.now += 0.1
    assert scene.find("bad") is None
    scene.now += 24.9
    assert scene.find("good") is not None
    scene.now += 0.1
    assert scene.find("good") is None


@pytest.mark.threat("T-ISSUER")
@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"active":"true"}',
        b'{"active":1}',
        b'{"active":false,"active":true}',
        b"true",
        as_json({"active": True, "pad": "x" * 70_000}),
    ],
)
def test_an_answer_that_does_not_say_active_is_not_taken_for_it(scene: Scene, document: bytes) -> None:
    scene.ask("t")
    scene.deliver(document)
    assert isinstance(scene.heard[0], Unavailable)
    assert scene.find("t") is None


@pytest.mark.threat("T-ISSUER")
def test_a_flood_of_invented_tokens_is_turned_away(scene: Scene) -> None:
    for number in range(64):
        scene.ask(f"t{number}")
    with pytest.raises(Unavailable) as caught:
        scene.ask("one more")
    assert caught.value.code == "busy"
    scene.ask("t0")
    scene.deliver(as_json({"active": False}))
    scene.ask("one more")
    assert len(scene.asked) == 65


def test_an_issuer_that_is_down_is_left_alone_for_a_second(scene: Scene) -> None:
    scene.ask("a")
    scene.deliver(DOWN)
    with pytest.raises(Unavailable) as caught:
        scene.ask("b")
    assert caught.value.code == "issuer_unavailable"
    scene.now += 1
    scene.ask("b")
    assert scene.asked == ["a", "b"]


def test_an_odd_answer_to_one_token_silences_no_other(scene: Scene) -> None:
    for answer in (b"odd", RemoteProtocolError("issuer_unavailable", "the issuer answers with 400")):
        scene.ask("a")
        scene.deliver(answer)
    scene.ask("b")
    assert scene.asked == ["a", "a", "b"]


def test_what_was_said_can_be_forgotten(scene: Scene) -> None:
    scene.ask("a")
    scene.deliver(as_json({"active": True}))
    scene.desk.forget()
    assert scene.find("a") is None


def test_the_question_is_a_form_and_the_secret_is_not_in_it() -> None:
    assert parse_qs(question("a+b&c").decode()) == {"token": ["a+b&c"], "token_type_hint": ["access_token"]}
    asked = parse_qs(question("t", "gate", "signed").decode())
    assert asked["client_assertion"] == ["signed"]
    assert asked["client_id"] == ["gate"]
    assert basic_credentials("a:b", "c d") == "a%3Ab:c+d"


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("OKP", ed25519.Ed25519PrivateKey.generate()),
        ("EC", ec.generate_private_key(ec.SECP256R1())),
        ("RSA", rsa.generate_private_key(65537, 2048)),
    ],
)
def test_we_prove_ourselves_with_a_key_of_any_usual_kind(
    kind: Literal["OKP", "EC", "RSA"],
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    text = assertion(pem, "gate", "https://login.example.com", START, "j1")
    read = jwt.decode(text, import_key(pem, kind), algorithms=["Ed25519", "ES256", "PS256"])
    assert read.claims == {
        "iss": "gate",
        "sub": "gate",
        "aud": "https://login.example.com",
        "jti": "j1",
        "iat": int(START),
        "exp": int(START) + 60,
    }


@pytest.mark.parametrize("pem", [b"", b"x", base64.b64encode(b"k" * 99)])
def test_a_key_that_cannot_be_read_is_the_operators_to_mend(pem: bytes) -> None:
    with pytest.raises(Misconfigured) as caught:
        assertion(pem, "gate", "https://login.example.com", START, "j1")
    assert caught.value.code == "key_unavailable"


def test_a_key_of_another_curve_is_the_operators_to_mend() -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(Misconfigured):
        assertion(pem, "gate", "https://login.example.com", START, "j1")

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from sekisho.errors import LocalProtocolError, Misconfigured, Refused
from sekisho.keys import Identity, KeyFolder, ReplayWindow, SpiffeId, sign_channel_token, verify_channel_token

OPS = frozenset({"list_posts", "create_post"})
X5T = "a" * 43


@pytest.fixture
def issuer(folder: KeyFolder, core: SpiffeId, now: float) -> Identity:
    return folder.ensure_identity(core, now)


def public(identity: Identity) -> bytes:
    return identity.token_private.public_key().public_bytes_raw()


def claims(issuer: Identity, plugin: SpiffeId, now: float, **changes: Any) -> dict[str, Any]:
    issued = int(now)
    base: dict[str, Any] = {
        "iss": issuer.spiffe.uri,
        "sub": issuer.spiffe.uri,
        "aud": plugin.uri,
        "iat": issued,
        "nbf": issued,
        "exp": issued + 60,
        "jti": "j",
        "cnf": {"x5t#S256": X5T},
        "ops": sorted(OPS),
    }
    return {key: value for key, value in (base | changes).items() if value is not None}


def forge(issuer: Identity, payload: dict[str, Any], typ: str = "sekisho-channel+jwt") -> str:
    key = OKPKey.import_key(issuer.token_private)
    return jwt.encode({"alg": "Ed25519", "typ": typ}, payload, key, algorithms=["Ed25519"])


def refuses(token: str, issuer: Identity, plugin: SpiffeId, now: float) -> bool:
    key, replay = public(issuer), ReplayWindow()
    try:
        verify_channel_token(
            token, key, issuer=issuer.spiffe, audience=plugin, x5t=X5T, now=now, replay=replay
        )
    except Refused as error:
        return error.code == "token_not_accepted"
    return False


@pytest.mark.requirement("A4.2")
def test_a_good_token_grants_its_operations_once(issuer: Identity, plugin: SpiffeId, now: float) -> None:
    token = sign_channel_token(issuer, plugin, OPS, cert_x5t=X5T, now=now, jti="j")
    replay = ReplayWindow()
    granted = verify_channel_token(
        token, public(issuer), issuer=issuer.spiffe, audience=plugin, x5t=X5T, now=now, replay=replay
    )
    assert granted.ops == OPS
    assert granted.exp == int(now) + 60
    with pytest.raises(Refused, match="used before"):
        verify_channel_token(
            token, public(issuer), issuer=issuer.spiffe, audience=plugin, x5t=X5T, now=now, replay=replay
        )


@pytest.mark.requirement("A4.2")
@pytest.mark.threat("T-REPLAY")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "spiffe://example.org/core/other"},
        {"sub": "spiffe://example.org/core/other"},
        {"aud": "spiffe://example.org/plugin/other"},
        {"aud": ["spiffe://example.org/plugin/wordpress"]},
        {"cnf": {"x5t#S256": "b" * 43}},
        {"cnf": None},
        {"cnf": {}},
        {"exp": 1_799_999_999},
        {"exp": None},
        {"exp": 1_800_000_061},
        {"exp": 1e30},
        {"exp": "1800000060"},
        {"nbf": 1_800_000_006},
        {"iat": 1_800_000_006},
        {"jti": ""},
        {"jti": None},
        {"ops": "list_posts"},
        {"ops": None},
        {"extra": True},
    ],
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    issuer: Identity, plugin: SpiffeId, now: float, changes: dict[str, Any]
) -> None:
    assert not refuses(forge(issuer, claims(issuer, plugin, now)), issuer, plugin, now)
    payload = claims(
        issuer, plugin, now, **{key: value for key, value in changes.items() if value is not None}
    )
    for key, value in changes.items():
        if value is None:
            del payload[key]
    assert refuses(forge(issuer, payload), issuer, plugin, now)


@pytest.mark.threat("T-REPLAY")
def test_other_algorithms_types_and_keys_are_refused(issuer: Identity, plugin: SpiffeId, now: float) -> None:
    good = claims(issuer, plugin, now)
    assert refuses(forge(issuer, good, typ="JWT"), issuer, plugin, now)
    body = base64.urlsafe_b64encode(msgspec.json.encode(good)).rstrip(b"=").decode()
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"sekisho-channel+jwt"}').rstrip(b"=").decode()
    assert refuses(f"{none}.{body}.", issuer, plugin, now)
    confused = OctKey.import_key(public(issuer))
    hs256 = jwt.encode({"alg": "HS256", "typ": "sekisho-channel+jwt"}, good, confused, algorithms=["HS256"])
    assert refuses(hs256, issuer, plugin, now)
    stranger = OKPKey.generate_key("Ed25519")
    header = {"alg": "Ed25519", "typ": "sekisho-channel+jwt"}
    assert refuses(jwt.encode(header, good, stranger, algorithms=["Ed25519"]), issuer, plugin, now)
    with_key = header | {"jwk": stranger.as_dict(private=False)}
    assert refuses(jwt.encode(with_key, good, stranger, algorithms=["Ed25519"]), issuer, plugin, now)


@given(position=st.integers(min_value=0), letter=st.sampled_from("ABCxyz019-_."))
def test_one_changed_letter_is_always_refused(position: int, letter: str) -> None:
    token, at = SAMPLE.token, position % len(SAMPLE.token)
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        with pytest.raises(Refused):
            SAMPLE.verify(changed)
    SAMPLE.verify(token)


@given(st.text(max_size=200))
def test_nonsense_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(Refused):
        SAMPLE.verify(text)


def test_an_overlong_token_is_neither_made_nor_read(issuer: Identity, plugin: SpiffeId, now: float) -> None:
    many = [f"{number:0120}" for number in range(500)]
    with pytest.raises(Misconfigured):
        sign_channel_token(issuer, plugin, many, cert_x5t=X5T, now=now, jti="j")
    assert refuses("a" * 70_000, issuer, plugin, now)


@pytest.mark.parametrize(("life_s", "jti"), [(61, "j"), (0, "j"), (60, "")])
def test_we_do_not_sign_what_we_would_refuse(
    issuer: Identity, plugin: SpiffeId, now: float, life_s: int, jti: str
) -> None:
    with pytest.raises(LocalProtocolError):
        sign_channel_token(issuer, plugin, OPS, cert_x5t=X5T, now=now, jti=jti, life_s=life_s)


def test_a_full_replay_window_forgets_the_dead_and_refuses_when_all_live() -> None:
    window = ReplayWindow(limit=2)
    assert window.admit("a", 10.0, 0.0)
    assert window.admit("b", 20.0, 0.0)
    assert not window.admit("c", 30.0, 9.0)
    assert window.admit("c", 30.0, 10.0)
    assert not window.admit("b", 20.0, 10.0)
    assert len(window) == 2


class Sample:
    """One signed token, for the properties that need no folder."""

    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        from sekisho.keys import Role

        self.token_private = Ed25519PrivateKey.generate()
        self.spiffe = SpiffeId(trust_domain="example.org", role=Role.CORE, name="main")
        self.plugin = SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="wordpress")
        self.token = sign_channel_token(self, self.plugin, OPS, cert_x5t=X5T, now=1000.0, jti="j")

    def verify(self, token: str) -> None:
        verify_channel_token(
            token,
            self.token_private.public_key().public_bytes_raw(),
            issuer=self.spiffe,
            audience=self.plugin,
            x5t=X5T,
            now=1000.0,
            replay=ReplayWindow(),
        )


SAMPLE = Sample()

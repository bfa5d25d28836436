"""Identity tokens and the ID-JAGs they are exchanged for: what is asked, and what of it is believed. Judgement only.

(draft-ietf-oauth-identity-assertion-authz-grant; MCP: enterprise-managed authorization.)

Guarantees
- an identity token is shown to its own issuer only, by the client it was made for, while it is valid;
- an answer is taken only if it says that it is an ID-JAG and no access token; one that can be read must be made by the
  provider that was asked, for the one authorization server, client and resource it was asked for, and not have ended;
- no scope is asked for with it that was not asked of the provider.

Signatures are not checked: both tokens are read over TLS from whoever made them, or from the operator's own file, and
whoever is shown one checks it. One that is encrypted for the authorization server is passed on unread.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from sekisho.credentials.answers import read_answer
from sekisho.credentials.challenge import scopes_of
from sekisho.credentials.grants import MAX_TOKEN_CHARS, Form
from sekisho.credentials.metadata import is_same_issuer
from sekisho.credentials.vault import Identity
from sekisho.errors import Refused, RemoteProtocolError

__all__ = ["ID_JAG", "Grant", "Purpose", "check_id_token", "exchange_form", "read_exchange", "read_identity"]

ID_JAG: Final = "urn:ietf:params:oauth:token-type:id-jag"
_OF_IDENTITY: Final = "urn:ietf:params:oauth:token-type:id_token"
_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+")
_JWE: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*){3}\.[A-Za-z0-9_-]+")


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """What one ID-JAG is asked for."""

    idp: str  # the identity provider's issuer
    audience: str  # the issuer of the plugin's authorization server
    client_id: str  # who we are to that one
    resource: str
    scopes: tuple[str, ...]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """An ID-JAG, and the scopes to show it with."""

    assertion: str
    scopes: tuple[str, ...]

    def __repr__(self) -> str:
        return "Grant(…)"


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    issued_token_type: str
    token_type: str
    scope: str | None = None


class _Login(msgspec.Struct, frozen=True, kw_only=True):
    id_token: str
    refresh_token: str | None = None


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    alg: str
    typ: str = ""


class _Claims(msgspec.Struct, frozen=True, kw_only=True):
    iss: str
    aud: str | list[str]
    exp: float
    client_id: str = ""
    resource: str | list[str] = []


def check_id_token(text: str, *, issuer: str, client_id: str, now: float) -> None:
    """Refuse an identity token that its issuer would refuse, or that another issuer should not see."""
    found = _JWS.fullmatch(text)
    if found is None or len(text) > MAX_TOKEN_CHARS:
        raise _unusable("is no signed JWT")
    claims = _part(found[2], _Claims)
    if claims is None:
        raise _unusable("cannot be read")
    if not is_same_issuer(claims.iss, issuer):
        raise _unusable("was made by another issuer than oauth.idp.issuer")
    if client_id not in _words(claims.aud):
        raise _unusable("was not made for oauth.idp.client_id")
    if claims.exp <= now:
        raise _unusable("has expired")


def read_identity(body: bytes, issuer: str, before: Identity | None) -> Identity:
    """What a 200 answer to a login says; `before` is what a refresh replaces, which it may leave standing in part."""
    try:
        answer = read_answer(body, _Login)
    except RemoteProtocolError as error:
        raise Refused("authorization_failed", "the identity provider gave no identity token") from error
    refresh = answer.refresh_token or (before.refresh if before else "")
    if max(len(refresh), len(answer.id_token)) > MAX_TOKEN_CHARS:
        raise Refused("authorization_failed", "the identity provider's tokens are too large")
    return Identity(issuer=issuer, id_token=answer.id_token, refresh=refresh)


def exchange_form(id_token: str, purpose: Purpose) -> Form:
    """What the identity provider is asked (RFC 8693)."""
    form = {
        "grant_type": _EXCHANGE,
        "requested_token_type": ID_JAG,
        "audience": purpose.audience,
        "resource": purpose.resource,
        "subject_token": id_token,
        "subject_token_type": _OF_IDENTITY,
    }
    if purpose.scopes:
        form["scope"] = " ".join(purpose.scopes)
    return form


def read_exchange(body: bytes, purpose: Purpose, now: float) -> Grant:
    """The ID-JAG of a 200 answer; raises `Refused`."""
    try:
        answer = read_answer(body, _Answer)
    except RemoteProtocolError as error:
        raise _refused("'s answer cannot be read") from error
    if answer.issued_token_type != ID_JAG:
        raise _refused(" issued another kind of token than an ID-JAG")
    if answer.token_type.lower() != "n_a":  # RFC 8693 section 2.2.1: not an access token
        raise _refused(" calls its ID-JAG an access token")
    _check_id_jag(answer.access_token, purpose, now)
    return Grant(assertion=answer.access_token, scopes=_granted(answer.scope, purpose.scopes))


def _check_id_jag(text: str, purpose: Purpose, now: float) -> None:
    if len(text) > MAX_TOKEN_CHARS:
        raise _refused("'s ID-JAG is too large")
    if _JWE.fullmatch(text):
        return
    found = _JWS.fullmatch(text)
    if found is None:
        raise _refused("'s ID-JAG is no signed JWT")
    head, claims = _part(found[1], _Head), _part(found[2], _Claims)
    if head is None or claims is None:
        raise _refused("'s ID-JAG cannot be read")
    if head.alg.lower() == "none" or head.typ.lower().removeprefix("application/") != "oauth-id-jag+jwt":
        raise _refused("'s ID-JAG is a JWT of another kind")
    if not is_same_issuer(claims.iss, purpose.idp):
        raise _refused("'s ID-JAG names another issuer")
    audience = _words(claims.aud)
    if len(audience) != 1 or not is_same_issuer(audience[0], purpose.audience):
        raise _refused("'s ID-JAG is for another authorization server")
    if claims.client_id != purpose.client_id:
        raise _refused("'s ID-JAG is for another client than oauth.client_id")
    if _words(claims.resource) != [purpose.resource]:
        raise _refused("'s ID-JAG is for another resource")
    if claims.exp <= now:
        raise _refused("'s ID-JAG has expired")


def _granted(said: str | None, asked: Sequence[str]) -> tuple[str, ...]:
    """The scopes to ask for: those of the answer, as far as they were asked of the provider."""
    if said is None:
        return tuple(asked)
    scopes = scopes_of(said)
    kept = tuple(scope for scope in scopes if scope in asked) if asked else scopes
    if asked and not kept:
        raise _refused(" granted none of the scopes it was asked for")
    return kept


P = TypeVar("P", _Head, _Claims)


def _part(text: str, kind: type[P]) -> P | None:
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return read_answer(data, kind)
    except (binascii.Error, RemoteProtocolError):
        return None


def _words(stated: str | list[str]) -> list[str]:
    return [stated] if isinstance(stated, str) else stated


def _unusable(why: str) -> Refused:
    return Refused(
        "authorization_failed",
        f"the identity token {why}",
        remedy="put a valid one into oauth.idp.id_token_path, or without that path log in again",
    )


def _refused(what: str) -> Refused:
    return Refused(
        "authorization_failed",
        f"the identity provider{what}",
        remedy="correct what the provider knows of this plugin's authorization server, client and resource",
    )

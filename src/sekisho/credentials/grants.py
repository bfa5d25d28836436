"""Token requests and their answers. Judgement only: forms in, tokens out.

Guarantees that a client authenticates in a way its server announced, that exactly the wanted kind of token is taken, and
that nothing in an answer can end a header line. Never repeats what a server wrote, except its registered error words.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote_plus, urlencode

import msgspec

from sekisho.credentials.answers import read_answer
from sekisho.credentials.challenge import scopes_of
from sekisho.credentials.metadata import Server
from sekisho.credentials.vault import Client, Tokens
from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol import HttpResponse

__all__ = [
    "JWT_BEARER",
    "authenticated",
    "encoded",
    "failed",
    "method_for",
    "read_client",
    "read_tokens",
    "refusal_of",
    "registration",
]

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_TOKEN_CHARS: Final = 32 << 10
MAX_LIFE_S: Final = 10 * 365 * 86_400
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_ERROR_WORD: Final = re.compile(r"[a-z_]{1,64}")

Form = dict[str, str]
Headers = list[tuple[str, str]]


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    access_token: str
    token_type: str
    refresh_token: str | None = None
    expires_in: float | None = None
    scope: str | None = None


class _Registered(msgspec.Struct, frozen=True, kw_only=True):
    client_id: str
    client_secret: str | None = None
    token_endpoint_auth_method: str | None = None


class _Error(msgspec.Struct, frozen=True, kw_only=True):
    error: str = ""


def method_for(server: Server, *, has_secret: bool, has_key: bool) -> str:
    """How a client with these means authenticates to this server; raises `Refused`."""
    known = server.token_endpoint_auth_methods_supported
    wanted = (
        ("private_key_jwt",)
        if has_key
        else ("client_secret_basic", "client_secret_post")
        if has_secret
        else ("none",)
    )
    if known is None or not (has_secret or has_key):
        return wanted[0]  # RFC 8414: absent means client_secret_basic; public clients need nobody's leave
    for one in wanted:
        if one in known:
            return one
    raise Refused("authorization_failed", f"the authorization server does not accept {' or '.join(wanted)}")


def authenticated(client: Client, form: Form, assertion: str = "") -> tuple[Form, Headers]:
    """The form and the headers of a token request by this client."""
    match client.method:
        case "client_secret_basic":
            # RFC 6749 section 2.3.1: both are form-encoded first
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
            return form, [("Authorization", "Basic " + base64.b64encode(pair.encode()).decode())]
        case "client_secret_post":
            return {**form, "client_id": client.client_id, "client_secret": client.secret}, []
        case "private_key_jwt":
            own = {"client_id": client.client_id, "client_assertion_type": ASSERTION_TYPE}
            return {**form, **own, "client_assertion": assertion}, []
        case "none":
            return ({**form, "client_id": client.client_id} if client.client_id else form), []
        case _:
            raise Refused("authorization_failed", "the client is registered for a method that is not used")


def read_tokens(
    body: bytes,
    *,
    wants_dpop: bool,
    now: float,
    asked: Sequence[str],
    resource: str,
    before: Tokens | None = None,
) -> Tokens:
    """The tokens of a 200 answer; `before` are those a refresh replaces, which it may leave standing in part."""
    try:
        answer = read_answer(body, _Answer)
    except RemoteProtocolError as error:
        raise Refused("authorization_failed", "the token answer cannot be read") from error
    kind = "DPoP" if wants_dpop else "Bearer"
    if answer.token_type.lower() != kind.lower():
        raise Refused("authorization_failed", f"the authorization server gave no {kind} token")
    refresh = answer.refresh_token or (before.refresh if before else "")
    for token in (answer.access_token, *([refresh] if refresh else [])):
        if len(token) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
            raise Refused("authorization_failed", "a token holds characters that tokens do not have")
    scopes = tuple(asked) or (before.scopes if before else ())
    if answer.scope is not None:
        scopes = scopes_of(answer.scope)
    life = answer.expires_in
    return Tokens(
        access=answer.access_token,
        kind=kind,
        refresh=refresh,
        expires_at=now + min(max(life, 0.0), MAX_LIFE_S) if life is not None else None,
        scopes=scopes,
        resource=resource,
    )


def refusal_of(body: bytes) -> str:
    """The error word of a refused request, if it is one; never a server's free text."""
    try:
        word = read_answer(body, _Error).error
    except RemoteProtocolError:
        return ""
    return word if _ERROR_WORD.fullmatch(word) else ""


def registration(redirect_uri: str, method: str, scopes: Sequence[str]) -> bytes:
    """What we say of ourselves when we register (RFC 7591)."""
    about: dict[str, object] = {
        "client_name": "Sekisho",
        "application_type": "native",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }
    if scopes:
        about["scope"] = " ".join(scopes)
    return msgspec.json.encode(about)


def read_client(body: bytes, *, asked_method: str, redirect_uri: str) -> Client:
    """The client a server registered; raises `Refused` for one we could not be."""
    try:
        answer = read_answer(body, _Registered)
    except RemoteProtocolError as error:
        raise Refused("authorization_failed", "the registration's answer cannot be read") from error
    method = answer.token_endpoint_auth_method or asked_method
    secret = answer.client_secret or ""
    if method not in ("none", "client_secret_basic", "client_secret_post"):
        raise Refused("authorization_failed", "the client was registered for a method that is not used")
    if method != "none" and not secret:
        raise Refused("authorization_failed", "the client was registered for a secret and given none")
    if not 0 < len(answer.client_id) <= 2048 or not answer.client_id.isprintable():
        raise Refused("authorization_failed", "the client was registered under a name that cannot be used")
    return Client(
        client_id=answer.client_id,
        secret=secret,
        method=method,
        redirect_uri=redirect_uri,
    )


def encoded(form: Form) -> bytes:
    """A form as bytes."""
    return urlencode(form).encode("ascii")


def failed(what: str, answer: HttpResponse) -> Refused:
    """The error of an authorization server, in its own word where it has one."""
    word = refusal_of(answer.body)
    return Refused("authorization_failed", f"{what}: {word or f'HTTP {answer.status}'}")

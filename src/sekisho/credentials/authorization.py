"""The authorization code flow: the page a person is sent to, and what comes back. Judgement only.

Guarantees
- a code is exchanged only with the verifier it was asked with (PKCE, S256), so a stolen one is worth nothing;
- the answer must carry our `state`, and `iss` must be the issuer the person was sent to, character for character; where
  the server announced `iss`, an answer without it is refused (RFC 9207: otherwise another server's code could be
  slipped in, and ours handed to it);
- a parameter that is stated twice refuses the answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import parse_qsl, urlencode

import msgspec

from sekisho.credentials.metadata import Server
from sekisho.errors import Refused

__all__ = ["Question", "code_of", "is_answer_to", "page_for"]

MAX_CODE_CHARS: Final = 8192
MAX_PARAMETERS: Final = 32


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked of a server, kept until its answer is here."""

    server: Server
    client_id: str
    redirect_uri: str
    state: str
    verifier: str
    scopes: tuple[str, ...]
    resource: str  # empty asks for none, as for an identity

    def __repr__(self) -> str:
        return f"Question({self.server.issuer})"


def page_for(question: Question) -> str:
    """The URL a person opens to log in."""
    page = question.server.authorization_page()
    digest = hashlib.sha256(question.verifier.encode("ascii")).digest()
    parameters = [
        ("response_type", "code"),
        ("client_id", question.client_id),
        ("redirect_uri", question.redirect_uri),
        ("state", question.state),
        ("code_challenge", base64.urlsafe_b64encode(digest).rstrip(b"=").decode()),
        ("code_challenge_method", "S256"),
    ]
    if question.resource:
        parameters.append(("resource", question.resource))
    if question.scopes:
        parameters.append(("scope", " ".join(question.scopes)))
    if "offline_access" in question.scopes:
        parameters.append(("prompt", "consent"))  # OpenID Connect Core section 11 gives it only then
    return f"{page}{'&' if '?' in page else '?'}{urlencode(parameters)}"


def is_answer_to(query: str, question: Question) -> bool:
    """True if the answer carries our `state`: it comes from the server we sent the person to, whatever it says."""
    states = [value for name, value in _pairs(query) if name == "state"]
    return len(states) == 1 and hmac.compare_digest(states[0].encode(), question.state.encode())


def code_of(query: str, question: Question) -> str:
    """The code of an answer that is the answer to this question; raises `Refused`."""
    pairs = _pairs(query)
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _refused("states something twice")
    if not is_answer_to(query, question):
        raise _refused("is not the answer to our question")
    server = question.server
    if "iss" in values:
        if values["iss"] != server.issuer:
            raise _refused("comes from another authorization server")
    elif server.authorization_response_iss_parameter_supported:
        raise _refused("does not say which authorization server it comes from")
    if "error" in values:
        raise _refused("says that the login was refused")
    code = values.get("code", "")
    if not 0 < len(code) <= MAX_CODE_CHARS:
        raise _refused("holds no code")
    return code


def _pairs(query: str) -> list[tuple[str, str]]:
    """The parameters; none if they cannot be read."""
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        return []


def _refused(what: str) -> Refused:
    return Refused("authorization_failed", f"the answer to the login {what}", remedy="log in again")

"""`auth`: who may open the gate, beside static tokens: the authorization servers whose tokens count here.

Guarantees that no setting leaves a token unjudged: an issuer needs the gateway's own URL (what tokens must be issued
for), two issuers never share an identifier or a name, only one is asked about opaque tokens (so none is shown to the
wrong one), and scopes are demanded of plugins and operations that exist. Secrets stand in files, never here.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from sekisho.config.field import (
    Kind,
    Wrong,
    choice,
    described,
    flag,
    listed,
    nested,
    number,
    path,
    setting,
    text,
)
from sekisho.config.values import is_loopback, web_address

__all__ = ["Auth", "AuthIssuer", "check_scoped_names"]

_ALGORITHMS = ("EdDSA", "Ed25519", "ES256", "ES384", "RS256", "PS256")
_SCOPE = r"[\x21\x23-\x5b\x5d-\x7e]{1,256}"  # RFC 6749 section 3.3
_CLAIM = r"[A-Za-z0-9_.:/-]{1,128}"
_ALIAS = r"[a-z0-9](-?[a-z0-9]){0,31}"
_URL = web_address("https", "http", with_path=True)

Scopes = tuple[tuple[str, tuple[str, ...]], ...]


def _scope_list() -> Kind[tuple[str, ...]]:
    return listed(text(_SCOPE, "a scope"))


def _scopes_by(pattern: str, what: str) -> Kind[Scopes]:
    """A table whose keys are names and whose values are lists of scopes."""
    name, scopes = re.compile(pattern), _scope_list()

    def read(value: object, folder: Path) -> Scopes:
        if not isinstance(value, dict):
            raise Wrong(f"is {described(value)}")
        for key in value:
            if not name.fullmatch(key):
                raise Wrong(f"has the key {key[:40]!r}; expected {what}")
        return tuple((key, scopes.read(one, folder)) for key, one in value.items())

    return Kind("table", f"a table from {what} to lists of scopes", read)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthIssuer:
    """`auth.issuers`: one authorization server."""

    name: str = setting(
        text(_ALIAS, "small letters, digits and single hyphens, at most 32"),
        "Its alias here; its clients are called alias:subject.",
    )
    issuer: str = setting(_URL, "Its identifier, letter for letter as its tokens state it in iss.")
    audiences: tuple[str, ...] = setting(
        listed(text(r"[\x21-\x7e]{1,512}", "an audience")),
        "What it writes into aud for this gateway, when that is not one of the gateway's URLs.",
        default=(),
    )
    algorithms: tuple[str, ...] = setting(
        listed(choice(*_ALGORITHMS)), "Signature algorithms that are accepted of it.", default=_ALGORITHMS
    )
    client_claim: str = setting(
        text(_CLAIM, "the name of a claim"), "The claim that names the client.", default="sub"
    )
    untyped_tokens: bool = setting(
        flag(), "Whether its access tokens may leave typ out, as those of Okta do.", default=False
    )
    jwks_url: str | None = setting(
        _URL, "Where its keys are; else found by its metadata (RFC 8414, OpenID discovery).", default=None
    )
    introspection_url: str | None = setting(
        _URL, "Where it is asked about its tokens (RFC 7662), which are then opaque here.", default=None
    )
    client_auth: Literal["basic", "private_key_jwt", "bearer"] = setting(
        choice("basic", "private_key_jwt", "bearer"), "How Sekisho proves itself there.", default="basic"
    )
    client_id: str | None = setting(
        text(r"[\x20-\x7e]{1,512}", "a client id"), "Sekisho's own name there.", default=None
    )
    client_secret_path: Path | None = setting(
        path(),
        "File of the secret, or of the private key (PEM), that it proves itself with; readable by its owner alone.",
        default=None,
    )
    ca_cert_path: Path | None = setting(
        path(), "Authority of its certificate, PEM; else those that the system trusts.", default=None
    )

    def __post_init__(self) -> None:
        for key in ("issuer", "jwks_url", "introspection_url"):
            check_encrypted(getattr(self, key), key)
        if self.introspection_url is None:
            return
        if self.jwks_url is not None:
            raise Wrong(
                "stands beside introspection_url; expected one of the two",
                remedy="remove one",
                key="jwks_url",
            )
        if self.client_secret_path is None:
            raise Wrong(
                "needs client_secret_path; an open introspection endpoint would tell anybody about tokens",
                remedy="add client_secret_path, and client_id",
                key="introspection_url",
            )
        if self.client_id is None and self.client_auth != "bearer":
            raise Wrong(f'"{self.client_auth}" needs client_id', remedy="add client_id", key="client_auth")


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """`auth`: whose tokens open the gate (docs/guides/oauth.md)."""

    resource: str | None = setting(
        web_address("https", "http", with_path=False),
        "This gateway's public URL, without a path; what tokens must be issued for.",
        default=None,
    )
    static_tokens: bool = setting(flag(), "Whether the tokens of `sekisho token` open it too.", default=True)
    required_scopes: tuple[str, ...] = setting(_scope_list(), "Scopes that every call needs.", default=())
    plugin_scopes: Scopes = setting(
        _scopes_by(_ALIAS, "the name of a plugin"), "Further scopes of a plugin's calls.", default=()
    )
    operation_scopes: Scopes = setting(
        _scopes_by(rf"{_ALIAS}\.[A-Za-z0-9_./-]{{1,128}}", '"plugin.tool"'),
        "Further scopes of one operation.",
        default=(),
    )
    dpop: Literal["accepted", "required"] = setting(
        choice("accepted", "required"),
        '"required" refuses issued tokens that are not bound to a key (RFC 9449).',
        default="accepted",
    )
    dpop_nonce: bool = setting(
        flag(), "Whether proofs must carry a nonce of the gateway, fresh within five minutes.", default=False
    )
    client_ca_path: Path | None = setting(
        path(),
        "Authorities of client certificates, PEM; clients may then use certificate-bound tokens (RFC 8705).",
        default=None,
    )
    keys_refresh_seconds: float = setting(
        number(10, 86_400), "How often an issuer's keys are fetched again.", default=300.0
    )
    keys_max_age_seconds: float = setting(
        number(60, 604_800), "How long they are believed while it cannot be reached.", default=3600.0
    )
    issuers: tuple[AuthIssuer, ...] = setting(
        nested(AuthIssuer, many=True), "The authorization servers.", default=()
    )

    def __post_init__(self) -> None:
        check_encrypted(self.resource, "resource")
        if self.issuers and self.resource is None:
            raise Wrong(
                "is missing; without it no token can be issued for this gateway",
                remedy='add resource = "https://…", the URL that clients use, without a path',
                key="resource",
            )
        for key in ("name", "issuer"):
            values = [getattr(one, key) for one in self.issuers]
            if len(set(values)) != len(values):
                raise Wrong(f"has two with the same {key}", remedy="give each its own", key="issuers")
        if sum(one.introspection_url is not None for one in self.issuers) > 1:
            raise Wrong(
                "has two with introspection_url; an opaque token does not say whose it is",
                remedy="keep one of them",
                key="issuers",
            )
        if not self.static_tokens and not self.issuers:
            raise Wrong("is false and there are no issuers; nobody could call", key="static_tokens")
        if self.keys_max_age_seconds < self.keys_refresh_seconds:
            raise Wrong("is shorter than keys_refresh_seconds", key="keys_max_age_seconds")


def check_encrypted(url: str | None, key: str) -> None:
    """Keys and tokens that travel unencrypted are anybody's; on this machine's loopback nobody else listens."""
    if url is not None and not url.startswith("https://") and not is_loopback(urlsplit(url).hostname or ""):
        raise Wrong("is plain HTTP; expected https, except on loopback", remedy="use https", key=key)


def check_scoped_names(auth: Auth, operations: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse scopes for what is not there, given the allowed operations of every plugin: they would protect nothing."""
    for plugin, _ in auth.plugin_scopes:
        if plugin not in operations:
            raise Wrong(
                f"plugin_scopes names {plugin}, which is no plugin", remedy="correct the name", key="auth"
            )
    for name, _ in auth.operation_scopes:
        plugin, _, operation = name.partition(".")
        if plugin not in operations or ("/" not in operation and operation not in operations[plugin]):
            raise Wrong(
                f"operation_scopes names {name}, which is no allowed operation",
                remedy="correct the name, or add it to the plugin's allowed_operations",
                key="auth",
            )

"""The table `oauth` of a plugin: how its server at a URL is logged in to. Both files mean the same by it.

Guarantees that a login which could not work, or would hand a secret to whoever the plugin's server names, is refused
here. Secrets are paths of private files. Asks no server.
"""

# ruff: noqa: RUF009 - `setting` returns dataclasses.field, which ruff cannot see through

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from sekisho.config.field import Wrong, choice, flag, judged, listed, nested, path, setting, text, whole
from sekisho.config.values import command_words, web_address
from sekisho.credentials import IdpSettings, OAuthSettings, checked_url
from sekisho.errors import Misconfigured, Refused

__all__ = ["OAuth"]


def _askable(url: str) -> None:
    try:
        checked_url(url)
    except Refused as problem:
        raise Wrong("is plain HTTP to another machine", remedy="write https://") from problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Idp:
    """`oauth.idp`: the company's identity provider, for `identity_assertion`."""

    issuer: str | None = setting(
        judged(web_address("https", "http", with_path=True), _askable),
        "The identity provider; it alone is shown the identity token.",
        default=None,
    )
    client_id: str | None = setting(
        text(), "Name this client is registered under there; the identity token is made for it.", default=None
    )
    client_secret_path: Path | None = setting(path(), "Private file with its secret there.", default=None)
    private_key_path: Path | None = setting(
        path(), "Private file with its key, PEM, to sign assertions with instead of a secret.", default=None
    )
    id_token_path: Path | None = setting(
        path(),
        "Private file with the identity token (OpenID Connect), read anew each time; else sekisho login NAME gets one.",
        default=None,
    )
    ca_cert_path: Path | None = setting(
        path(), "Authority of its certificate, PEM; else the system's, never upstream_ca_path.", default=None
    )

    @property
    def settings(self) -> IdpSettings | None:
        """What the client of a plugin needs; None where nothing is said. Raises `Misconfigured`."""
        if all(getattr(self, one.name) is None for one in fields(self)):
            return None
        if self.issuer is None or self.client_id is None:
            raise Misconfigured(
                "config_invalid", "oauth: idp stands without issuer or client_id", remedy="add both"
            )
        return IdpSettings(
            issuer=self.issuer,
            client_id=self.client_id,
            id_token_path=self.id_token_path,
            client_secret_path=self.client_secret_path,
            private_key_path=self.private_key_path,
            ca_cert_path=self.ca_cert_path,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth:
    """`oauth`: how sekisho logs in to the plugin's server; without `grant` no OAuth is used."""

    grant: str = setting(
        choice("off", "authorization_code", "client_credentials", "jwt_bearer", "identity_assertion"),
        'How tokens come: "authorization_code" asks a person once (sekisho login NAME), the others nobody.',
        default="off",
    )
    issuer: str | None = setting(
        judged(web_address("https", "http", with_path=True), _askable),
        "The only authorization server that is accepted; required beside a secret.",
        default=None,
    )
    client_id: str | None = setting(text(), "Name this client is registered under there.", default=None)
    client_secret_path: Path | None = setting(path(), "Private file with its secret.", default=None)
    private_key_path: Path | None = setting(
        path(), "Private file with its key, PEM, to sign assertions with instead of a secret.", default=None
    )
    assertion_path: Path | None = setting(
        path(),
        "Private file with the token of a workload, for jwt_bearer; read anew each time.",
        default=None,
    )
    client_metadata_url: str | None = setting(
        web_address("https", with_path=True),
        "Address of a client id metadata document that describes this client.",
        default=None,
    )
    dynamic_registration: bool = setting(
        flag(), "Whether it may register itself when nothing else works; deprecated by MCP.", default=False
    )
    scopes: tuple[str, ...] = setting(
        listed(text(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}", "a scope")),
        "Exactly the scopes to ask for; else those the plugin's server names.",
        default=(),
    )
    redirect_port: int = setting(
        whole(0, 65535), "Port of 127.0.0.1 a login comes back to; 0 takes a free one.", default=0
    )
    browser: tuple[str, ...] = setting(
        command_words(),
        "Program that opens the login page as soon as a login is needed; else sekisho login NAME does.",
        default=(),
    )
    dpop: bool = setting(
        flag(), "Tokens are bound to a key of this plugin (RFC 9449); others are refused.", default=False
    )
    idp: Idp = setting(nested(Idp), "Whom identity_assertion asks for its assertion.", default=Idp())

    def __post_init__(self) -> None:
        try:
            unused = self.settings is None and any(
                getattr(self, one.name) != one.default for one in fields(self) if one.name != "grant"
            )
        except Misconfigured as problem:
            raise Wrong(problem.message.removeprefix("oauth: "), remedy=problem.remedy) from problem
        if unused:
            raise Wrong(
                "says how to log in without grant", remedy='add grant, e.g. "authorization_code"', key="grant"
            )

    @property
    def settings(self) -> OAuthSettings | None:
        """What the client of this plugin needs; None where no OAuth is used."""
        match self.grant:
            case "authorization_code" | "client_credentials" | "jwt_bearer" | "identity_assertion" as grant:
                same = {one.name: getattr(self, one.name) for one in fields(self)}
                return OAuthSettings(**same | {"grant": grant, "idp": self.idp.settings})
            case _:
                return None

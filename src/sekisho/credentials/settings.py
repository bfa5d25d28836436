"""How one plugin's server is logged in to, as the operator states it. Secrets are paths here, never values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sekisho.errors import Misconfigured

__all__ = ["Grant", "IdpSettings", "OAuthSettings"]

Grant = Literal["authorization_code", "client_credentials", "jwt_bearer", "identity_assertion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdpSettings:
    """The table `oauth.idp`: the identity provider whose word the plugin's authorization server takes.

    Attributes:
        issuer: the identity provider; nobody else is shown the identity token.
        client_id: who we are there, and the audience of the identity token.
        id_token_path: where the identity token lies, replaced in place by whoever obtains it; None logs in there.
        ca_cert_path: the authority of its certificate; None trusts the system's, never the plugin's own.
    """

    issuer: str
    client_id: str
    id_token_path: Path | None = None
    client_secret_path: Path | None = None
    private_key_path: Path | None = None
    ca_cert_path: Path | None = None

    def __post_init__(self) -> None:
        if self.client_secret_path and self.private_key_path:
            raise _wrong("idp.private_key_path stands beside idp.client_secret_path", "keep one of the two")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """The plugin's `oauth` table.

    Attributes:
        issuer: the one authorization server that is accepted; None accepts whichever the plugin's server names.
        scopes: exactly these are asked for; empty asks for what the server names.
        browser: a program that opens the login page when a login is needed; empty waits for `sekisho login`.
        dpop: tokens are bound to a key of ours (RFC 9449), and others are refused.
        idp: whom identity_assertion asks for its assertion.
    """

    grant: Grant = "authorization_code"
    issuer: str | None = None
    client_id: str | None = None
    client_secret_path: Path | None = None
    private_key_path: Path | None = None
    assertion_path: Path | None = None
    client_metadata_url: str | None = None
    dynamic_registration: bool = False
    scopes: tuple[str, ...] = ()
    redirect_port: int = 0
    browser: tuple[str, ...] = ()
    dpop: bool = False
    idp: IdpSettings | None = None

    def __post_init__(self) -> None:
        secrets = (self.client_secret_path, self.private_key_path)
        if all(secrets):
            raise _wrong("private_key_path stands beside client_secret_path", "keep one of the two")
        if any(secrets) and self.client_id is None:
            raise _wrong("a client's secret stands without client_id", "add client_id")
        if (self.client_secret_path or self.assertion_path) and self.issuer is None:
            # else the plugin's server could name an authorization server of its own, and be handed the secret
            raise _wrong("a secret stands without the issuer it belongs to", "add issuer")
        if self.grant == "client_credentials" and not any(secrets):
            raise _wrong(
                "client_credentials has nothing to show", "add client_secret_path or private_key_path"
            )
        if (self.grant == "jwt_bearer") != (self.assertion_path is not None):
            raise _wrong("jwt_bearer and assertion_path belong together", "give both or neither")
        if self.grant != "authorization_code" and (self.client_metadata_url or self.dynamic_registration):
            raise _wrong("only authorization_code registers a client", "remove it, and add client_id")
        self._check_idp()

    def _check_idp(self) -> None:
        if (self.grant == "identity_assertion") != (self.idp is not None):
            raise _wrong("identity_assertion and the table idp belong together", "give both or neither")
        if self.idp is None:
            return
        if self.issuer is None or self.client_id is None:
            # the assertion names both: else the plugin's server would choose whom it is asked for
            raise _wrong("identity_assertion stands without issuer or client_id", "add both")
        if self.issuer.rstrip("/") == self.idp.issuer.rstrip("/"):
            # the draft forbids a provider to take its own assertions
            raise _wrong("idp.issuer is the plugin's own issuer", "use authorization_code there")


def _wrong(what: str, remedy: str) -> Misconfigured:
    return Misconfigured("config_invalid", f"oauth: {what}", remedy=remedy)

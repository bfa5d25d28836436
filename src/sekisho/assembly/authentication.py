"""From the `auth` table to the parts that judge credentials: what must be shown, by whom, for what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sekisho.config import Auth, AuthIssuer, CoreConfig
from sekisho.keys import (
    Challenges,
    CredentialRules,
    Credentials,
    Hands,
    IssuerRules,
    KeyFolder,
    Nonces,
    Replay,
    Resource,
    ResourceTraits,
    ScopePolicy,
    TokenBook,
)

__all__ = ["Authentication", "authentication"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Authentication:
    """What the door needs to know who asks, and what to say when it does not."""

    credentials: Credentials
    challenges: Challenges
    scopes: ScopePolicy
    resource: Resource | None
    """None while there are only static tokens: then there is nothing to announce."""


def authentication(
    config: CoreConfig,
    keys: KeyFolder,
    tokens: TokenBook,
    hands: Hands | None,
    clock: Callable[[], float],
    *,
    replay: Replay | None = None,
) -> Authentication:
    """Build the parts; several workers should share `replay`."""
    auth = config.auth
    scopes = _scopes(auth)
    resource = None
    if auth.issuers and auth.resource is not None:
        traits = ResourceTraits(
            issuers=tuple(one.issuer for one in auth.issuers),
            is_dpop_required=auth.dpop == "required",
            takes_certificates=auth.client_ca_path is not None,
        )
        resource = Resource(auth.resource, (one.name for one in config.plugins.servers), scopes, traits)
    nonces = Nonces(keys.ensure_secret("dpop-nonce")) if auth.dpop_nonce else None
    return Authentication(
        credentials=Credentials(
            tokens,
            clock=clock,
            rules=_rules(auth),
            resource=resource,
            hands=hands,
            replay=replay,
            nonces=nonces,
        ),
        challenges=Challenges(resource, scopes, is_dpop_required=auth.dpop == "required", nonces=nonces),
        scopes=scopes,
        resource=resource,
    )


def _scopes(auth: Auth) -> ScopePolicy:
    operations = ((name.partition("."), scopes) for name, scopes in auth.operation_scopes)
    return ScopePolicy(
        auth.required_scopes,
        dict(auth.plugin_scopes),
        {(plugin, operation): scopes for (plugin, _, operation), scopes in operations},
    )


def _rules(auth: Auth) -> CredentialRules:
    return CredentialRules(
        issuers=tuple(_issuer(one) for one in auth.issuers),
        accepts_static=auth.static_tokens,
        is_dpop_required=auth.dpop == "required",
        refresh_s=auth.keys_refresh_seconds,
        max_age_s=auth.keys_max_age_seconds,
    )


def _issuer(one: AuthIssuer) -> IssuerRules:
    return IssuerRules(
        name=one.name,
        issuer=one.issuer,
        audiences=frozenset(one.audiences),
        algorithms=frozenset(one.algorithms),
        client_claim=one.client_claim,
        accepts_untyped=one.untyped_tokens,
        is_asked=one.introspection_url is not None,
    )

"""Who asks, once that is known, and what a request shows of itself while it is being found out.

Values only. A `Principal` is made by `access_tokens` (OAuth) or `credentials` (static tokens) and nowhere else; the
names of clients of two issuers, and of static tokens, never meet: an issuer's clients are called `alias:subject`,
and no static client's name holds a colon.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Bound", "Principal", "RequestFacts"]


@dataclass(frozen=True, slots=True)
class Bound:
    """Who may use a token: the holder of a certificate (RFC 8705), of a DPoP key (RFC 9449), or of both."""

    x5t: str | None = None
    jkt: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A client that showed a valid credential."""

    client: str
    """Its name in rules, limits and log; at most 288 printable ASCII characters."""
    scopes: frozenset[str] = frozenset()
    issuer: str | None = None
    """The alias of who issued the token; None for a static token, which carries no scopes and needs none."""
    expires_at: float = float("inf")
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a request shows: all of it stands in its head, but the certificate, which its connection showed."""

    authorization: str | None
    method: str
    target: str
    dpop: str | None = None
    """The DPoP header; two of them joined by a comma are no proof."""
    certificate: str | None = None
    """`x5t_s256` of the client's certificate, as DER, when the TLS connection showed one."""

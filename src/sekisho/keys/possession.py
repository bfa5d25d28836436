"""Who shows a token must be who it was issued to, as far as the token says to whom.

- A token bound to a key is shown with the DPoP scheme and a proof, a plain one with the Bearer scheme: a stolen bound
  token sent as Bearer would need no proof, and a plain one sent as DPoP would pretend to have one (RFC 9449 section 7.1).
- A token bound to a certificate is accepted only on a connection that showed this certificate (RFC 8705 section 3).

Judgement of one request; nothing of it is remembered but the ids of proofs.
"""

from __future__ import annotations

from sekisho.keys.access_tokens import refused
from sekisho.keys.dpop import check_proof, proof_refused
from sekisho.keys.principal import Principal, RequestFacts
from sekisho.keys.replay import Nonces, Replay
from sekisho.keys.resource import Resource

__all__ = ["Possession", "check_scheme"]


def check_scheme(principal: Principal, *, is_dpop: bool, is_dpop_required: bool) -> None:
    """Refuse a token that is shown by a scheme that is not its own."""
    has_key = principal.bound is not None and principal.bound.jkt is not None
    if has_key != is_dpop:
        raise refused("it is bound to a key; use the DPoP scheme" if has_key else "it is bound to no key")
    if is_dpop_required and not has_key:
        raise refused("only tokens bound to a key are accepted")


class Possession:
    """Checks what a bound token is bound to."""

    __slots__ = ("_nonces", "_replay", "_resource")

    def __init__(self, resource: Resource | None, replay: Replay, nonces: Nonces | None) -> None:
        self._resource = resource
        self._replay = replay
        self._nonces = nonces

    def check(self, principal: Principal, token: str, facts: RequestFacts, now: float) -> None:
        """Return only when this request comes from whom the token is bound to; raises `Refused`."""
        bound = principal.bound
        if bound is None:
            return
        if bound.x5t is not None and bound.x5t != facts.certificate:
            raise refused("it is bound to a certificate that this connection did not show")
        if bound.jkt is None:
            return
        if self._resource is None:
            raise proof_refused("this gateway has no URL")
        check_proof(
            facts.dpop,
            method=facts.method,
            url=self._resource.url(facts.target),
            token=token,
            jkt=bound.jkt,
            now=now,
            replay=self._replay,
            nonces=self._nonces,
        )

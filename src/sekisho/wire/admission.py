"""What a core may do on one channel, judged anew for every call.

- Its certificate passed the gate, and is neither expired nor revoked by now.
- Its token was verified against that certificate, and is alive.
- The operation is in the token *and* in our own list.

Judgement: the clock's time and the revocations are arguments or shared values; nothing is sent from here.
"""

from __future__ import annotations

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.keys import PeerFacts, verify_channel_token
from sekisho.wire.terms import PluginTerms

__all__ = ["Admission"]


class Admission:
    """That of one core, from its certificate on; it may do nothing until `take_token`."""

    __slots__ = ("_allowed", "_expires", "_terms", "_trusted_in_epoch", "facts")

    def __init__(self, terms: PluginTerms, facts: PeerFacts) -> None:
        self.facts = facts
        self._terms = terms
        self._allowed: frozenset[str] = frozenset()
        self._expires = 0.0  # of the token
        self._trusted_in_epoch = -1  # of revocations

    def take_token(self, token: str) -> None:
        """What this token grants holds from now on; raises the error of one that is not accepted."""
        claims = verify_channel_token(
            token,
            self._terms.core_token_public,
            issuer=self.facts.spiffe,
            audience=self._terms.identity.spiffe,
            x5t=self.facts.x5t_s256,
            now=self._terms.clock(),
            replay=self._terms.replay,
        )
        own = self._terms.ops
        self._allowed = claims.ops if own is None else claims.ops & own
        self._expires = claims.exp

    def recheck(self) -> None:
        """The certificate is still good; raises `Tampered`."""
        epoch = self._terms.gate.revoked.epoch
        self._terms.gate.recheck(self.facts)
        self._trusted_in_epoch = epoch

    def is_admitted(self, operation: str, now: float) -> bool:
        """May this be called now? Raises `Tampered` where the channel has to end."""
        if now >= self.facts.not_after or self._terms.gate.revoked.epoch != self._trusted_in_epoch:
            self.recheck()
        return now < self._expires and operation in self._allowed

    def refusal(self, operation: str, now: float) -> SekishoError:
        """Why it may not; what is admitted came at a bad time."""
        if now >= self._expires:
            return Refused("token_not_accepted", "the channel token has expired")
        if operation not in self._allowed:
            return Refused(
                "operation_not_allowed", f"operation {operation[:128]!r} is not allowed on this channel"
            )
        return Unavailable("busy", "too many calls are in work")

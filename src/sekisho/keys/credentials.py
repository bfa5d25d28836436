"""Who sent this request: static tokens, JWTs and opaque tokens, plain or bound, by one door.

Guarantees
- A credential is judged by exactly one authority: our own book for our own tokens, the issuer that a JWT names, the one
  issuer that is asked about opaque tokens. A token is never tried at a second one, nor shown to it.
- A verdict is remembered for the header and the path it was reached for, until the token or the keys that signed it
  grow too old; that a bound token is shown by its owner is proved anew by every request.
- Judging never waits. Where keys or an answer have to be fetched, the caller gets a `Pending`, and the same judgement is
  made once more when they are there.

Knows no network; `Hands` does. Time is an argument, except where an answer arrives later: that moment is `clock`'s.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.keys.access_tokens import (
    CLOCK_SKEW_S,
    IssuerRules,
    check_kind,
    judge_claims,
    refused,
    stated_issuer,
)
from sekisho.keys.bearer import TokenBook, is_static_token
from sekisho.keys.compact import Compact, has_compact_form, read_compact, verify_compact
from sekisho.keys.introspection import Answer, Introspections
from sekisho.keys.issuer_keys import Fetched, IssuerKeys
from sekisho.keys.memo import Memo
from sekisho.keys.pending import Outcome, Pending
from sekisho.keys.possession import Possession, check_scheme
from sekisho.keys.principal import Principal, RequestFacts
from sekisho.keys.replay import Nonces, Replay, SeenProofs
from sekisho.keys.resource import Resource

__all__ = ["CredentialRules", "Credentials", "Hands"]

MAX_TOKEN_CHARS: Final = 16 << 10  # Entra's largest tokens have some 8 KiB
MAX_KNOWN: Final = 10_000
REFUSED_S: Final = 5.0
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 section 2.1
_SCHEMES: Final = {"bearer": False, "dpop": True}


class Hands(Protocol):
    """Fetches from issuers, by their alias; calls back later, never before it returns."""

    def fetch_keys(self, issuer: str, then: Callable[[Fetched], None], /) -> None:
        """Get the issuer's key set document."""

    def introspect(self, issuer: str, token: str, then: Callable[[Fetched], None], /) -> None:
        """Ask the issuer about a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRules:
    """Which credentials open the gate."""

    issuers: tuple[IssuerRules, ...] = ()
    accepts_static: bool = True
    is_dpop_required: bool = False
    refresh_s: float = 300.0
    max_age_s: float = 3600.0


class Credentials:
    """Judges credentials; keeps verdicts, keys and answers, all of them bounded."""

    def __init__(
        self,
        tokens: TokenBook,
        *,
        clock: Callable[[], float],
        rules: CredentialRules | None = None,
        resource: Resource | None = None,
        hands: Hands | None = None,
        replay: Replay | None = None,
        nonces: Nonces | None = None,
    ) -> None:
        self._tokens = tokens
        self._clock = clock
        self._rules = rules or CredentialRules()
        self._resource = resource
        self._possession = Possession(resource, SeenProofs() if replay is None else replay, nonces)
        self._known: Memo[tuple[str, str | None], Principal] = Memo(MAX_KNOWN)
        self._refused: Memo[bytes, str] = Memo(MAX_KNOWN)
        self._issuers = {one.issuer: one for one in self._rules.issuers}
        self._keys: dict[str, IssuerKeys] = {}
        self._asked: tuple[IssuerRules, Introspections] | None = None
        if hands is not None:
            for one in self._rules.issuers:
                self._connect(one, hands)

    def _connect(self, rules: IssuerRules, hands: Hands) -> None:
        name = rules.name
        if rules.is_asked:
            self._asked = rules, Introspections(partial(hands.introspect, name), self._clock)
        else:
            self._keys[name] = IssuerKeys(
                partial(hands.fetch_keys, name),
                self._clock,
                partial(self._forget_issuer, name),
                refresh_s=self._rules.refresh_s,
                max_age_s=self._rules.max_age_s,
            )

    # for the door

    def recall(self, authorization: str | None, target: str, now: float) -> Principal | None:
        """Who showed this very header at this path before, if nothing has to be proved anew; else None."""
        found = self._known.find((target, authorization), now)
        return found if found is not None and found.bound is None else None

    def identify(self, facts: RequestFacts, now: float) -> Principal | Pending:
        """Who sent this request, or a promise to say so; raises `Refused` or `Unavailable`."""
        return self._identify(facts, now, may_wait=True)

    # for whoever looks after it

    def look(self, now: float) -> None:
        """Renew what grows old; call it every second or so, and once at the start."""
        for keys in self._keys.values():
            keys.look(now)

    def forget(self) -> None:
        """Judge every credential anew from now on; keys stay."""
        self._known.clear()
        self._refused.clear()
        if self._asked is not None:
            self._asked[1].forget()

    def replace_tokens(self, tokens: TokenBook) -> None:
        """Take over a changed book of static tokens."""
        self._tokens = tokens
        self._known.drop(lambda principal: principal.issuer is None)

    def problems(self, now: float) -> dict[str, str]:
        """Issuers whose tokens cannot be verified now, and why."""
        return {
            name: "its keys were never fetched" if keys.problem is None else keys.problem.message
            for name, keys in self._keys.items()
            if not keys.is_usable(now)
        }

    def _forget_issuer(self, name: str) -> None:
        self._known.drop(lambda principal: principal.issuer == name)
        self._refused.clear()

    # the judgement

    def _identify(self, facts: RequestFacts, now: float, *, may_wait: bool) -> Principal | Pending:
        header = facts.authorization
        if not header:
            raise Refused("token_missing", "the request carries no token")
        scheme, _, token = header.partition(" ")
        principal = self._known.find((facts.target, header), now)
        if principal is None:
            found = self._judge(scheme, token, facts, now, may_wait=may_wait)
            if isinstance(found, Pending):
                return found
            principal = found
        if principal.bound is not None:
            self._possession.check(principal, token, facts, now)
        return principal

    def _judge(
        self, scheme: str, token: str, facts: RequestFacts, now: float, *, may_wait: bool
    ) -> Principal | Pending:
        if not self._issuers or is_static_token(token):
            return self._judge_static(facts, now)
        is_dpop = _SCHEMES.get(scheme.lower())
        if is_dpop is None or len(token) > MAX_TOKEN_CHARS or not _TOKEN.fullmatch(token):
            raise Refused("token_invalid", "the Authorization header holds no token that is used here")
        mark = hashlib.sha256(f"{facts.target}\n{facts.authorization}".encode()).digest()
        known_refusal = self._refused.find(mark, now)
        if known_refusal is not None:
            raise Refused("token_invalid", known_refusal)
        try:
            found = self._judge_issued(token, facts, now, may_wait=may_wait)
            if isinstance(found, Pending):
                return found
            principal, until = found
            check_scheme(principal, is_dpop=is_dpop, is_dpop_required=self._rules.is_dpop_required)
        except Refused as error:
            if error.code == "token_invalid":
                self._refused.put(mark, error.message, now + REFUSED_S, now)
            raise
        self._known.put((facts.target, facts.authorization), principal, until, now)
        return principal

    def _judge_static(self, facts: RequestFacts, now: float) -> Principal:
        if not self._rules.accepts_static:
            raise Refused("token_invalid", "static tokens are not accepted here")
        principal = Principal(client=self._tokens.identify(facts.authorization))
        self._known.put((facts.target, facts.authorization), principal, principal.expires_at, now)
        return principal

    def _judge_issued(
        self, token: str, facts: RequestFacts, now: float, *, may_wait: bool
    ) -> tuple[Principal, float] | Pending:
        if not (has_compact_form(token) and self._keys):
            return self._judge_opaque(token, facts, now, may_wait=may_wait)
        read = read_compact(token, refused)
        rules = self._issuers.get(stated_issuer(read.payload) or "")
        if rules is None:
            raise refused("it comes from another issuer")
        if rules.is_asked:
            return self._judge_opaque(token, facts, now, may_wait=may_wait)
        return self._judge_jwt(read, rules, facts, now, may_wait=may_wait)

    def _judge_jwt(
        self, read: Compact, rules: IssuerRules, facts: RequestFacts, now: float, *, may_wait: bool
    ) -> tuple[Principal, float] | Pending:
        check_kind(read, rules)
        kid = read.header.get("kid")
        if not isinstance(kid, str | None):
            raise refused("its key id is no text")
        keys = self._keys[rules.name]
        key = keys.find(kid, read.algorithm, now)
        if key is None:
            if may_wait and keys.may_ask(now):
                pending = Pending()
                keys.wait(lambda: self._settle(pending, facts), now)
                return pending
            if not keys.is_usable(now):
                raise Unavailable(
                    "issuer_unavailable", f"the keys of the issuer {rules.name} are not at hand"
                )
            raise refused("its key is not known")
        verify_compact(read, key, refused)
        principal = judge_claims(read.payload, rules, self._audiences(facts), now)
        return principal, min(principal.expires_at + CLOCK_SKEW_S, keys.believed_until)

    def _judge_opaque(
        self, token: str, facts: RequestFacts, now: float, *, may_wait: bool
    ) -> tuple[Principal, float] | Pending:
        if self._asked is None:
            raise refused("it is not a signed token")
        rules, introspections = self._asked
        mark = hashlib.sha256(token.encode()).digest()
        answer = introspections.find(mark, now)
        if answer is None:
            if not may_wait:
                raise Unavailable("issuer_unavailable", f"the issuer {rules.name} gave no lasting answer")
            pending = Pending()
            introspections.ask(token, mark, lambda outcome: self._answered(pending, facts, outcome), now)
            return pending
        if answer.claims is None:
            raise refused("it is not active")
        principal = judge_claims(answer.claims, rules, self._audiences(facts), now, expires_by=answer.until)
        return principal, min(principal.expires_at + CLOCK_SKEW_S, answer.until)

    def _audiences(self, facts: RequestFacts) -> tuple[str, ...]:
        return () if self._resource is None else self._resource.audiences(facts.target)

    def _answered(self, pending: Pending, facts: RequestFacts, outcome: Fetched | Answer) -> None:
        if isinstance(outcome, SekishoError):
            pending.settle(Unavailable("issuer_unavailable", "the token's issuer did not answer"))
        else:
            self._settle(pending, facts)

    def _settle(self, pending: Pending, facts: RequestFacts) -> None:
        """Judge once more, with what has come; it does not wait a second time."""
        outcome: Outcome | Pending
        try:
            outcome = self._identify(facts, self._clock(), may_wait=False)
        except SekishoError as error:
            outcome = error
        if not isinstance(outcome, Pending):
            pending.settle(outcome)

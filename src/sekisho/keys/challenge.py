"""What a refused client is told to do: the `WWW-Authenticate` headers of RFC 6750, RFC 9449 and RFC 9728.

- 401 names the metadata of the endpoint and the scopes to ask for; an `error` only when a credential was sent, so that
  a client that never had one is not told that it is bad.
- 403 names every scope that the operation needs, in one challenge.
- Nothing a stranger sent is repeated.

Judgement: an error in, headers out.
"""

from __future__ import annotations

import re
from typing import Final

from sekisho.errors import ScopeMissing, SekishoError
from sekisho.keys.compact import ALGORITHMS
from sekisho.keys.replay import Nonces
from sekisho.keys.resource import Resource, plugin_of
from sekisho.keys.scopes import ScopePolicy

__all__ = ["Challenges"]

Headers = list[tuple[str, str]]
_UNSAFE: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")  # RFC 6750 section 3: no quote, no backslash
_ERRORS: Final = {
    "token_invalid": "invalid_token",
    "token_in_query": "invalid_request",
    "scope_missing": "insufficient_scope",
    "dpop_invalid": "invalid_dpop_proof",
    "dpop_nonce": "use_dpop_nonce",
}
_DPOP_ONLY: Final = frozenset({"dpop_invalid", "dpop_nonce"})
_ALGS: Final = " ".join(sorted(ALGORITHMS))


class Challenges:
    """Makes challenges for one gateway; without a resource there are only static tokens."""

    __slots__ = ("_is_dpop_required", "_nonces", "_resource", "_scopes")

    def __init__(
        self,
        resource: Resource | None = None,
        scopes: ScopePolicy | None = None,
        *,
        is_dpop_required: bool = False,
        nonces: Nonces | None = None,
    ) -> None:
        self._resource = resource
        self._scopes = scopes or ScopePolicy()
        self._is_dpop_required = is_dpop_required
        self._nonces = nonces

    def headers(self, error: SekishoError, target: str, now: float) -> Headers:
        """The headers that go with this refusal at this path; none for refusals that have nothing to do with it."""
        status = error.info.http_status
        if error.code not in _ERRORS and status != 401:
            return []
        if self._resource is None:
            return [("WWW-Authenticate", 'Bearer realm="sekisho"')] if status == 401 else []
        facts = self._facts(error, target, self._resource)
        headers: Headers = []
        if error.code not in _DPOP_ONLY and not self._is_dpop_required:
            headers.append(("WWW-Authenticate", f"Bearer {facts}"))
        if self._is_dpop_required or error.code in _DPOP_ONLY or error.code == "token_missing":
            headers.append(("WWW-Authenticate", f'DPoP {facts}, algs="{_ALGS}"'))
        if self._nonces is not None and error.code == "dpop_nonce":
            headers += [("DPoP-Nonce", self._nonces.current(now)), ("Cache-Control", "no-store")]
        return headers

    def _facts(self, error: SekishoError, target: str, resource: Resource) -> str:
        scopes = self._scopes.needed(plugin_of(target), None)
        if isinstance(error, ScopeMissing):
            scopes = error.scopes
        endpoint = target if target == "/mcp" or plugin_of(target) else ""
        is_known = error.code in _ERRORS
        facts = ['realm="sekisho"']
        if is_known:
            facts.append(f'error="{_ERRORS[error.code]}"')
        if scopes:
            facts.append(f'scope="{" ".join(scopes)}"')
        facts.append(f'resource_metadata="{resource.metadata_url(endpoint)}"')
        if is_known:  # last, because clients take the first thing that looks like what they search for
            facts.append(f'error_description="{_UNSAFE.sub("", error.message)}"')
        return ", ".join(facts)

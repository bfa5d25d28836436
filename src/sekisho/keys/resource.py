"""This gateway as a protected resource (RFC 9728): its URLs, and the documents that tell a client whom to ask.

Guarantees that what a token must be for, what a DPoP proof must be for, and what the metadata announces are one value:
the configured URL and the path of the endpoint. The Host header has no part in it, because a client may write anything
there. The documents are made once; they say nothing about which plugins exist.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from sekisho.keys.compact import ALGORITHMS
from sekisho.keys.scopes import ScopePolicy

__all__ = ["METADATA_HEADERS", "PREFLIGHT_HEADERS", "WELL_KNOWN", "Resource", "ResourceTraits", "plugin_of"]

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
# Public facts without cookies: any web page may read them.
METADATA_HEADERS: Final = (("Access-Control-Allow-Origin", "*"), ("Cache-Control", "public, max-age=300"))
PREFLIGHT_HEADERS: Final = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET"),
    ("Access-Control-Allow-Headers", "MCP-Protocol-Version"),
    ("Access-Control-Max-Age", "86400"),
)
_PLUGIN: Final = re.compile(r"/p/([a-z0-9](?:-?[a-z0-9]){0,31})/mcp")
_encode: Final = msgspec.json.Encoder().encode


class ResourceTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What is announced of how tokens are used here."""

    issuers: tuple[str, ...]
    is_dpop_required: bool = False
    takes_certificates: bool = False


def plugin_of(target: str) -> str | None:
    """The plugin whose endpoint this path is; None for every other path."""
    match = _PLUGIN.fullmatch(target)
    return None if match is None else match[1]


class Resource:
    """The gateway under its public URL."""

    __slots__ = ("_documents", "_scopes", "_traits", "base")

    def __init__(
        self, base: str, plugins: Iterable[str], scopes: ScopePolicy, traits: ResourceTraits
    ) -> None:
        self.base = base.rstrip("/")
        self._scopes = scopes
        self._traits = traits
        targets = ["", "/mcp", *(f"/p/{plugin}/mcp" for plugin in plugins)]
        self._documents = {WELL_KNOWN + target: self._document(target) for target in targets}

    def url(self, target: str) -> str:
        """The public URL of an endpoint."""
        return self.base + target

    def audiences(self, target: str) -> tuple[str, str, str]:
        """Whom a token may be for when it is shown at this endpoint: the whole gateway, or this endpoint."""
        return self.base, self.base + "/", self.base + target

    def metadata_url(self, target: str) -> str:
        """Where the metadata of an endpoint stand (RFC 9728 section 3.1)."""
        return self.base + WELL_KNOWN + target

    def metadata(self, path: str) -> bytes | None:
        """The document at this path, or None.

        Every well-formed plugin name has one, so that strangers do not learn here which plugins there are.
        """
        found = self._documents.get(path)
        if found is None and path.startswith(WELL_KNOWN) and plugin_of(path[len(WELL_KNOWN) :]):
            found = self._document(path[len(WELL_KNOWN) :])
        return found

    def _document(self, target: str) -> bytes:
        plugin = plugin_of(target)
        scopes = self._scopes.everything if plugin is None else self._scopes.of_plugin(plugin)
        return _encode(
            {
                "resource": self.url(target),
                "authorization_servers": self._traits.issuers,
                **({"scopes_supported": scopes} if scopes else {}),
                "bearer_methods_supported": ["header"],
                "resource_name": "Sekisho",
                "dpop_signing_alg_values_supported": sorted(ALGORITHMS),
                "dpop_bound_access_tokens_required": self._traits.is_dpop_required,
                "tls_client_certificate_bound_access_tokens": self._traits.takes_certificates,
            }
        )

"""Canonical bytes of a JSON value (RFC 8785), and digests that cannot be mistaken for one another.

Two values have the same canonical bytes exactly when they are equal as I-JSON. What RFC 8785 cannot express
(integers beyond 2^53, NaN, Infinity, lone surrogates) is refused, never rounded. A digest commits to its
domain and to its data, with the length of the domain in front, so no digest of one kind is ever valid as
another.
"""

from __future__ import annotations

import hashlib
from typing import Final

import rfc8785

from sekisho.errors import LocalProtocolError, RemoteProtocolError
from sekisho.protocol.json_text import JsonValue

__all__ = ["canonical_bytes", "digest"]

_MAX_DOMAIN_BYTES: Final = 255  # its length is written in one byte


def canonical_bytes(value: JsonValue) -> bytes:
    """The value in the JSON Canonicalization Scheme.

    Raises:
        RemoteProtocolError: `plugin_protocol` when the scheme has no bytes for this value.
    """
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError) as error:
        raise RemoteProtocolError("plugin_protocol", "a value has no canonical JSON form") from error
    except RecursionError as error:
        raise RemoteProtocolError("plugin_protocol", "a value is nested too deeply") from error


def digest(domain: str, data: bytes) -> str:
    """`sha256:<hex>` over the length of the domain, the domain and the data."""
    label = domain.encode("ascii")
    if not 1 <= len(label) <= _MAX_DOMAIN_BYTES:
        raise LocalProtocolError("internal", "a digest domain has 1 to 255 characters")
    return "sha256:" + hashlib.sha256(bytes((len(label),)) + label + data).hexdigest()

"""The envelope of one request: its era, and whether headers and body say the same (MCP 2026-07-28).

A request is modern when its `_meta` or its `MCP-Protocol-Version` header says so. Rungs, in order, each can
refuse:
1. a modern request states its version and the client's capabilities in `params._meta` (`params_invalid`);
2. `MCP-Protocol-Version`, `Mcp-Method` and, where a name is called, `Mcp-Name` equal the body
   (`header_mismatch`): a proxy in front may have decided on the headers, so they must not tell another story;
3. the version is one we speak (`version_unsupported`); after the headers, so that a client which contradicts
   itself is told so first.

A legacy request need not send the `Mcp-*` headers, but those it sends must be true. Does not know whether a
method exists, nor sessions; every value it returns is the client's claim and decides nothing about rights.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.client_messages import refuse_variants
from sekisho.protocol.client_values import ClientNotification, ClientRequest, Envelope, JsonObject
from sekisho.protocol.revisions import LEGACY, MODERN, VersionUnsupported

__all__ = [
    "META_CALL",
    "META_CLIENT_CAPABILITIES",
    "META_CLIENT_INFO",
    "META_LOG_LEVEL",
    "META_PROTOCOL_VERSION",
    "META_SERVER_INFO",
    "decode_header",
    "encode_header",
    "envelope",
    "is_usual_meta",
]

META_PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_CALL: Final = "sekisho/call"  # of a result, ours: the id of its call, by which the audit log knows it

_VERSION_HEADER: Final = "mcp-protocol-version"
_NAMED: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
_PARAMS: Final = frozenset({"_meta", "name", "uri", "arguments", "taskId"})
_META: Final = frozenset({META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL})
_USUAL_META: Final = _META | {"progressToken"}  # near to none of them
_NOTHING: Final[JsonObject] = {}
_PREFIX: Final = "=?base64?"
_SUFFIX: Final = "?="
_LEGACY: Final[dict[str | None, Envelope]] = {
    version: Envelope(modern=False, version=version) for version in (None, *LEGACY)
}
_PLAIN: Final = {version: Envelope(modern=True, version=version) for version in MODERN}


def envelope(headers: dict[str, str], message: ClientRequest | ClientNotification) -> Envelope:
    """Climb the ladder. Header names are lower-case, as `http1` gives them.

    Raises:
        RemoteProtocolError: `params_invalid`, `header_mismatch` or `version_unsupported`.
    """
    params = message.params
    # counting what nearly every message has costs less than asking a set
    if ("name" in params) + ("arguments" in params) + ("_meta" in params) != len(params):
        refuse_variants(params, _PARAMS)
    stated = headers.get(_VERSION_HEADER)
    meta = params.get("_meta", _NOTHING)
    if not isinstance(meta, dict):
        raise RemoteProtocolError("params_invalid", "params._meta is an object")
    if not is_usual_meta(meta) and not _USUAL_META.issuperset(meta):
        refuse_variants(meta, _META)
    if META_PROTOCOL_VERSION in meta or stated in MODERN:
        return _modern(headers, message, stated, meta)
    _check_name_headers(headers, message, are_required=False)
    # An initialize negotiates in its body; the header is for the requests that follow it.
    if stated is not None and stated not in LEGACY and message.method != "initialize":
        raise VersionUnsupported(stated)
    return _LEGACY.get(stated) or Envelope(modern=False, version=stated)


def is_usual_meta(meta: JsonObject) -> bool:
    """True when a modern request says in its `_meta` what it must, and who its client is: nearly every one."""
    return (
        len(meta) == 3
        and META_PROTOCOL_VERSION in meta
        and META_CLIENT_CAPABILITIES in meta
        and META_CLIENT_INFO in meta
    )


def encode_header(value: str) -> str:
    """The value as a header can carry it: as it is, or in the `=?base64?…?=` form."""
    is_safe = value.isascii() and value.isprintable() and value == value.strip(" ")
    if is_safe and not (value.startswith(_PREFIX) and value.endswith(_SUFFIX)):
        return value
    return _PREFIX + base64.b64encode(value.encode()).decode("ascii") + _SUFFIX


def decode_header(value: str) -> str | None:
    """Undo `encode_header`; None when the base64 form is not exactly what it would write."""
    if not (value.startswith(_PREFIX) and value.endswith(_SUFFIX)):
        return value
    inner = value[len(_PREFIX) : -len(_SUFFIX)]
    try:
        raw = base64.b64decode(inner, validate=True)
        # Loose base64 (unused bits set) would give one name two spellings.
        return raw.decode() if base64.b64encode(raw).decode("ascii") == inner else None
    except (binascii.Error, ValueError):
        return None


def _modern(
    headers: dict[str, str],
    message: ClientRequest | ClientNotification,
    stated: str | None,
    meta: JsonObject,
) -> Envelope:
    capabilities = meta.get(META_CLIENT_CAPABILITIES)
    version = meta.get(META_PROTOCOL_VERSION, stated)
    # The envelope is required of requests; a notification may come bare and is then judged by its headers.
    is_request = isinstance(message, ClientRequest)
    if is_request and (META_PROTOCOL_VERSION not in meta or META_CLIENT_CAPABILITIES not in meta):
        raise RemoteProtocolError(
            "params_invalid", "params._meta states the protocol version and the client capabilities"
        )
    if not isinstance(capabilities, dict):
        if META_CLIENT_CAPABILITIES in meta:
            raise RemoteProtocolError("params_invalid", "the client capabilities are an object")
        capabilities = _NOTHING
    if not isinstance(version, str) or version != stated:
        raise _mismatch("MCP-Protocol-Version")
    _check_name_headers(headers, message, are_required=is_request)
    if version not in MODERN:
        raise VersionUnsupported(version)
    info = meta.get(META_CLIENT_INFO)
    if info is not None and not isinstance(info, dict):
        raise RemoteProtocolError("params_invalid", "the client info is an object")
    if capabilities or META_LOG_LEVEL in meta:
        return Envelope(True, version, capabilities, says_more=True)
    return _PLAIN[version]


def _check_name_headers(
    headers: dict[str, str], message: ClientRequest | ClientNotification, *, are_required: bool
) -> None:
    method = headers.get("mcp-method")
    if method != message.method and (are_required or method is not None):
        raise _mismatch("Mcp-Method")
    key = _NAMED.get(message.method)
    if key is None or key not in message.params:
        return  # without a name in the body the method itself refuses
    name = headers.get("mcp-name")
    if name is None:
        if are_required:
            raise _mismatch("Mcp-Name")
        return
    wanted = message.params[key]
    if wanted == name and not name.startswith(_PREFIX):
        return  # nearly always
    if not isinstance(wanted, str) or decode_header(name) != wanted:
        raise _mismatch("Mcp-Name")


def _mismatch(header: str) -> RemoteProtocolError:
    return RemoteProtocolError("header_mismatch", f"the {header} header does not say what the body says")

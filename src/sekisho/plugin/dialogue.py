"""What is answered to each method of MCP, in both eras: one session of a plugin, without its transport.

Guarantees
- legacy requests need the handshake first; modern ones carry their revision and are judged one by one;
- only `tools/call` runs code of the plugin, and only after the plugin was initialized;
- an older revision is told nothing it does not know.

Judgement only: `Started` asks the transport to run a call and to write `answer_of` its outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.plugin.call import ProgressToken
from sekisho.plugin.faults import PluginFault
from sekisho.plugin.isolated import IsolatedPlugin
from sekisho.plugin.messages import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Ident,
    Message,
    RpcRefusal,
)
from sekisho.plugin.results import ToolResult

__all__ = ["Dialogue", "Started"]

LEGACY: Final = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
MODERN: Final = ("2026-07-28",)
VERSION_UNSUPPORTED: Final = -32022
META: Final = "io.modelcontextprotocol/"
_KNOWS_OUTPUT: Final = frozenset(LEGACY[:2])
_KNOWS_ANNOTATIONS: Final = frozenset(LEGACY[:3])
_CACHEABLE: Final = frozenset({"server/discover", "tools/list"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A call that is to run."""

    tool: str
    arguments: Mapping[str, Any]
    token: ProgressToken | None
    is_modern: bool


class Dialogue:
    """One session; `broken` is why the plugin runs no tool, if it does not."""

    def __init__(self, plugin: IsolatedPlugin, broken: PluginFault | None = None) -> None:
        self._plugin = plugin
        self._broken = broken
        self._revision: str | None = None

    def answer(self, message: Message) -> dict[str, object] | Started:
        """The result of a request, or a call to run. Raises `RpcRefusal`."""
        if self._broken is not None:
            raise RpcRefusal(INTERNAL_ERROR, self._broken.message, data={"code": self._broken.code})
        meta = message.params.get("_meta", {})
        if not isinstance(meta, dict):
            raise RpcRefusal(INVALID_PARAMS, "_meta must be an object")
        is_modern = message.method == "server/discover" or META + "protocolVersion" in meta
        if is_modern:
            _check_envelope(meta)
        elif message.method == "initialize":
            return self._initialize(message.params)
        elif message.method == "ping":
            return {}
        elif self._revision is None:
            raise RpcRefusal(INVALID_REQUEST, "begin with initialize, or name the revision in _meta")
        if message.method == "tools/call":
            return _call(message.params, meta, is_modern=is_modern)
        if message.method == "server/discover":
            return self._finished(message.method, self._discovered())
        if message.method == "tools/list":
            return self._listed(message.params, is_modern=is_modern)
        raise RpcRefusal(METHOD_NOT_FOUND, "this server does not know that method")

    def answer_of(self, started: Started, result: ToolResult) -> dict[str, object]:
        """The result of a call that ran."""
        wire = result.wire()
        if started.is_modern:
            return self._finished("tools/call", wire)
        if self._revision not in _KNOWS_OUTPUT:
            wire.pop("structuredContent", None)
        return wire

    def _initialize(self, params: Mapping[str, Any]) -> dict[str, object]:
        if self._revision is not None:
            raise RpcRefusal(INVALID_REQUEST, "the session is open already")
        asked = params.get("protocolVersion")
        if not isinstance(asked, str):
            raise RpcRefusal(INVALID_PARAMS, "protocolVersion must be a text")
        self._revision = asked if asked in LEGACY else LEGACY[0]
        return {"protocolVersion": self._revision, **self._offer(), "serverInfo": self._info()}

    def _offer(self) -> dict[str, object]:
        offer: dict[str, object] = {"capabilities": {"tools": {}}}
        if self._plugin.instructions is not None:
            offer["instructions"] = self._plugin.instructions
        return offer

    def _info(self) -> dict[str, object]:
        return {"name": self._plugin.name, "version": self._plugin.version}

    def _discovered(self) -> dict[str, object]:
        return {"supportedVersions": list(MODERN), **self._offer()}

    def _listed(self, params: Mapping[str, Any], *, is_modern: bool) -> dict[str, object]:
        if params.get("cursor") is not None:
            raise RpcRefusal(INVALID_PARAMS, "the list has one page")
        knows_output = is_modern or self._revision in _KNOWS_OUTPUT
        knows_annotations = is_modern or self._revision in _KNOWS_ANNOTATIONS
        tools = [
            tool.definition(knows_output=knows_output, knows_annotations=knows_annotations)
            for tool in self._plugin.tools.values()
        ]
        return self._finished("tools/list", {"tools": tools}) if is_modern else {"tools": tools}

    def _finished(self, method: str, result: dict[str, object]) -> dict[str, object]:
        """What every modern result says beside its content."""
        said = result.get("_meta")
        meta = {**(said if isinstance(said, dict) else {}), META + "serverInfo": self._info()}
        hints = {"ttlMs": 0, "cacheScope": "private"} if method in _CACHEABLE else {}
        return {"resultType": "complete", **hints, **result, "_meta": meta}


def _check_envelope(meta: Mapping[str, Any]) -> None:
    for word, kind in (("protocolVersion", str), ("clientCapabilities", dict)):
        if not isinstance(meta.get(META + word), kind):
            raise RpcRefusal(INVALID_PARAMS, f"_meta lacks {META}{word}")
    asked = meta[META + "protocolVersion"]
    if asked not in MODERN:
        data = {"supported": list(MODERN), "requested": asked[:64]}
        raise RpcRefusal(VERSION_UNSUPPORTED, "this protocol version is not supported", data=data)


def _call(params: Mapping[str, Any], meta: Mapping[str, Any], *, is_modern: bool) -> Started:
    name, arguments = params.get("name"), params.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise RpcRefusal(INVALID_PARAMS, "a call has a name and an object of arguments")
    token = meta.get("progressToken")
    if token is not None and (isinstance(token, bool) or not isinstance(token, str | int)):
        raise RpcRefusal(INVALID_PARAMS, "progressToken must be a text or a whole number")
    return Started(tool=name, arguments=arguments, token=token, is_modern=is_modern)


def ident_key(ident: Ident) -> tuple[str, Ident]:
    """1 and "1" are different ids."""
    return type(ident).__name__, ident

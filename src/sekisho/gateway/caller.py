"""Who calls, as far as a plugin's side has to know: era, what the client can be asked, and what it wants to hear.

All of it is the client's own claim. A claim only ever narrows: a plugin may ask a client what the client declared *and*
the operator allows. Judgement; values in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final, Literal

import msgspec

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import (
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_PROTOCOL_VERSION,
    Envelope,
    JsonObject,
    JsonValue,
    is_usual_meta,
)
from sekisho.wire import CallContext, encode_context

__all__ = [
    "APPS",
    "APPS_EXTENSION",
    "ASKABLE",
    "LOG_LEVELS",
    "NO_EXTRAS",
    "TASKS",
    "TASKS_EXTENSION",
    "Caller",
    "Contexts",
    "Extras",
    "Instances",
    "declared_by",
    "instance_of",
    "modern_caller",
    "scope_of",
    "spread",
]

# What a client can be asked (MCP 2025-11-25, client features).
ASKABLE: Final = ("elicitation", "elicitation/url", "roots", "sampling", "sampling/tools")
# RFC 5424 section 6.2.1, the least severe first (MCP 2025-11-25, server/utilities/logging).
LOG_LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

TASKS: Final = "tasks"  # among what a modern client declares: a call of it may be answered with a task
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
APPS: Final = "apps"  # the same: a plugin may show it pages of its own (MCP Apps)
APPS_EXTENSION: Final = "io.modelcontextprotocol/ui"
_EXTENSIONS: Final = ((TASKS, TASKS_EXTENSION), (APPS, APPS_EXTENSION))

Instances = Literal["shared", "client", "session"]  # whom a plugin has a process for

MAX_CONTEXTS: Final = 4096
MAX_META_BYTES: Final = 8 << 10  # trace context has below one kilobyte; a call must not carry a second body

_OURS: Final = "io.modelcontextprotocol/"
_USUAL_META: Final = frozenset(
    {META_PROTOCOL_VERSION, META_CLIENT_CAPABILITIES, META_CLIENT_INFO, META_LOG_LEVEL, "progressToken"}
)
_encode: Final = msgspec.json.Encoder().encode


class Extras:
    """What one request carries beside its arguments; nearly always nothing."""

    __slots__ = ("input_responses", "meta", "request_state")

    def __init__(
        self, meta: bytes = b"", input_responses: bytes = b"", request_state: str | None = None
    ) -> None:
        self.meta: Final = meta
        self.input_responses: Final = input_responses
        self.request_state: Final = request_state

    @property
    def size(self) -> int:
        """How many bytes it has; `meta` is small."""
        return len(self.input_responses) + len(self.request_state or "")


NO_EXTRAS: Final = Extras()


class Caller:
    """The client of a request."""

    __slots__ = ("declared", "log_level", "modern", "scope", "style")

    def __init__(
        self,
        modern: bool,
        scope: str,
        style: Literal["rounds", "stream"] = "rounds",
        declared: frozenset[str] = frozenset(),
        log_level: str | None = None,
    ) -> None:
        self.modern: Final = modern
        self.scope: Final = scope
        self.style: Final[Literal["rounds", "stream"]] = style
        self.declared: Final = declared
        self.log_level: Final = log_level

    def is_plain(self, allowed: frozenset[str]) -> bool:
        """True when there is nothing to say of it: nearly every client, while a plugin remembers nothing of it."""
        return self.log_level is None and (not self.declared or self.declared.isdisjoint(allowed))

    def may_be_asked(self, allowed: frozenset[str]) -> frozenset[str]:
        """What a plugin may ask of this client, when the operator allows it so much."""
        return self.declared & allowed if self.declared else self.declared


class Contexts:
    """Contexts of calls as bytes; the same few are sent again and again, so they are written once."""

    __slots__ = ("_memo", "latest")

    def __init__(self) -> None:
        # By scope: whose call it was last, by which rules of the plugin, and the context that it had.
        self.latest: dict[str, tuple[Caller, object, bytes]] = {}
        self._memo: dict[tuple[object, ...], bytes] = {}  # by all that a context says

    def of(
        self,
        caller: Caller,
        allowed: frozenset[str],
        extras: Extras = NO_EXTRAS,
        instance: str = "",
    ) -> bytes:
        """The context to send with a call of this caller, to a plugin that may ask so much.

        Args:
            instance: Whose process of the plugin takes the call (`instance_of`).
        """
        if extras is not NO_EXTRAS:
            return _context(caller, allowed, extras, instance)
        key = (caller.scope, caller.style, caller.declared, caller.log_level, allowed, instance)
        found = self._memo.get(key)
        if found is None:
            if len(self._memo) >= MAX_CONTEXTS:
                self._memo.clear()
            found = self._memo[key] = _context(caller, allowed, extras, instance)
        return found

    def keep(self, caller: Caller, rules: object, context: bytes) -> None:
        """The same client is likely to call the same plugin again: then its context is found by one look."""
        if len(self.latest) >= MAX_CONTEXTS:
            self.latest.clear()
        self.latest[caller.scope] = (caller, rules, context)


def _context(caller: Caller, allowed: frozenset[str], extras: Extras, instance: str) -> bytes:
    may_ask = caller.may_be_asked(allowed)
    given: dict[str, msgspec.Raw] = {}  # an empty one is not left out unless it is the default itself
    if extras.meta:
        given["meta"] = msgspec.Raw(extras.meta)
    if extras.input_responses:
        given["input_responses"] = msgspec.Raw(extras.input_responses)
    return encode_context(
        CallContext(
            scope=caller.scope,
            style=caller.style,
            may_ask=tuple(sorted(may_ask)),
            log_level=caller.log_level,
            request_state=extras.request_state,
            instance=instance,
            **given,
        )
    )


def scope_of(kind: Literal["client", "session"], name: str) -> str:
    """The name by which a plugin's side knows a client or a session; it tells nothing about either."""
    return sha256(f"sekisho/scope/1/{kind}\x00{name}".encode()).hexdigest()[:32]


def instance_of(instances: Instances, client: str, caller: Caller | None) -> str:
    """Whose process of a plugin a call belongs to; "" where all clients share one.

    A client that names no session has one process for all it does: a modern one never does, because it has none.
    """
    if instances == "shared":
        return ""
    if instances == "session" and caller is not None and not caller.modern:
        return caller.scope
    return _client_scope(client)


def declared_by(capabilities: JsonObject) -> frozenset[str]:
    """What a client says it can be asked (MCP 2025-11-25, basic/lifecycle; an empty elicitation means forms)."""
    declared: set[str] = set()
    elicitation = capabilities.get("elicitation")
    if isinstance(elicitation, dict):
        if "form" in elicitation or "url" not in elicitation:
            declared.add("elicitation")
        if "url" in elicitation:
            declared.add("elicitation/url")
    sampling = capabilities.get("sampling")
    if isinstance(sampling, dict):
        declared.add("sampling")
        if "tools" in sampling:
            declared.add("sampling/tools")
    if isinstance(capabilities.get("roots"), dict):
        declared.add("roots")
    return frozenset(declared)


def modern_caller(client: str, shape: Envelope, meta: Mapping[str, JsonValue]) -> Caller:
    """The client of a request that says everything about itself (MCP 2026-07-28)."""
    level = meta.get(META_LOG_LEVEL)
    if level is not None and (not isinstance(level, str) or level not in LOG_LEVELS):
        raise RemoteProtocolError("params_invalid", "the log level is not one of MCP")
    declared = declared_by(shape.capabilities) | _extensions(shape) if shape.capabilities else frozenset()
    return Caller(True, _client_scope(client), "rounds", declared, level)


def _extensions(shape: Envelope) -> frozenset[str]:
    """Those a call can be answered by (MCP 2026-07-28, extensions); no session says so."""
    listed = shape.capabilities.get("extensions")
    if not isinstance(listed, dict):
        return frozenset()
    return frozenset(word for word, name in _EXTENSIONS if isinstance(listed.get(name), dict))


def spread(meta: JsonObject) -> bytes:
    """What of a client's `_meta` is not ours: it goes to the plugin as it is, within a bound."""
    if is_usual_meta(meta) or _USUAL_META.issuperset(meta):
        return b""
    rest = {
        name: value for name, value in meta.items() if name != "progressToken" and not name.startswith(_OURS)
    }
    if not rest:
        return b""
    text = _encode(rest)
    if len(text) > MAX_META_BYTES:
        raise RemoteProtocolError("params_invalid", f"params._meta has more than {MAX_META_BYTES} bytes")
    return text


_scopes: dict[str, str] = {}


def _client_scope(client: str) -> str:
    found = _scopes.get(client)
    if found is None:
        if len(_scopes) >= MAX_CONTEXTS:
            _scopes.clear()
        found = _scopes[client] = scope_of("client", client)
    return found

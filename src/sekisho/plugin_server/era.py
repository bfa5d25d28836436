"""What a request to a plugin carries in `_meta`, in each era, and which capabilities we state.

- A modern request (2026-07-28) says in every message what the client behind *this* call can be asked: exactly what the
  call allows, so that a plugin which keeps to the protocol never asks for more.
- A legacy request carries a progress token and what the client itself put there; capabilities are stated once, in the
  handshake, as what the operator allows the plugin.
- Nothing of the client's can stand in for ours: members of the protocol's own prefix are dropped.

Judgement: values in, bytes out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from sekisho import __version__
from sekisho.protocol import (
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_LOG_LEVEL,
    META_PROTOCOL_VERSION,
    MODERN,
)

__all__ = [
    "APPS",
    "CLIENT_INFO",
    "NOT_ASKED",
    "NO_STAMP",
    "OWN_STAMP",
    "TASKS",
    "Stamp",
    "capabilities",
    "stamped",
    "tails",
]

CLIENT_INFO: Final = {"name": "sekisho", "version": __version__}
RESERVED: Final = "io.modelcontextprotocol/"
PROGRESS: Final = "progressToken"
TASKS: Final = "tasks"  # what a client can do that knows the extension
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
APPS: Final = "apps"  # what a client can do that shows pages of plugins
APPS_EXTENSION: Final = "io.modelcontextprotocol/ui"
APPS_SETTINGS: Final = {"mimeTypes": ["text/html;profile=mcp-app"]}  # MCP Apps, the one kind there is
NOT_ASKED: Final = frozenset({TASKS, APPS})  # words of a call that allow no question

_encode: Final = msgspec.json.Encoder().encode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Stamp(msgspec.Struct, frozen=True, gc=False):
    """What one call adds to `_meta`: what its client may be asked, which logs it wants, and its own members."""

    may_ask: tuple[str, ...] = ()
    log_level: str | None = None
    meta: bytes = b""


NO_STAMP: Final = Stamp()
OWN_STAMP: Final = Stamp((APPS,))  # what we ask for ourselves is for clients of every kind


def capabilities(may_ask: Collection[str], *, has_roots: bool) -> dict[str, object]:
    """The client capabilities that say this, in either era. Form mode alone is said as every revision knows it.

    Tasks are among what a call allows only where the plugin is of the newer era, and the operator lists the extension.
    """
    stated: dict[str, object] = {}
    if "elicitation/url" in may_ask:
        stated["elicitation"] = ({"form": {}} if "elicitation" in may_ask else {}) | {"url": {}}
    elif "elicitation" in may_ask:
        stated["elicitation"] = {"form": {}}
    if "sampling/tools" in may_ask:
        stated["sampling"] = {"tools": {}}
    elif "sampling" in may_ask:
        stated["sampling"] = {}
    if has_roots or "roots" in may_ask:
        stated["roots"] = {}
    extensions: dict[str, object] = {}
    if TASKS in may_ask:
        extensions[TASKS_EXTENSION] = {}
    if APPS in may_ask:
        extensions[APPS_EXTENSION] = APPS_SETTINGS
    if extensions:
        stated["extensions"] = extensions
    return stated


def stamped(
    params: Mapping[str, object] | None, stamp: Stamp, *, modern: bool, token: int | None, has_roots: bool
) -> bytes | None:
    """The parameters of a request with their `_meta`; None if there is nothing to say."""
    meta: dict[str, object] = {}
    if stamp.meta:
        meta.update(
            (name, value)
            for name, value in _members.decode(stamp.meta).items()
            if name != PROGRESS and not name.startswith(RESERVED)
        )
    if token is not None:
        meta[PROGRESS] = token
    if modern:
        meta |= _modern(stamp, has_roots=has_roots)
    if meta:
        return _encode({**(params or {}), "_meta": meta})
    return None if params is None else _encode(params)


def tails(stamp: Stamp, *, modern: bool, has_roots: bool) -> tuple[bytes, bytes]:
    """What ends a tool call with this stamp, and with `%d` for its token one that wants to know its progress."""
    if not modern and not stamp.meta:
        return b"}}", b',"_meta":{"progressToken":%d}}}'
    params = stamped(None, stamp, modern=modern, token=None, has_roots=has_roots) or b"{}"
    meta = params[:-1].removeprefix(b'{"_meta":')  # an object, or nothing
    noted = meta[1:].replace(b"%", b"%%")
    if len(meta) <= len(b"{}"):
        return b"}}", b',"_meta":{"progressToken":%d}}}'
    return b',"_meta":' + meta + b"}}", b',"_meta":{"progressToken":%d,' + noted + b"}}"


def _modern(stamp: Stamp, *, has_roots: bool) -> dict[str, object]:
    stated: dict[str, object] = {
        META_PROTOCOL_VERSION: MODERN[0],
        META_CLIENT_CAPABILITIES: capabilities(stamp.may_ask, has_roots=has_roots),
        META_CLIENT_INFO: CLIENT_INFO,
    }
    if stamp.log_level is not None:
        stated[META_LOG_LEVEL] = stamp.log_level
    return stated

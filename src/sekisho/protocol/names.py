"""Names of plugins, tools and prompts, and the one way to join and split them.

A plugin's name holds no underscore, so `<plugin>__<tool>` splits at its first `__` in exactly one way,
whatever the tool or prompt is called. Knows the grammar only; whether such a plugin exists is asked elsewhere.
"""

from __future__ import annotations

import re
from typing import Final, NewType

from sekisho.errors import Misconfigured, RemoteProtocolError

__all__ = ["PluginName", "ToolName", "joined", "plugin_name", "split", "split_any", "tool_name"]

PluginName = NewType("PluginName", str)
ToolName = NewType("ToolName", str)

MAX_PLUGIN_NAME: Final = 32  # it becomes part of file, socket and cgroup names
MAX_TOOL_NAME: Final = 128  # MCP 2025-11-25, tool names

MAX_KNOWN: Final = 1024  # names that were split lately
_SEPARATOR: Final = "__"
_PLUGIN: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9])*")
_TOOL: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_known: Final[dict[str, tuple[PluginName, ToolName]]] = {}


def plugin_name(text: str) -> PluginName:
    """The text as a plugin name: lower-case letters, digits and single inner hyphens, at most 32."""
    if len(text) > MAX_PLUGIN_NAME or not _PLUGIN.fullmatch(text):
        raise Misconfigured(
            "config_invalid",
            f"{text[:64]!r} is not a plugin name",
            remedy="use lower-case letters, digits and single hyphens, at most 32 characters",
        )
    return PluginName(text)


def tool_name(text: str) -> ToolName:
    """The text as a tool name by the rule of MCP 2025-11-25: 1 to 128 of `A-Za-z0-9_.-`."""
    if not _TOOL.fullmatch(text):
        raise RemoteProtocolError(
            "params_invalid",
            f"{text[:160]!r} is not a tool name",
            remedy=f"use 1 to {MAX_TOOL_NAME} of A-Z a-z 0-9 _ . -",
        )
    return ToolName(text)


def joined(plugin: PluginName, name: str) -> str:
    """The name of a plugin's tool or prompt among those of all plugins."""
    return f"{plugin}{_SEPARATOR}{name}"


def split(name: str) -> tuple[PluginName, ToolName] | None:
    """Undo `joined`; None when the text was not made by it."""
    known = _known.get(name)  # asked for every call, and tools are few
    if known is not None:
        return known
    found = split_any(name)
    if found is None or not _TOOL.fullmatch(found[1]):
        return None
    if len(_known) >= MAX_KNOWN:
        _known.clear()
    made = _known[name] = (found[0], ToolName(found[1]))
    return made


def split_any(name: str) -> tuple[PluginName, str] | None:
    """Like `split`, for prompts: MCP has no rule for their names, but an empty one is none."""
    plugin, separator, own = name.partition(_SEPARATOR)
    if not separator or not own or len(plugin) > MAX_PLUGIN_NAME or not _PLUGIN.fullmatch(plugin):
        return None
    return PluginName(plugin), own

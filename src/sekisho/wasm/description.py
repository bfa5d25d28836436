"""What a module says of its tools, in a JSON file beside it: names, descriptions and schemas, as `tools/list` has them.

Guarantees that the file holds what it must and nothing unknown. Whether the schemas are sound is judged where they are
pinned, by the gateway; what a call carries is judged by them there, before it comes here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.plugin import PluginFault

__all__ = ["Description", "ToolDescription", "read_description"]

MAX_FILE_BYTES: Final = 1 << 20
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_FILE_KEYS: Final = frozenset(("name", "version", "instructions", "tools"))
_TOOL_KEYS: Final = frozenset(("name", "title", "description", "inputSchema", "outputSchema"))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDescription:
    """One tool. With `output_schema` its result is an object, else a text."""

    name: str
    title: str | None
    description: str
    input_schema: Mapping[str, object]
    output_schema: Mapping[str, object] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A module's tools, and what it is called."""

    name: str
    version: str
    instructions: str | None
    tools: tuple[ToolDescription, ...]


def read_description(path: Path) -> Description:
    """The description in a file. Raises PluginFault."""
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _wrong("is too large")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise _wrong("is not JSON") from problem
    top = _object(value, "the file", _FILE_KEYS)
    tools = top.get("tools")
    if not isinstance(tools, list) or not tools:
        raise _wrong("lists no tools")
    found = tuple(_tool(one) for one in tools)
    if len({one.name for one in found}) != len(found):
        raise _wrong("names a tool twice")
    name = _text(top, "name")
    if not _NAME.fullmatch(name):
        raise _wrong("has a name that is none")
    return Description(
        name=name,
        version=_text(top, "version"),
        instructions=_text(top, "instructions") if "instructions" in top else None,
        tools=found,
    )


def _tool(value: object) -> ToolDescription:
    tool = _object(value, "a tool", _TOOL_KEYS)
    name = _text(tool, "name")
    if not _NAME.fullmatch(name):
        raise _wrong("names a tool in a way that MCP does not know")
    output = tool.get("outputSchema")
    return ToolDescription(
        name=name,
        title=_text(tool, "title") if "title" in tool else None,
        description=_text(tool, "description"),
        input_schema=_object(tool.get("inputSchema"), f"the inputSchema of {name}"),
        output_schema=None if output is None else _object(output, f"the outputSchema of {name}"),
    )


def _object(value: object, what: str, known: frozenset[str] | None = None) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(f"has {what} that is no object")
    unknown = sorted(set(value) - known) if known is not None else []
    if unknown:
        raise _wrong(f"has {what} with the unknown key {ascii(unknown[0])[:40]}")
    return value


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise _wrong(f"lacks {key}, which is a text")
    return value


def _wrong(what: str) -> PluginFault:
    return PluginFault(f"the description of the module {what}")

"""What the gateway serves and checks: approved definitions, compiled once.

Guarantees:
- built only from a surface whose root and digests equal the locked ones, so nothing unapproved is ever
  listed;
- `tools/list` is bytes made beforehand from the pinned objects; only `name` differs in the prefixed form;
- a tool whose schema may not judge calls is neither listed nor callable: it is in `unusable`, with the
  reason;
- arguments and structured results are checked against the tool's own schemas; refusals carry no payload.

It does not decide who may call (`policy.access`) and never asks the plugin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.client_messages import JsonObject
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName, ToolName, joined
from sekisho.registry.lock import LockedPlugin
from sekisho.registry.schema import CompiledSchema, compile_schema
from sekisho.registry.surface import Item, ItemKind, Surface

__all__ = ["Definition", "Definitions", "tools_array", "tools_result"]

_NO_ARGUMENTS: Final[JsonValue] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One approved tool."""

    plugin: PluginName
    tool: ToolName
    digest: str
    bare: bytes
    prefixed: bytes
    read_only: bool
    arguments: CompiledSchema
    structured_result: CompiledSchema | None

    def check_arguments(self, arguments: JsonValue, size: int) -> None:
        """Raise Refused (`arguments_invalid`) unless the arguments fit the tool's input schema.

        Args:
            size: the length of their JSON text in bytes.
        """
        problems = self.arguments.problems(arguments, size)
        if problems:
            raise Refused(
                "arguments_invalid", f"arguments do not fit the input schema: {'; '.join(problems)}"
            )

    def check_result(self, result: JsonObject, size: int) -> None:
        """Raise RemoteProtocolError (`result_invalid`) unless a tools/call result keeps the tool's own
        promise.

        MCP 2025-11-25 server/tools: with an output schema, `structuredContent` is required and must
        conform; an answer with `isError` is an error report, not a result.
        """
        schema = self.structured_result
        if schema is None or result.get("isError") is True:
            return
        if "structuredContent" not in result:
            raise RemoteProtocolError("result_invalid", "the plugin's answer lacks structuredContent")
        problems = schema.problems(result["structuredContent"], size)
        if problems:
            told = "; ".join(problems)
            raise RemoteProtocolError("result_invalid", f"the answer breaks the output schema: {told}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """The allowed and approved tools of one plugin, in the plugin's own order."""

    plugin: PluginName
    root: str
    tools: Mapping[ToolName, Definition]
    unusable: Mapping[ToolName, str]
    listing: bytes

    @classmethod
    def build(cls, locked: LockedPlugin, surface: Surface, allowed: Iterable[str]) -> Definitions:
        """Compile the tools that are both approved and allowed.

        Raises:
            Refused: `definition_changed`, when the surface is not the locked one.
        """
        if surface.root != locked.root or surface.digests() != locked.items:
            raise Refused("definition_changed", f"{locked.name} no longer says what was approved")
        permitted = frozenset(allowed)
        tools: dict[ToolName, Definition] = {}
        unusable: dict[ToolName, str] = {}
        for item in surface.of_kind(ItemKind.TOOL):
            if item.id.name not in permitted:
                continue
            tool = ToolName(item.id.name)
            try:
                tools[tool] = _compiled(locked.name, tool, item)
            except RemoteProtocolError as error:
                unusable[tool] = error.message
        return cls(
            plugin=locked.name,
            root=surface.root,
            tools=tools,
            unusable=unusable,
            listing=tools_result(definition.bare for definition in tools.values()),
        )

    def get(self, tool: str) -> Definition:
        """The definition of a tool that may be called.

        Raises:
            RemoteProtocolError: `plugin_protocol`, the tool is approved but its schema may not judge calls.
            Refused: `tool_unknown`, there is no such approved and allowed tool.
        """
        name = ToolName(tool)
        definition = self.tools.get(name)
        if definition is not None:
            return definition
        if name in self.unusable:
            raise RemoteProtocolError("plugin_protocol", f"this tool cannot be called: {self.unusable[name]}")
        raise Refused("tool_unknown", f"{self.plugin} has no such approved tool")

    def pieces(self, operations: frozenset[str] | None = None, *, prefixed: bool) -> tuple[bytes, ...]:
        """The tool objects to list, for a subset of operations (None: all), bare or with prefixed names."""
        return tuple(
            definition.prefixed if prefixed else definition.bare
            for tool, definition in self.tools.items()
            if operations is None or tool in operations
        )


def tools_array(pieces: Iterable[bytes]) -> bytes:
    """Join prebuilt tool objects, of one plugin or many, into one JSON array."""
    return b"[" + b",".join(pieces) + b"]"


def tools_result(pieces: Iterable[bytes]) -> bytes:
    """A whole legacy `tools/list` result; the gateway adds what newer revisions want around `tools_array`."""
    return b'{"tools":' + tools_array(pieces) + b"}"


def _compiled(plugin: PluginName, tool: ToolName, item: Item) -> Definition:
    value = item.value()
    if not isinstance(value, dict):
        raise RemoteProtocolError("plugin_protocol", "the tool is not an object")
    output = value.get("outputSchema")
    annotations = value.get("annotations")
    return Definition(
        plugin=plugin,
        tool=tool,
        digest=item.digest,
        bare=item.text,
        prefixed=msgspec.json.encode({**value, "name": joined(plugin, tool)}),
        read_only=isinstance(annotations, dict) and annotations.get("readOnlyHint") is True,
        arguments=compile_schema(value.get("inputSchema", _NO_ARGUMENTS)),
        structured_result=None if output is None else compile_schema(output),
    )

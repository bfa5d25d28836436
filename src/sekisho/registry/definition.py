"""One approved tool: what is served of it, and what its own schemas say of calls and answers.

Guarantees:
- what is listed is the pinned object, every field of it; the prefixed form differs in `name` alone, and the form for
  legacy clients in one thing: an output schema that is no object schema is left out, because before 2026-07-28 there
  are none and a client that finds one drops the whole list;
- a tool is compiled only if its schemas may judge calls and its header annotations mean one thing to every reader;
- arguments and structured results are checked against the tool's own schemas; refusals carry no payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.client_values import JsonObject
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName, ToolName, joined
from sekisho.protocol.param_headers import HeaderPlan, compile_headers
from sekisho.registry.schema import CompiledSchema, compile_schema
from sekisho.registry.surface import Item

__all__ = ["Definition", "Served", "compile_tool"]

_NO_ARGUMENTS: Final[JsonValue] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Served:
    """The bytes of one definition: under its own name, and under its name among those of all plugins."""

    bare: bytes
    prefixed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One approved tool."""

    plugin: PluginName
    tool: ToolName
    digest: str
    served: Served
    served_legacy: Served
    read_only: bool
    arguments: CompiledSchema
    structured_result: CompiledSchema | None
    headers: HeaderPlan
    needs_task: bool = False
    """True when it says that it only answers with a task."""

    @property
    def bare(self) -> bytes:
        """The pinned object."""
        return self.served.bare

    @property
    def prefixed(self) -> bytes:
        """The pinned object with the name it has among those of all plugins."""
        return self.served.prefixed

    def piece(self, *, prefixed: bool, modern: bool) -> bytes:
        """What a list holds of it."""
        served = self.served if modern else self.served_legacy
        return served.prefixed if prefixed else served.bare

    def input_schema(self) -> JsonValue:
        """The schema of its arguments, as it was pinned; for what is looked at once."""
        value: JsonValue = msgspec.json.decode(self.bare)
        return value.get("inputSchema", _NO_ARGUMENTS) if isinstance(value, dict) else _NO_ARGUMENTS

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


def compile_tool(plugin: PluginName, item: Item) -> Definition:
    """The definition of a listed tool.

    Raises:
        RemoteProtocolError: `plugin_protocol`, it may not be called; the message says why.
    """
    value = item.value()
    if not isinstance(value, dict):
        raise RemoteProtocolError("plugin_protocol", "the tool is not an object")
    name = joined(plugin, item.id.name)
    inputs, output = value.get("inputSchema", _NO_ARGUMENTS), value.get("outputSchema")
    annotations, execution = value.get("annotations"), value.get("execution")
    served = Served(item.text, msgspec.json.encode({**value, "name": name}))
    return Definition(
        plugin=plugin,
        tool=ToolName(item.id.name),
        digest=item.digest,
        served=served,
        served_legacy=served if _is_known_to_all(output) else _without_output(value, name),
        read_only=isinstance(annotations, dict) and annotations.get("readOnlyHint") is True,
        arguments=compile_schema(inputs),
        structured_result=None if output is None else compile_schema(output),
        headers=compile_headers(inputs),
        needs_task=isinstance(execution, dict) and execution.get("taskSupport") == "required",
    )


def _is_known_to_all(output: JsonValue) -> bool:
    """Until 2025-11-25 an output schema is "currently restricted to type: object at the root level"."""
    return output is None or (isinstance(output, dict) and output.get("type") == "object")


def _without_output(value: dict[str, JsonValue], name: str) -> Served:
    kept = {key: member for key, member in value.items() if key != "outputSchema"}
    return Served(msgspec.json.encode(kept), msgspec.json.encode({**kept, "name": name}))

"""The plugin around a module: its tools as MCP knows them, each call one run of the module.

The module reads one JSON object, `{"tool": NAME, "arguments": {…}}`, and writes one: `{"text": …}`, `{"structured": {…}}`
for a tool with an outputSchema, or `{"error": …}`, words for the caller. Anything else is a fault of the module.

Guarantees that what the plugin was told of its walls bounds each run: the module's memory is what they allow less what
this worker needs, and a run ends, as an error that is answered, before the whole plugin would be ended for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.plugin import IsolatedPlugin, SandboxConfig, SettingMissing
from sekisho.plugin.faults import ResultInvalid
from sekisho.plugin.shapes import RecordShape
from sekisho.plugin.tool import Tool, Traits
from sekisho.wasm.computation import Computation, ComputationFault, Limits
from sekisho.wasm.description import Description, ToolDescription, read_description

__all__ = ["WasmPlugin", "limits_within", "wasm_plugin"]

OWN_MB: Final = 96  # the interpreter, the engine and the compiled module
MIN_MB: Final = 16
DEFAULT_MB: Final = 256
DEFAULT_TIMEOUT_S: Final = 30.0
_PART: Final = 0.8  # of the time that the plugin server gives a call


class WasmPlugin(IsolatedPlugin):
    """One module, with the tools that its description names."""

    def __init__(self, module: Path, description: Description) -> None:
        self._module = module
        self._computation: Computation | None = None
        super().__init__({one.name: self._tool(one) for one in description.tools})

    def initialize_isolated(self, sandbox_config: SandboxConfig) -> None:
        """Compile the module, within the limits told."""
        super().initialize_isolated(sandbox_config)
        self._computation = Computation.load(self._module, limits_within(sandbox_config))

    def _tool(self, one: ToolDescription) -> Tool:
        def run(**arguments: object) -> object:
            return self._run(one, arguments)

        return Tool(
            name=one.name,
            description=one.description,
            traits=Traits(
                title=one.title, read_only=True, destructive=False, idempotent=True, open_world=False
            ),
            takes=_Stated(fields={}, descriptions={}, stated=one.input_schema),
            gives=None
            if one.output_schema is None
            else _Stated(fields={}, descriptions={}, stated=one.output_schema),
            call_parameter=None,
            is_async=False,
            run=run,
        )

    def _run(self, tool: ToolDescription, arguments: Mapping[str, object]) -> object:
        if self._computation is None:
            raise ComputationFault("the module is not loaded")
        request = json.dumps({"tool": tool.name, "arguments": arguments}, separators=(",", ":"))
        return _answer(self._computation.run(request.encode()), tool)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated(RecordShape):
    """A shape whose schema stands in the description; the gateway pins it and judges every call by it."""

    stated: Mapping[str, object]

    def schema(self) -> dict[str, object]:
        """As it is written."""
        return dict(self.stated)

    def read(self, value: object, where: str) -> dict[str, object]:
        """Any object."""
        if not isinstance(value, Mapping):
            raise ResultInvalid(f"{where} must be an object")
        return dict(value)


def wasm_plugin(module: Path) -> WasmPlugin:
    """The plugin of a module; its description is the file beside it with the ending .json. Raises PluginFault."""
    said = read_description(module.with_suffix(".json"))

    class Described(WasmPlugin):
        name = said.name
        version = said.version
        instructions = said.instructions

    return Described(module, said)


def limits_within(config: SandboxConfig) -> Limits:
    """What one run may use behind these walls. Raises SettingMissing when they leave too little."""
    memory_mb = config.max_memory_mb - OWN_MB if config.max_memory_mb else DEFAULT_MB
    if memory_mb < MIN_MB:
        raise SettingMissing(f"max_memory_mb leaves no memory to the module; set {OWN_MB + MIN_MB} or more")
    return Limits(
        memory_bytes=memory_mb << 20,
        timeout_s=config.execution_timeout_s * _PART if config.execution_timeout_s else DEFAULT_TIMEOUT_S,
    )


def _answer(output: bytes, tool: ToolDescription) -> object:
    try:
        value = json.loads(output)
    except (ValueError, RecursionError):
        raise ResultInvalid("the module wrote something that is not one JSON text") from None
    if not isinstance(value, dict) or len(value) != 1:
        raise ResultInvalid("the module wrote no object with text, structured or error")
    match value:
        case {"error": str(words)}:
            raise ComputationFault(words[:500])
        case {"text": str(text)} if tool.output_schema is None:
            return text
        case {"structured": dict(structured)} if tool.output_schema is not None:
            return structured
        case _:
            raise ResultInvalid("the module wrote something else than its tool promises")

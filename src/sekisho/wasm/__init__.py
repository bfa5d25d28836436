"""WebAssembly modules as tools: a computation that is given one text, gives one text, and can touch nothing else.

Stands inside the walls, in the worker that `runtime = "wasm"` starts; needs the extra `sekisho[wasm]`.
"""

from sekisho.wasm.computation import Computation, ComputationFault
from sekisho.wasm.description import Description, ToolDescription, read_description
from sekisho.wasm.worker import WasmPlugin, limits_within, wasm_plugin

__all__ = [
    "Computation",
    "ComputationFault",
    "Description",
    "ToolDescription",
    "WasmPlugin",
    "limits_within",
    "read_description",
    "wasm_plugin",
]

"""`python -m sekisho.wasm MODULE.wasm`: serves one module on standard input and output, inside the walls."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sekisho.plugin import PluginFault, serve
from sekisho.wasm.worker import wasm_plugin


def main(arguments: list[str]) -> int:
    """Serve the module that is named; returns the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m sekisho.wasm MODULE.wasm\n")
        return 2
    try:
        plugin = wasm_plugin(Path(arguments[0]))
    except (PluginFault, OSError) as problem:
        sys.stderr.write(f"not_loaded {problem}\n")
        return 1
    return serve(plugin, environment=os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The probes as one program that needs no file inside: a few words on the command line, the rest on standard input."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.real.escape.inside.kit import PROBES, Probe

__all__ = ["BOOT", "catalogue", "payload"]

PACKAGE: Final = "tests.real.escape.inside"
MODULES: Final = ("kit", "files", "processes", "kernel", "sockets", "network", "supply", "proxy")
FAMILIES: Final = {
    "F": "files", "P": "processes", "K": "kernel", "S": "sockets", "N": "network", "M": "packages", "X": "door",
}  # fmt: skip

# Makes the modules it is sent under the names they have at home, so that one text runs in both places.
BOOT: Final = """
import json, sys, types
said = json.loads(sys.stdin.buffer.readline())
name = ""
for part in said["package"].split("."):
    name = f"{name}.{part}".lstrip(".")
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
for part, text in said["modules"].items():
    name = said["package"] + "." + part
    sys.modules[name] = module = types.ModuleType(name)
    exec(compile(text, "<" + part + ">", "exec"), module.__dict__)
module.main(said["config"])
"""


def payload(config: Mapping[str, Any], main: str = "conduct") -> bytes:
    """The line that the program reads; the last module's `main` is what it runs."""
    folder = Path(__file__).parent / "inside"
    names = (*MODULES, main) if main == "conduct" else (main,)
    modules = {name: (folder / f"{name}.py").read_text() for name in names}
    return json.dumps({"package": PACKAGE, "modules": modules, "config": config}).encode() + b"\n"


def catalogue() -> dict[str, Probe]:
    """Every probe there is, in the order of the page."""
    for name in MODULES:
        importlib.import_module(f"{PACKAGE}.{name}")
    order = "".join(FAMILIES)
    return {id_: PROBES[id_] for id_ in sorted(PROBES, key=lambda one: (order.index(one[0]), one))}

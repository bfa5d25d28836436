"""What runs a plugin's command inside its walls: the program itself, Deno with permissions of its own, or a module's
worker. An inner runtime changes the command, never the walls.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final, Literal

import sekisho
from sekisho.config import Workload
from sekisho.errors import Misconfigured
from sekisho.plugin_server.permission_broker import BROKER_VARIABLE
from sekisho.plugin_server.permission_lines import AUDIT_VARIABLE
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.sandbox.deno.command import deno_access, for_deno, is_deno
from sekisho.sandbox.plans.spec import DEFAULT_SEARCH_PATH, DriverName

__all__ = ["Runtime", "access_of", "asks_broker", "chosen", "with_audit", "with_broker", "within_runtime"]

Runtime = Literal["auto", "deno", "wasm"]
MODULE: Final = ".wasm"
STDERR: Final = "/proc/self/fd/2"
_WITH_SOCKETS: Final[frozenset[DriverName]] = frozenset(("bubblewrap", "native", "oci"))


def chosen(runtime: Runtime, argv: tuple[str, ...]) -> Literal["", "deno", "wasm"]:
    """The inner runtime of a command; "" for none."""
    if runtime != "auto" or not argv:
        return "" if runtime == "auto" else runtime
    return "deno" if is_deno(argv) else "wasm" if PurePosixPath(argv[0]).suffix == MODULE else ""


def within_runtime(spec: SandboxSpec, runtime: Runtime) -> SandboxSpec:
    """The spec with its inner runtime.

    Raises:
        Misconfigured: the runtime is not installed, or cannot run this command.
    """
    match chosen(runtime, spec.argv):
        case "deno":
            # the binary of the extra sekisho[deno] lies beside our own interpreter
            path = f"{spec.search_path or DEFAULT_SEARCH_PATH}:{Path(sys.executable).parent}"
            return replace(for_deno(spec), search_path=path)
        case "wasm":
            return _for_wasm(spec)
        case _:
            return spec


def asks_broker(workload: Workload, driver: DriverName, *, has_sockets: bool = True) -> bool:
    """Whether a Deno asks a broker, which it has to reach: without namespaces no socket can be made.

    A working folder is stated for a program that names things from there, and of those a broker does not learn where they
    are: such a program is held by the flags, and says on its standard error what it was asked for.
    """
    return workload.working_directory is None and driver in _WITH_SOCKETS and has_sockets


def access_of(workload: Workload) -> DenoAccess | None:
    """What its Deno may do; None where none runs it."""
    if chosen(workload.runtime, workload.command) != "deno":
        return None
    return deno_access(
        SandboxSpec(
            name=workload.name,
            argv=workload.command,
            grants=workload.grants,
            runtime_paths=tuple(str(path) for path in workload.runtime_paths),
        )
    )


def with_broker(spec: SandboxSpec, path: Path) -> SandboxSpec:
    """The spec of a Deno that asks the broker at this socket; its folder is shown inside, read-only."""
    return replace(
        spec,
        environment={**spec.environment, BROKER_VARIABLE: str(path)},
        runtime_paths=(*spec.runtime_paths, str(path.parent)),
    )


def with_audit(spec: SandboxSpec) -> SandboxSpec:
    """The spec of a Deno that says on its standard error what it was asked for."""
    return replace(spec, environment={**spec.environment, AUDIT_VARIABLE: STDERR})


def _for_wasm(spec: SandboxSpec) -> SandboxSpec:
    """Our own worker, which is given the module and the description beside it, and nothing else."""
    module = spec.argv[0]
    if len(spec.argv) != 1 or not module.startswith("/") or PurePosixPath(module).suffix != MODULE:
        raise _unavailable(
            f'runtime = "wasm" runs one module; the command of plugin {spec.name!r} is something else',
            'write command = ["/path/of/MODULE.wasm"]',
        )
    if spec.driver == "oci" or spec.image:
        raise _unavailable(
            "a module's worker is a program of this host, which no image holds",
            "leave out driver and image, or make an image whose command serves the module",
        )
    if find_spec("wasmtime") is None:
        raise _unavailable("wasmtime is not installed", "pip install 'sekisho[wasm]'")
    described = str(PurePosixPath(module).with_suffix(".json"))
    for path in (module, described):
        if not os.access(path, os.R_OK):
            raise _unavailable(f"{path} cannot be read", "put the module and its description there")
    ours = str(Path(sekisho.__file__).parent)
    return replace(
        spec,
        argv=(sys.executable, "-I", "-m", "sekisho.wasm", module),
        runtime_paths=tuple(dict.fromkeys((*spec.runtime_paths, ours, module, described))),
    )


def _unavailable(message: str, remedy: str) -> Misconfigured:
    return Misconfigured("sandbox_unavailable", message, remedy=remedy)

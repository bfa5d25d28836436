"""Runs a module: a fresh world for every call, with a bound on time and memory, and nothing kept.

Guarantees
- a module that imports anything but `system` is refused before it runs, and so is one without `_start` and a memory;
- every run has a store of its own: what one call left in memory no other finds;
- an endless loop ends at the deadline, growing memory at the limit, and both as a fault with a name;
- runs of one module follow one another; waiting counts against the deadline.

Threads, shared memory and 64-bit memories are switched off: the bound would not hold for them.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import wasmtime

from sekisho.plugin import PluginFault
from sekisho.wasm.system import FUNCTIONS, MODULE, Left, Streams, define_system

__all__ = ["Computation", "ComputationFault", "Limits"]

MAX_MODULE_BYTES: Final = 64 << 20
MAX_TABLE_ELEMENTS: Final = 1 << 20
TICK_S: Final = 0.02  # how late a deadline may be noticed
_REASONS: Final = {
    wasmtime.TrapCode.INTERRUPT: "it took too long",
    wasmtime.TrapCode.STACK_OVERFLOW: "it called itself too deeply",
    wasmtime.TrapCode.UNREACHABLE: "it gave up (unreachable)",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "it left its memory",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "it divided by zero",
}


class ComputationFault(PluginFault):
    """The module did not give an answer: it broke, or ran into a limit."""

    code: ClassVar[str] = "computation_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one run may use."""

    memory_bytes: int
    timeout_s: float


class Computation:
    """A loaded module."""

    def __init__(self, code: bytes, limits: Limits) -> None:
        """Compile it. Raises ComputationFault for a module that cannot be run here."""
        self._limits = limits
        self._engine = wasmtime.Engine(_config())
        self._turn = threading.Lock()
        self._streams = Streams(b"")
        try:
            self._module = wasmtime.Module(self._engine, code)
        except wasmtime.WasmtimeError as error:
            raise ComputationFault("the file is no module of WebAssembly that runs here") from error
        self._check()
        self._linker = wasmtime.Linker(self._engine)
        define_system(self._linker, lambda: self._streams)

    @classmethod
    def load(cls, path: Path, limits: Limits) -> Computation:
        """The module of a file. Raises ComputationFault."""
        with path.open("rb") as file:
            code = file.read(MAX_MODULE_BYTES + 1)
        if len(code) > MAX_MODULE_BYTES:
            raise ComputationFault(f"the module is larger than {MAX_MODULE_BYTES >> 20} MiB")
        return cls(code, limits)

    def run(self, given: bytes) -> bytes:
        """What the module writes when it is given this. Raises ComputationFault."""
        deadline = time.monotonic() + self._limits.timeout_s
        if not self._turn.acquire(timeout=self._limits.timeout_s):
            raise ComputationFault("the calls before it took too long")
        try:
            return self._run(given, deadline - time.monotonic())
        finally:
            self._turn.release()

    def _run(self, given: bytes, left_s: float) -> bytes:
        streams = self._streams = Streams(given)
        with _Ticking(self._engine), wasmtime.Store(self._engine) as store:
            store.set_limits(
                memory_size=self._limits.memory_bytes,
                table_elements=MAX_TABLE_ELEMENTS,
                instances=1,
                tables=16,
                memories=1,
            )
            store.set_epoch_deadline(max(1, round(left_s / TICK_S)))
            try:
                exports = self._linker.instantiate(store, self._module).exports(store)
                start = exports["_start"]
                if isinstance(start, wasmtime.Func):
                    start(store)
            except Left as left:
                if left.code != 0:
                    raise ComputationFault(f"it ended with the status {left.code}") from None
            except wasmtime.Trap as trap:
                reason = None if trap.trap_code is None else _REASONS.get(trap.trap_code)
                raise ComputationFault(reason or "it broke a rule of WebAssembly") from None
            except wasmtime.WasmtimeError:
                raise ComputationFault("it asked for what it may not have") from None
        return bytes(streams.output)

    def _check(self) -> None:
        foreign = sorted(
            f"{one.module}.{one.name}"
            for one in self._module.imports
            if one.module != MODULE or one.name not in FUNCTIONS
        )
        if foreign:
            raise ComputationFault(f"it wants what no computation needs: {', '.join(foreign)[:200]}")
        exports = {one.name: one.type for one in self._module.exports}
        if not isinstance(exports.get("_start"), wasmtime.FuncType) or not isinstance(
            exports.get("memory"), wasmtime.MemoryType
        ):
            raise ComputationFault("it is no command: it must export _start and memory")


class _Ticking:
    """Moves an engine's clock while a run is under way; a deadline is a number of its ticks."""

    def __init__(self, engine: wasmtime.Engine) -> None:
        self._engine = engine
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> _Ticking:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _tick(self) -> None:
        while not self._over.wait(TICK_S):
            self._engine.increment_epoch()


def _config() -> wasmtime.Config:
    config = wasmtime.Config()
    config.epoch_interruption = True
    config.wasm_threads = False
    config.wasm_memory64 = False
    config.wasm_multi_memory = False
    config.cranelift_nan_canonicalization = True  # the same answer on every machine
    config.wasm_relaxed_simd = False
    config.parallel_compilation = False  # threads count against the pids of the sandbox
    return config

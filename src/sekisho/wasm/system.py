"""The little that a module may ask of its host: the part of WASI preview 1 that reads one input and writes one output.

Guarantees that nothing of this machine is reachable: there is no file, no folder, no socket, no argument, no variable, no
clock that tells the time, no randomness that is random. A module that imports more than these functions is refused when
it is loaded, and these touch two byte strings and the module's own memory.

So the same request has the same answer on every machine, unless it runs into a limit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import wasmtime

__all__ = ["FUNCTIONS", "MODULE", "Streams", "define_system"]

MODULE: Final = "wasi_snapshot_preview1"
MAX_OUTPUT_BYTES: Final = 1 << 20
MAX_STDERR_BYTES: Final = 8 << 10
MAX_VECTORS: Final = 1024
_OK: Final = 0
_BADF: Final = 8
_FBIG: Final = 22
_INVAL: Final = 28
_NOSYS: Final = 52
_CHARACTER_DEVICE: Final = 2

_I32: Final = "i32"
_I64: Final = "i64"
# name → parameters; each gives one i32, but proc_exit, which does not return
FUNCTIONS: Final[dict[str, tuple[str, ...]]] = {
    "args_get": (_I32, _I32),
    "args_sizes_get": (_I32, _I32),
    "clock_res_get": (_I32, _I32),
    "clock_time_get": (_I32, _I64, _I32),
    "environ_get": (_I32, _I32),
    "environ_sizes_get": (_I32, _I32),
    "fd_close": (_I32,),
    "fd_fdstat_get": (_I32, _I32),
    "fd_fdstat_set_flags": (_I32, _I32),
    "fd_prestat_dir_name": (_I32, _I32, _I32),
    "fd_prestat_get": (_I32, _I32),
    "fd_read": (_I32, _I32, _I32, _I32),
    "fd_seek": (_I32, _I64, _I32, _I32),
    "fd_write": (_I32, _I32, _I32, _I32),
    "poll_oneoff": (_I32, _I32, _I32, _I32),
    "proc_exit": (_I32,),
    "random_get": (_I32, _I32),
    "sched_yield": (),
}


class Left(Exception):  # no error: the module has ended
    """The module called proc_exit."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Streams:
    """What one run reads and writes."""

    def __init__(self, given: bytes) -> None:
        self._given = given
        self._read = 0
        self._seed = 0
        self.output = bytearray()
        self.remarks = bytearray()
        self.exit_code: int | None = None

    def call(self, name: str, memory: Memory, arguments: tuple[int, ...]) -> int:
        """One function of the system; what is not done here says that it is not there."""
        match name:
            case "fd_read":
                return self._fd_read(memory, *arguments)
            case "fd_write":
                return self._fd_write(memory, *arguments)
            case "fd_fdstat_get":
                return self._fdstat(memory, *arguments)
            case "random_get":
                return self._random(memory, *arguments)
            case "args_sizes_get" | "environ_sizes_get":
                memory.put_number(arguments[0], 0)
                memory.put_number(arguments[1], 0)
                return _OK
            case "clock_time_get" | "clock_res_get":
                memory.put(arguments[-1], (1).to_bytes(8, "little"))
                return _OK
            case "args_get" | "environ_get" | "sched_yield" | "fd_close" | "fd_fdstat_set_flags":
                return _OK
            case "proc_exit":
                self.exit_code = arguments[0]
                raise Left(arguments[0])
            case "fd_prestat_get" | "fd_prestat_dir_name" | "fd_seek":
                return _BADF
            case _:
                return _NOSYS

    def _fd_read(self, memory: Memory, fd: int, vectors: int, count: int, told: int) -> int:
        if fd != 0:
            return _BADF
        if not 0 <= count <= MAX_VECTORS:
            return _INVAL
        taken = 0
        for place, length in memory.vectors(vectors, count):
            piece = self._given[self._read : self._read + length]
            memory.put(place, piece)
            self._read += len(piece)
            taken += len(piece)
        memory.put_number(told, taken)
        return _OK

    def _fd_write(self, memory: Memory, fd: int, vectors: int, count: int, told: int) -> int:
        if fd not in (1, 2):
            return _BADF
        if not 0 <= count <= MAX_VECTORS:
            return _INVAL
        given = 0
        for place, length in memory.vectors(vectors, count):
            # One call copies no more than that: the deadline looks at the module, not at us.
            if max(given, len(self.output) if fd == 1 else 0) + length > MAX_OUTPUT_BYTES:
                return _FBIG
            piece = memory.get(place, length)
            given += length
            if fd == 1:
                self.output += piece
            else:
                self.remarks += piece[: MAX_STDERR_BYTES - len(self.remarks)]
        memory.put_number(told, given)
        return _OK

    def _fdstat(self, memory: Memory, fd: int, place: int) -> int:
        if fd not in (0, 1, 2):
            return _BADF
        memory.put(place, bytes((_CHARACTER_DEVICE, *(0,) * 7)) + b"\xff" * 16)
        return _OK

    def _random(self, memory: Memory, place: int, length: int) -> int:
        """Bytes that differ and are the same every time: hash maps want some, and secrets have no place here."""
        if not 0 <= length <= MAX_OUTPUT_BYTES:
            return _INVAL
        self._seed += 1
        memory.put(place, hashlib.shake_128(self._seed.to_bytes(8, "little")).digest(length))
        return _OK


class Memory:
    """The module's memory, every access within it; outside it the run ends as a fault of the module."""

    def __init__(self, memory: wasmtime.Memory, caller: wasmtime.Caller) -> None:
        self._memory = memory
        self._caller = caller

    def get(self, place: int, length: int) -> bytes:
        """`length` bytes at `place`."""
        start = self._checked(place, length)
        return bytes(self._memory.read(self._caller, start, start + length))

    def put(self, place: int, data: bytes) -> None:
        """Write `data` at `place`."""
        if data:
            self._memory.write(self._caller, data, self._checked(place, len(data)))

    def put_number(self, place: int, value: int) -> None:
        """A 32-bit number."""
        self.put(place, value.to_bytes(4, "little"))

    def vectors(self, place: int, count: int) -> list[tuple[int, int]]:
        """`count` pairs of address and length."""
        raw = self.get(place, count * 8)
        numbers = [int.from_bytes(raw[at : at + 4], "little") for at in range(0, len(raw), 4)]
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _checked(self, place: int, length: int) -> int:
        start = place & 0xFFFF_FFFF  # WebAssembly has no sign; the library reads one
        size = self._memory.data_len(self._caller)
        if length < 0 or start + length > size:
            raise wasmtime.WasmtimeError("an address outside the memory of the module")
        return start


def define_system(linker: wasmtime.Linker, streams: Callable[[], Streams]) -> None:
    """Give a linker these functions; `streams` are those of the run that is under way."""
    kinds = {_I32: wasmtime.ValType.i32, _I64: wasmtime.ValType.i64}
    for name, parameters in FUNCTIONS.items():
        results = [] if name == "proc_exit" else [kinds[_I32]()]
        kind = wasmtime.FuncType([kinds[one]() for one in parameters], results)
        linker.define_func(MODULE, name, kind, _function(name, streams), access_caller=True)


def _function(name: str, streams: Callable[[], Streams]) -> Callable[..., int | None]:
    def run(caller: wasmtime.Caller, *arguments: int) -> int | None:
        memory = caller.get("memory")
        if not isinstance(memory, wasmtime.Memory):
            raise wasmtime.WasmtimeError("the module exports no memory")
        return streams().call(name, Memory(memory, caller), arguments)

    return run

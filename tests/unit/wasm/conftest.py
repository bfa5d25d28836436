"""Modules written by hand, each of which does one thing."""

from __future__ import annotations

import wasmtime

HEAD = """
(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
"""
# reads all it is given to address 1024, and leaves its length at $n
READ = """
  (func $given (result i32) (local $n i32) (local $k i32)
    (loop $more
      (i32.store (i32.const 0) (i32.add (i32.const 1024) (local.get $n)))
      (i32.store (i32.const 4) (i32.const 60000))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $k (i32.load (i32.const 8)))
      (local.set $n (i32.add (local.get $n) (local.get $k)))
      (br_if $more (local.get $k)))
    (local.get $n))
  (func $say (param $at i32) (param $n i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $n))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
"""


def compiled(text: str) -> bytes:
    """A module of WebAssembly text."""
    return bytes(wasmtime.wat2wasm(text))


def command(body: str, more: str = "") -> bytes:
    """A command whose `_start` does `body`."""
    return compiled(f'{HEAD}{READ}{more}  (func (export "_start") (local $n i32) {body}))')


def saying(text: str) -> bytes:
    """A command that writes one text whatever it is given."""
    data = text.encode()
    shown = "".join(f"\\{byte:02x}" for byte in data)
    return command(
        f"(drop (call $given)) (call $say (i32.const 200000) (i32.const {len(data)}))",
        f'  (data (i32.const 200000) "{shown}")\n',
    )


# writes back what it was given
ECHO = command("(local.set $n (call $given)) (call $say (i32.const 1024) (local.get $n))")

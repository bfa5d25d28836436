"""A module that behaves gives an answer; one that does not is ended, and says why."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.unit.wasm.conftest import ECHO, command, compiled, saying

from sekisho.wasm.computation import MAX_MODULE_BYTES, Computation, ComputationFault, Limits

LIMITS = Limits(memory_bytes=16 << 20, timeout_s=5.0)
SHORT = Limits(memory_bytes=16 << 20, timeout_s=1.0)
LOOP = command("(loop $l (br $l))")


def test_a_module_that_behaves_gives_its_answer() -> None:
    assert Computation(saying("well"), LIMITS).run(b"{}") == b"well"


def test_an_endless_loop_is_ended_and_the_next_call_works() -> None:
    computation = Computation(
        command(
            "(local.set $n (call $given)) (if (i32.eqz (local.get $n)) (then (loop $l (br $l))))"
            "(call $say (i32.const 1024) (local.get $n))"
        ),
        SHORT,
    )
    with pytest.raises(ComputationFault, match="took too long"):
        computation.run(b"")
    assert computation.run(b"again") == b"again"


def test_a_call_that_waits_for_another_waits_no_longer_than_it_may_run() -> None:
    computation = Computation(LOOP, SHORT)
    said: list[str] = []

    def one() -> None:
        try:
            computation.run(b"")
        except ComputationFault as fault:
            said.append(fault.message)

    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(said) == 3


def test_memory_grows_to_the_limit_and_no_further() -> None:
    grow = (
        "(local.set $n (memory.grow (i32.const {pages}))) (i32.store (i32.const 64) (local.get $n))"
        "(call $say (i32.const 64) (i32.const 4))"
    )
    within = Computation(command(grow.format(pages=100)), LIMITS).run(b"")
    beyond = Computation(command(grow.format(pages=1000)), LIMITS).run(b"")
    assert int.from_bytes(within, "little", signed=True) == 4
    assert int.from_bytes(beyond, "little", signed=True) == -1


def test_a_module_that_begins_with_more_than_the_limit_does_not_run() -> None:
    code = compiled('(module (memory (export "memory") 1000) (func (export "_start")))')
    with pytest.raises(ComputationFault, match="may not have"):
        Computation(code, LIMITS).run(b"")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("unreachable", "gave up"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", "divided by zero"),
        ("(drop (i32.load (i32.const -8)))", "left its memory"),
        ("(call $deep)", "too deeply"),
    ],
)
def test_a_trap_is_a_fault_with_a_reason(body: str, said: str) -> None:
    code = command(body, "(func $deep (call $deep))")
    with pytest.raises(ComputationFault, match=said):
        Computation(code, LIMITS).run(b"")


@pytest.mark.parametrize(
    "imported",
    [
        '"wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))',
        '"wasi_snapshot_preview1" "sock_accept" (func (param i32 i32 i32) (result i32))',
        '"env" "system" (func (param i32) (result i32))',
        '"env" "memory" (memory 1)',
    ],
)
def test_a_module_that_wants_more_is_refused_before_it_runs(imported: str) -> None:
    code = compiled(f'(module (import {imported}) (func (export "_start")))')
    with pytest.raises(ComputationFault, match="wants what no computation needs"):
        Computation(code, LIMITS)


def test_an_import_of_another_kind_than_expected_does_not_run() -> None:
    code = compiled(
        '(module (import "wasi_snapshot_preview1" "fd_read" (func (param i64))) (memory (export "memory") 1) '
        '(func (export "_start")))'
    )
    with pytest.raises(ComputationFault):
        Computation(code, LIMITS).run(b"")


@pytest.mark.parametrize(
    "text",
    [
        "(module)",
        '(module (func (export "_start")))',
        '(module (memory (export "memory") 1))',
        '(module (memory (export "_start") 1) (func (export "memory")))',
    ],
)
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(ComputationFault, match="no command"):
        Computation(compiled(text), LIMITS)


@pytest.mark.parametrize(
    "code",
    [b"", b"\0asm", b"#!/bin/sh", ECHO[:-1], ECHO + b"\0", compiled("(module)") + b"x" * 10],
)
def test_what_is_no_module_is_refused(code: bytes) -> None:
    with pytest.raises(ComputationFault):
        Computation(code, LIMITS)


def test_shared_memory_is_not_known_here() -> None:
    code = compiled('(module (memory (export "memory") 1 2 shared) (func (export "_start")))')
    with pytest.raises(ComputationFault):
        Computation(code, LIMITS)


def test_a_module_is_read_from_its_file_and_not_without_end(tmp_path: Path) -> None:
    path = tmp_path / "m.wasm"
    path.write_bytes(ECHO)
    assert Computation.load(path, LIMITS).run(b"x") == b"x"
    with path.open("wb") as file:
        file.truncate(MAX_MODULE_BYTES + 1)
    with pytest.raises(ComputationFault, match="larger than"):
        Computation.load(path, LIMITS)

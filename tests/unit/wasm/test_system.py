"""What a module may ask of its host: two byte strings and its own memory, whatever it asks for."""

from __future__ import annotations

import pytest
from tests.unit.wasm.conftest import ECHO, HEAD, command, compiled

from sekisho.wasm.computation import Computation, ComputationFault, Limits
from sekisho.wasm.system import FUNCTIONS, MAX_OUTPUT_BYTES, Streams

LIMITS = Limits(memory_bytes=16 << 20, timeout_s=5.0)


def run(code: bytes, given: bytes = b"{}") -> bytes:
    return Computation(code, LIMITS).run(given)


def asking(name: str, *arguments: int) -> bytes:
    """A module that asks one thing, and writes the status it gets as a digit of base 64."""
    parameters = " ".join(FUNCTIONS[name])
    values = " ".join(
        f"({kind}.const {value})" for kind, value in zip(FUNCTIONS[name], arguments, strict=True)
    )
    return compiled(
        f"""{HEAD}
      (import "wasi_snapshot_preview1" "{name}" (func $ask (param {parameters}) (result i32)))
    """.replace('(memory (export "memory") 4)', "")
        + f"""
      (memory (export "memory") 4)
      (func (export "_start")
        (i32.store8 (i32.const 64) (i32.add (i32.const 48) (call $ask {values})))
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 1))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
    """
    )


def status(name: str, *arguments: int) -> int:
    return run(asking(name, *arguments))[0] - 48


@pytest.mark.parametrize("given", [b"", b"{}", b"x" * 100_000])
def test_what_is_given_is_read_to_its_end_and_written_whole(given: bytes) -> None:
    assert run(ECHO, given) == given


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(("count", "expected"), [(5, 0), (1024, 22)])
def test_one_call_makes_us_copy_no_more_than_a_bounded_part(count: int, expected: int) -> None:
    fill = """
      (local $at i32)
      (loop $next
        (i32.store (i32.add (i32.const 100000) (local.get $at)) (i32.const 0))
        (i32.store (i32.add (i32.const 100004) (local.get $at)) (i32.const 200000))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $next (i32.lt_u (local.get $at) (i32.const 8192))))
    """
    write = f"(call $write (i32.const 2) (i32.const 100000) (i32.const {count}) (i32.const 16))"
    said = run(command(f"{fill} (i32.store (i32.const 64) {write}) (call $say (i32.const 64) (i32.const 1))"))
    assert said == bytes((expected,))


def test_two_runs_share_nothing() -> None:
    computation = Computation(
        command(
            "(if (i32.load (i32.const 150000)) (then unreachable))"
            "(i32.store (i32.const 150000) (i32.const 1)) (call $say (i32.const 150000) (i32.const 1))"
        ),
        LIMITS,
    )
    assert [computation.run(b"") for _ in range(3)] == [b"\x01"] * 3


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("fd_prestat_get", (3, 100), 8),
        ("fd_prestat_dir_name", (3, 100, 10), 8),
        ("fd_close", (3,), 0),
        ("fd_seek", (0, 0, 0, 100), 8),
        ("fd_fdstat_get", (1, 100), 0),
        ("fd_fdstat_get", (3, 100), 8),
        ("poll_oneoff", (0, 0, 0, 0), 52),
        ("args_sizes_get", (100, 104), 0),
        ("args_get", (100, 104), 0),
        ("environ_sizes_get", (100, 104), 0),
        ("environ_get", (100, 104), 0),
        ("clock_time_get", (0, 0, 100), 0),
        ("random_get", (100, 16), 0),
        ("sched_yield", (), 0),
    ],
)
def test_what_is_not_there_says_so(name: str, arguments: tuple[int, ...], expected: int) -> None:
    assert status(name, *arguments) == expected


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random_get", (-16, 32)),
        ("random_get", (262_144, 1)),
        ("args_sizes_get", (-1, 0)),
        ("clock_time_get", (0, 0, 262_140)),
        ("fd_fdstat_get", (1, 262_130)),
    ],
)
def test_an_address_outside_the_memory_ends_the_run(name: str, arguments: tuple[int, ...]) -> None:
    with pytest.raises(ComputationFault):
        run(asking(name, *arguments))


@pytest.mark.parametrize("fd", [0, 3, -1])
def test_only_its_output_is_written(fd: int) -> None:
    code = command(
        f"(i32.store8 (i32.const 64) (i32.add (i32.const 48) (call $write (i32.const {fd}) (i32.const 0) "
        "(i32.const 0) (i32.const 8)))) (call $say (i32.const 64) (i32.const 1))"
    )
    assert run(code) == b"8"


def test_more_output_than_allowed_is_not_taken() -> None:
    code = command(
        "(loop $l (call $say (i32.const 0) (i32.const 131072)) (local.set $n (i32.add (local.get $n) (i32.const 1)))"
        "(br_if $l (i32.lt_u (local.get $n) (i32.const 20))))"
    )
    assert len(run(code)) == MAX_OUTPUT_BYTES


def test_so_many_pieces_at_once_are_refused() -> None:
    code = command(
        "(i32.store8 (i32.const 64) (i32.add (i32.const 48) (call $write (i32.const 1) (i32.const 0) "
        "(i32.const 5000) (i32.const 8)))) (call $say (i32.const 64) (i32.const 1))"
    )
    assert run(code)[0] - 48 == 28


def test_its_remarks_are_bounded_and_kept_apart() -> None:
    code = command(
        "(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 60000))"
        "(drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))"
    )
    assert run(code) == b""


def test_leaving_with_zero_is_an_end_and_with_more_a_fault() -> None:
    def leaving(number: int) -> bytes:
        imported = '(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))'
        return compiled(
            f'(module {imported} (memory (export "memory") 1) '
            f'(func (export "_start") (call $exit (i32.const {number}))))'
        )

    assert run(leaving(0)) == b""
    with pytest.raises(ComputationFault, match="status 3"):
        run(leaving(3))


def test_randomness_and_time_are_the_same_every_time() -> None:
    code = compiled(
        f"""{HEAD}
      (func (export "_start")
        (drop (call $random (i32.const 64) (i32.const 32)))
        (drop (call $clock (i32.const 0) (i64.const 0) (i32.const 96)))
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 40))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
    """.replace(
            '(memory (export "memory") 4)',
            '(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))'
            '(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))'
            '(memory (export "memory") 4)',
        )
    )
    assert run(code) == run(code)
    assert len(set(run(code)[:32])) > 8


def test_a_fresh_run_begins_at_the_start() -> None:
    assert Streams(b"a").output == b""

"""The tables of system call numbers agree with facts that do not change."""

from __future__ import annotations

import pytest

from sekisho.sandbox.calls.syscalls import AARCH64, X86_64


@pytest.mark.parametrize(
    ("name", "x86_64", "aarch64"),
    [
        ("read", 0, 63),
        ("openat", 257, 56),
        ("clone", 56, 220),
        ("ptrace", 101, 117),
        ("keyctl", 250, 219),
        ("name_to_handle_at", 303, 264),
        ("io_uring_setup", 425, 425),
        ("clone3", 435, 435),
        ("fchmodat2", 452, 452),
    ],
)
def test_a_name_means_the_number_of_the_kernel(name: str, x86_64: int, aarch64: int) -> None:
    assert X86_64[name] == x86_64
    assert AARCH64[name] == aarch64


@pytest.mark.parametrize("table", [X86_64, AARCH64])
def test_no_number_has_two_names(table: dict[str, int]) -> None:
    assert len(set(table.values())) == len(table)

"""What is read from a hostile process: whole paths or nothing, and never more than one."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.launcher.words import MAX_PATH_BYTES, PAGE, anchored, read_path

ME = os.getpid()
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)


def two_pages() -> int:
    """The address of a page behind which nothing may be read."""
    size = 2 * PAGE
    address = libc.mmap(
        None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    assert libc.mprotect(ctypes.c_void_p(address + PAGE), PAGE, 0) == 0
    return int(address)


@given(st.binary(max_size=MAX_PATH_BYTES + 300).map(lambda text: text.replace(b"\0", b"/")))
def test_a_path_is_read_to_its_end_wherever_it_lies(text: bytes) -> None:
    room = ctypes.create_string_buffer(text)
    expected = text if len(text) < MAX_PATH_BYTES else None
    assert read_path(ME, ctypes.addressof(room)) == expected


@pytest.mark.parametrize("address", [0, 1, PAGE, (1 << 47) - 1, 1 << 63, (1 << 64) - 1])
def test_a_pointer_into_nothing_gives_nothing(address: int) -> None:
    assert read_path(ME, address) is None


def test_a_path_that_ends_with_its_page_is_read_and_one_that_runs_on_is_not() -> None:
    page = two_pages()
    ctypes.memmove(page + PAGE - 4, b"/ab\0", 4)
    assert read_path(ME, page + PAGE - 4) == b"/ab"
    ctypes.memmove(page + PAGE - 4, b"/abc", 4)
    assert read_path(ME, page + PAGE - 4) is None


def test_a_process_that_is_gone_gives_nothing() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert read_path(pid, 4096) is None
    assert anchored(pid, None, b"name") is None


def test_a_path_starts_where_the_call_says(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_PATH)
    try:
        assert anchored(ME, None, b"/a/b") == "/a/b"
        assert anchored(ME, None, b"b") == f"{Path.cwd()}/b"
        assert anchored(ME, -100 & 0xFFFF_FFFF, b"b") == f"{Path.cwd()}/b"
        assert anchored(ME, folder, b"../b") == f"{tmp_path}/../b"
        assert anchored(ME, folder, b"/b") == "/b"
    finally:
        os.close(folder)


def test_what_starts_nowhere_is_no_path() -> None:
    reading, writing = os.pipe()
    try:
        assert anchored(ME, reading, b"b") is None
        assert anchored(ME, 1 << 20, b"b") is None
        assert anchored(ME, -5 & 0xFFFF_FFFF, b"b") is None
        assert anchored(ME, None, b"") is None
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "entry", ["/proc/self/root", "/proc/1/root", "//proc//thread-self/root/", "/proc/self/task/7/root"]
)
def test_the_root_of_a_process_by_its_entry_is_the_root(entry: str) -> None:
    assert anchored(ME, None, f"{entry}/etc/shadow".encode()) == "/etc/shadow"
    assert anchored(ME, None, f"{entry}/proc/self/root/etc/shadow".encode()) == "/etc/shadow"


def test_the_folders_of_a_process_by_their_entries_are_those_folders(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_PATH)
    try:
        assert anchored(ME, None, b"/proc/self/cwd/../b") == f"{Path.cwd()}/../b"
        assert anchored(ME, None, f"/proc/self/fd/{folder}/b".encode()) == f"{tmp_path}/b"
        assert anchored(ME, None, f"/dev/fd/{folder}/../b".encode()) == f"{tmp_path}/../b"
        assert anchored(ME, None, b"/proc/self/rooted") == "/proc/self/rooted"
        assert anchored(ME, None, b"/dev/fdx/3/b") == "/dev/fdx/3/b"
    finally:
        os.close(folder)


@given(st.binary(max_size=200))
def test_no_word_breaks_it(path: bytes) -> None:
    found = anchored(ME, None, path)
    assert found is None or found.startswith("/")

"""What is read from a hostile process: whole paths or nothing, and never more than one."""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.launcher.words import ADDRESS, MAX_PATH_BYTES, PAGE, Memory, anchored

ME = os.getpid()
WORDS = b"/read/by/its/address"
CLONE_VM = 0x100
MAP_FIXED = 0x10
THERE = 0x7000_0000  # above what a heap may be given, below all else
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


AFTER = f"""
import os, signal, sys
sys.path[:] = {sys.path!r}
from {__name__} import placed
placed(b"/after")
os.write(0, b"y")
signal.pause()
"""


def two_pages() -> int:
    """The address of a page behind which nothing may be read."""
    size = 2 * PAGE
    address = libc.mmap(
        None, size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0
    )
    assert libc.mprotect(ctypes.c_void_p(address + PAGE), PAGE, 0) == 0
    return int(address)


@pytest.fixture(params=["kept", "anew"])
def memory(request: pytest.FixtureRequest) -> Iterator[Memory]:
    """Our own, as the one that stays open and as anybody's."""
    memory = Memory()
    if request.param == "kept":
        memory.executes(ME)
    yield memory
    memory.forget()


def forked(body: Callable[[], object]) -> int:
    """A child that does this and ends."""
    pid = os.fork()
    if pid == 0:
        try:
            body()
        finally:
            os._exit(0)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # a memory has no state that a path changes
@given(st.binary(max_size=MAX_PATH_BYTES + 300).map(lambda text: text.replace(b"\0", b"/")))
def test_a_path_is_read_to_its_end_wherever_it_lies(memory: Memory, text: bytes) -> None:
    room = ctypes.create_string_buffer(text)
    expected = text if len(text) < MAX_PATH_BYTES else None
    assert memory.path(ME, ctypes.addressof(room)) == expected


@pytest.mark.parametrize("address", [0, 1, PAGE, (1 << 47) - 1, 1 << 63, (1 << 64) - 1])
def test_a_pointer_into_nothing_gives_nothing_and_hides_nothing_else(memory: Memory, address: int) -> None:
    room = ctypes.create_string_buffer(WORDS)
    memory.path(ME, address)
    before = descriptors()
    for _ in range(3):
        assert memory.path(ME, address) is None
        assert memory.path(ME, ctypes.addressof(room)) == WORDS
    assert descriptors() == before


def test_what_the_kernel_does_not_look_at_of_an_address_hides_no_path() -> None:
    room, memory = ctypes.create_string_buffer(WORDS), Memory()
    memory.executes(ME)
    assert memory.path(ME, ctypes.addressof(room) | ~ADDRESS & 0xFFFF_FFFF_FFFF_FFFF) == WORDS
    memory.forget()


def test_a_path_that_ends_with_its_page_is_read_and_one_that_runs_on_is_not(memory: Memory) -> None:
    page = two_pages()
    ctypes.memmove(page + PAGE - 4, b"/ab\0", 4)
    assert memory.path(ME, page + PAGE - 4) == b"/ab"
    assert libc.munmap(ctypes.c_void_p(page + PAGE), PAGE) == 0  # of a page that is there all may be read
    ctypes.memmove(page + PAGE - 4, b"/abc", 4)
    assert memory.path(ME, page + PAGE - 4) is None
    ctypes.memmove(page + 1, b"/" * 300 + b"\0", 301)
    assert memory.path(ME, page + 1) == b"/" * 300


def test_each_process_is_read_in_its_own_memory() -> None:
    room, memory = ctypes.create_string_buffer(WORDS), Memory()
    there, ready = ctypes.addressof(room), os.eventfd(0)

    def other() -> None:
        room.value = b"/another"
        os.eventfd_write(ready, 1)
        signal.pause()

    memory.executes(ME)
    pid = forked(other)
    os.eventfd_read(ready)
    try:
        found = [memory.path(one, there) for one in (ME, pid, pid, ME)]
        assert found == [WORDS, b"/another", b"/another", WORDS]
    finally:
        end(pid)
        os.close(ready)
        memory.forget()


def placed(text: bytes) -> None:
    """This text at one address that is the same in every process."""
    size, own = PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    libc.mmap(ctypes.c_void_p(THERE), size, mmap.PROT_READ | mmap.PROT_WRITE, own, -1, 0)
    ctypes.memmove(THERE, text + b"\0", len(text) + 1)


def test_nobody_is_read_in_the_memory_that_another_kept_of_him() -> None:
    """A process becomes another program, and one that shared its memory before lives on."""
    memory = Memory()
    ours, theirs = socket.socketpair()

    def other() -> None:
        placed(b"/before")
        stack = ctypes.create_string_buffer(PAGE)
        pause = ctypes.cast(libc.pause, ctypes.c_void_p)
        top = ctypes.c_void_p(ctypes.addressof(stack) + PAGE)
        keeper = libc.clone(pause, top, CLONE_VM | signal.SIGCHLD, None)
        theirs.send(keeper.to_bytes(4, "little"))
        theirs.recv(1)
        os.dup2(theirs.fileno(), 0)
        os.execv(sys.executable, [sys.executable, "-c", AFTER])  # noqa: S606 - no shell is wanted

    with ours, theirs:
        pid = forked(other)
        keeper = int.from_bytes(ours.recv(4), "little")
        try:
            memory.executes(pid)
            assert memory.path(pid, THERE) == b"/before"
            memory.executes(pid)
            ours.send(b"x")
            assert ours.recv(1) == b"y"
            assert memory.path(pid, THERE) == b"/after"
            assert memory.path(keeper, THERE) == b"/before"
        finally:
            os.kill(keeper, signal.SIGKILL)
            end(pid)


def test_only_the_first_program_s_memory_stays_open() -> None:
    room, memory = ctypes.create_string_buffer(WORDS), Memory()
    before = descriptors()
    memory.executes(ME)
    assert memory.path(ME, ctypes.addressof(room)) == WORDS
    assert descriptors() == before + 2
    for _ in range(2):
        memory.executes(ME)
        assert memory.path(ME, ctypes.addressof(room)) == WORDS
        assert (descriptors(), memory.end) == (before, -1)


def test_its_end_is_told() -> None:
    memory = Memory()
    pid = forked(signal.pause)
    memory.executes(pid)
    poll = select.poll()
    poll.register(memory.end, select.POLLIN)
    assert not poll.poll(0)
    end(pid)
    assert poll.poll(0)
    memory.forget()


def test_one_that_is_gone_when_it_is_heard_of_is_no_fault() -> None:
    memory = Memory()
    pid = forked(lambda: None)
    os.waitpid(pid, 0)
    memory.executes(pid)
    assert memory.end == -1
    assert memory.path(pid, PAGE) is None


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_process_that_is_gone_gives_nothing(*, is_kept: bool) -> None:
    room, memory = ctypes.create_string_buffer(WORDS), Memory()
    pid = forked(signal.pause)
    if is_kept:
        memory.executes(pid)
    assert memory.path(pid, ctypes.addressof(room)) == WORDS
    end(pid)
    assert memory.path(pid, ctypes.addressof(room)) is None
    assert anchored(pid, None, b"name") is None
    memory.forget()


def test_a_process_that_became_another_program_unheard_is_read_anew() -> None:
    """Nobody keeps its old memory, and what nobody has reads as empty."""
    room, memory = ctypes.create_string_buffer(WORDS), Memory()
    ours, theirs = socket.socketpair()

    def other() -> None:
        os.dup2(theirs.fileno(), 0)
        os.dup2(theirs.fileno(), 1)
        theirs.recv(1)
        os.execv("/bin/cat", ["cat"])  # noqa: S606 - no shell is wanted

    with ours, theirs:
        pid = forked(other)
        try:
            memory.executes(pid)
            assert memory.path(pid, ctypes.addressof(room)) == WORDS
            ours.send(b"go")
            assert ours.recv(1) == b"o"  # by `cat`: the child took one letter, and gives none back
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            assert memory.path(pid, int(fields[45])) == b"cat"  # arg_start of proc(5)
        finally:
            end(pid)
            memory.forget()


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

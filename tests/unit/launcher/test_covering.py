"""Parts of another's /proc covered from outside: of the one that was meant, by who comes back."""

# ruff: noqa: PTH102, PTH208 - the calls themselves are tried here
from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.calls import unshare
from sekisho.launcher.covering import Covers
from sekisho.launcher.folders import put
from sekisho.launcher.mounts import enter_root, fresh, host, open_plain
from sekisho.launcher.network import map_ids
from sekisho.sandbox.host.probe import try_native

pytestmark = pytest.mark.real

if complaint := try_native():
    pytest.skip(f"no namespaces here: {complaint}", allow_module_level=True)

NEWNS = 0x0002_0000
NEWUSER = 0x1000_0000
NEWPID = 0x2000_0000
LISTED = [("/proc/sys", "/proc/sys"), ("/proc/version", "/dev/null"), ("/proc/1", "")]

Body = Callable[[int], object]


def new_proc() -> int:
    return fresh("proc", {}, 0)


def seen() -> str:
    """What a plugin would find there, where bwrap has not left the old root yet."""
    found = [len(os.listdir("/newroot/proc/1"))]
    for path in ("/newroot/proc/version", "/newroot/proc/sys/kernel/hostname", "/newroot/proc/1/x"):
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
            found.append(0)
        except OSError as error:
            found.append(error.errno or 0)
    return str(found)


def beside_bwrap(body: Body, mounted: Callable[[], int] | None = new_proc) -> str:
    """Play bwrap in a first process that has come as far; what `body` says outside, and what is seen inside then."""

    def outside() -> object:
        ids = os.geteuid(), os.getegid()
        unshare(NEWUSER | NEWNS, "unshare")
        map_ids((0, 0), ids)
        back = os.stat("/")  # noqa: PTH116
        (ready, is_ready), (go, let_go), (told, tell) = os.pipe(), os.pipe(), os.pipe()
        unshare(NEWPID, "unshare")
        first = os.fork()
        if first == 0:
            try:
                unshare(NEWNS, "unshare")
                mount = None if mounted is None else mounted()
                enter_root()
                os.mkdir("/newroot")
                if mount is not None:
                    put(open_plain("/newroot"), mount, "proc")
                os.write(is_ready, b"x")
                os.read(go, 1)
                os.write(tell, seen().encode() if mounted is new_proc else b"-")
            finally:
                os._exit(0)
        os.close(is_ready)
        assert os.read(ready, 1) == b"x"
        try:
            said = body(first)
        except OSError as error:
            said = str(error)
        os.write(let_go, b"x")
        is_back = os.path.samestat(back, os.stat("/")) and os.path.exists("/proc/self")  # noqa: PTH110, PTH116
        inside = os.read(told, 1000).decode()
        os.waitpid(first, 0)
        return f"{said}; {inside}; {is_back}"

    return in_a_child(outside)


def covered(still_waits: Callable[[], bool] = lambda: True) -> Body:
    return lambda pid: Covers(LISTED).place(pid, still_waits)


def test_what_is_listed_is_hidden_and_read_only_and_we_are_back() -> None:
    # No entry; what is a device elsewhere is none here; what is written is refused.
    assert beside_bwrap(covered()) == "None; [0, 13, 30, 30]; True"


def test_uncovered_it_is_open() -> None:
    """The harmless twin: nothing else hides it."""
    said = beside_bwrap(lambda pid: None)
    assert said.startswith("None; [")
    assert not said.startswith("None; [0, 13, 30, 30]")


def test_who_is_gone_meanwhile_is_not_mistaken_for_another() -> None:
    said = beside_bwrap(covered(lambda: False))
    assert "who raises the walls is gone" in said
    assert "[0, 13, 30, 30]" not in said
    assert said.endswith("True")


def test_our_own_namespace_is_never_covered() -> None:
    said = beside_bwrap(lambda pid: Covers(LISTED).place(os.getpid(), lambda: True))
    assert "who raises the walls is gone" in said
    assert said.endswith("True")


def test_a_place_where_no_proc_stands_is_refused() -> None:
    assert "newroot/proc: No such file" in beside_bwrap(covered(), None)
    assert "is no /proc" in beside_bwrap(covered(), lambda: fresh("tmpfs", {"size": "4096"}, 0))


def test_the_proc_of_the_host_is_never_covered() -> None:
    said = beside_bwrap(covered(), lambda: host("/proc", 0))
    assert "shows the host's processes" in said
    assert said.endswith("True")


def test_what_cannot_be_covered_fails_and_brings_us_back() -> None:
    said = beside_bwrap(lambda pid: Covers([("/proc/no-such", "")]).place(pid, lambda: True))
    assert "No such file" in said
    assert said.endswith("True")

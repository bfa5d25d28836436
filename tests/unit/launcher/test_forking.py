"""Forks with and without what was registered; each in a process of its own, for what is registered stays registered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sekisho import launcher

HEAD = """
import os, sys
from sekisho.launcher.forking import AT_FORK
def told(fork):
    # what the child says of itself, and then we of ourselves
    said.clear()
    output, theirs = os.pipe()
    pid = fork()
    if pid == 0:
        os.write(theirs, " ".join(said).encode())
        os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    with open(output) as file:
        return file.read().split(), list(said)
said = []
def register(name):
    os.register_at_fork(
        before=lambda: said.append("before" + name),
        after_in_parent=lambda: said.append("parent" + name),
        after_in_child=lambda: said.append("child" + name),
    )
"""


def run(script: str) -> None:
    subprocess.run([sys.executable, "-c", HEAD + script], check=True, timeout=30)


def test_a_usual_fork_still_does_what_was_registered_in_the_usual_order() -> None:
    run(
        """
register("0")
AT_FORK.take_over()
register("1")
register("2")
usual = ["before2", "before1", "before0"]
assert told(os.fork) == ([*usual, "child0", "child1", "child2"], [*usual, "parent0", "parent1", "parent2"])
"""
    )


def test_a_bare_fork_leaves_out_what_was_registered_since() -> None:
    run(
        """
register("0")
AT_FORK.take_over()
register("1")
assert told(AT_FORK.fork_bare) == (["before0", "child0"], ["before0", "parent0"])
child, parent = told(os.fork)
assert "child1" in child and "parent1" in parent, "the next fork is a usual one"
"""
    )


def test_what_was_forked_bare_forks_bare() -> None:
    run(
        """
AT_FORK.take_over()
register("1")
output, theirs = os.pipe()
if AT_FORK.fork_bare() == 0:
    os.write(theirs, repr(told(os.fork)).encode())
    os._exit(0)
assert os.read(output, 100) == b"([], [])"
"""
    )


def test_without_taking_over_a_bare_fork_is_a_fork() -> None:
    run(
        """
register("1")
assert told(AT_FORK.fork_bare) == told(os.fork) == (["before1", "child1"], ["before1", "parent1"])
"""
    )


def test_a_hook_that_fails_keeps_no_other_from_running() -> None:
    run(
        """
sys.unraisablehook = lambda one: None
AT_FORK.take_over()
os.register_at_fork(after_in_child=lambda: 1 / 0, after_in_parent=lambda: 1 / 0)
register("1")
assert told(os.fork) == (["before1", "child1"], ["before1", "parent1"])
"""
    )


def test_a_fork_that_fails_leaves_the_next_one_usual() -> None:
    run(
        """
AT_FORK.take_over()
register("1")
fork, os.fork = os.fork, lambda: int("no process")
try:
    AT_FORK.fork_bare()
except ValueError:
    pass
else:
    raise AssertionError
os.fork = fork
assert told(os.fork) == (["before1", "child1"], ["before1", "parent1"])
"""
    )


@pytest.mark.parametrize("module", ["threading", "logging", "random", "concurrent.futures.thread"])
def test_a_launcher_has_none_of_the_modules_that_register(module: str) -> None:
    """They may be in its image, but it does not know them."""
    script = f"import sys, sekisho.launcher.__main__; assert {module!r} not in sys.modules"
    source = str(Path(launcher.__file__).parent.parent.parent)
    subprocess.run([sys.executable, "-S", "-c", script], check=True, timeout=30, env={"PYTHONPATH": source})

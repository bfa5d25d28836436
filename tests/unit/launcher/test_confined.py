"""The minder: nothing below it is left when it goes."""

from __future__ import annotations

import os

from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.calls import prctl
from sekisho.launcher.confined import PR_SET_CHILD_SUBREAPER, end_all_below
from sekisho.launcher.kernel import tree


def test_daemons_and_their_children_are_ended_and_reaped() -> None:
    def body() -> object:
        prctl("subreaper", PR_SET_CHILD_SUBREAPER, 1)
        ready = os.pipe()
        for _ in range(3):
            if os.fork() == 0:
                if os.fork() == 0:
                    os.setsid()
                    if os.fork() == 0:
                        os.write(ready[1], b"x")
                        while True:
                            os.read(os.pipe()[0], 1)
                    os.write(ready[1], b"x")
                    while True:
                        os.read(os.pipe()[0], 1)
                os._exit(0)
        for _ in range(6):
            os.read(ready[0], 1)
        before = len(list(tree(os.getpid())))
        end_all_below(os.getpid())
        return before >= 7, len(list(tree(os.getpid())))

    assert in_a_child(body) == "(True, 1)"


def test_with_nothing_below_it_returns_at_once() -> None:
    assert in_a_child(lambda: end_all_below(os.getpid())) == "None"

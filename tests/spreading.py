"""How the tests are spread over processes: what is dear to make is made once, and what takes long begins first.

Tests of one file share what is dear to make (a house, a private internet), so they run in one process, in their order; so
do those of files that share it with each other. Tests that share nothing and take long may run beside each other. The
last of all are short, so that no process waits long for another.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Share one gateway in front of many servers; or start many gateways, each within a time that the suite sets.
TOGETHER: Final = (
    "tests/interop/",
    "tests/conformance/test_conformance.py::test_the_gateway_is_a_conformant_client",
)
# Each of their tests has a gateway of its own, and no other test's.
APART: Final = ("tests/conformance/test_conformance.py",)
# Begin first, the longest at the head, so that nothing long is left when the others are done.
LONG: Final = (*reversed(TOGETHER), "tests/conformance/", "tests/real/", "tests/contract/", "tests/house/")
# For the most part wait, as the suite does for what never comes; if all processes did, the machine would idle.
WAITING: Final = "tests/conformance/"


def part_of(test: str) -> str:
    """The part of all tests that runs in the same process as this one, by its name."""
    file = test.partition("::")[0]
    alone = test if file in APART else file
    return next((start for start in TOGETHER if test.startswith(start)), alone)


def rank_of(part: str) -> int:
    """When a part begins: a lower number before a higher one."""
    return next((rank for rank, start in enumerate(LONG) if part.startswith(start)), len(LONG))


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out parts as `part_of` and `rank_of` say; of those that wait, to half of the processes at most."""

    def _split_scope(self, nodeid: str) -> str:
        return part_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        others = [work for other, work in self.assigned_work.items() if other is not node]
        waiting = sum(any(map(_is_waiting, work.items())) for work in others)
        is_full = waiting >= (len(others) + 2) // 2
        chosen = min(self.workqueue, key=lambda part: (is_full and part.startswith(WAITING), rank_of(part)))
        self.workqueue.move_to_end(chosen, last=False)
        super()._assign_work_unit(node)


def _is_waiting(work: tuple[str, dict[str, bool]]) -> bool:
    part, tests = work
    return part.startswith(WAITING) and not all(tests.values())

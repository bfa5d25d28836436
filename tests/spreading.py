"""How the tests are spread over processes: what is dear to make is made once, and what takes long begins first.

Tests of one file share what is dear to make (a house, a private internet), so they run in one process, in their order; so
do those of files that share it with each other. Tests that share nothing and take long may run beside each other. The
last of all are short, so that no process waits long for another.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# Share one gateway in front of many servers.
TOGETHER: Final = ("tests/interop/",)
# Each of their tests has a gateway of its own, and no other test's.
APART: Final = ("tests/conformance/test_conformance.py",)
# Begin first, the longest at the head, so that nothing long is left when the others are done.
LONG: Final = (
    "tests/conformance/test_conformance.py::test_the_gateway_is_a_conformant_client",
    "tests/interop/",
    "tests/conformance/",
    "tests/real/",
    "tests/contract/",
)


def part_of(test: str) -> str:
    """The part of all tests that runs in the same process as this one, by its name."""
    file = test.partition("::")[0]
    if file in APART:
        return test
    return next((folder for folder in TOGETHER if file.startswith(folder)), file)


def rank_of(part: str) -> int:
    """When a part begins: a lower number before a higher one."""
    return next((rank for rank, start in enumerate(LONG) if part.startswith(start)), len(LONG))


class Spread(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out parts as `part_of` and `rank_of` say."""

    def _split_scope(self, nodeid: str) -> str:
        return part_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        self.workqueue.move_to_end(min(self.workqueue, key=rank_of), last=False)
        super()._assign_work_unit(node)

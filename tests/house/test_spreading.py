"""Tests are spread by what they share: a file stays in one process, what takes long begins first, nothing is lost."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import dev
import pytest
from tests.spreading import APART, LONG, TOGETHER, WAITING, Spread, part_of, rank_of

TESTS = [
    *(
        f"tests/unit/wire/test_frames.py::test_{name}[{case}]"
        for name in "ab"
        for case in ("x", "y::z", "/@]")
    ),
    *(f"tests/unit/audit/test_tree.py::test_{n}" for n in range(8)),
    *(f"tests/interop/test_{file}.py::test_{n}" for file in ("servers", "clients") for n in range(4)),
    *(f"tests/real/test_house.py::test_{n}" for n in range(4)),
    *(f"{APART[0]}::test_{n}" for n in range(4)),
    *(f"{TOGETHER[1]}[{n}]" for n in range(2)),
]


class Node:
    """A process that runs what it is given as soon as it knows what comes next, as xdist's do."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[int] = []
        self.ran: list[int] = []

    def send_runtest_some(self, indices: Sequence[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


def spread(config: pytest.Config, nodes: Sequence[Node]) -> None:
    """Run all TESTS as xdist would."""
    scheduler = Spread(config)
    for node in nodes:
        scheduler.add_node(node)
        scheduler.add_node_collection(node, TESTS)
    scheduler.schedule()
    while any(len(node.given) > len(node.ran) for node in nodes):
        for node in nodes:
            left = len(node.given) - len(node.ran)
            if left > 1 or (left == 1 and node.shutting_down):
                node.ran.append(node.given[len(node.ran)])
                scheduler.mark_test_complete(node, node.ran[-1])


@pytest.fixture
def config(pytestconfig: pytest.Config) -> SimpleNamespace:
    """What the scheduler asks of a configuration: how many processes, and no order by number of tests."""
    option = SimpleNamespace(loadscopereorder=False)
    return SimpleNamespace(option=option, getvalue=lambda name: ["popen"] * 2 if name == "tx" else None)


def test_every_test_runs_once_and_those_of_a_part_in_one_process_in_order(config: pytest.Config) -> None:
    nodes = [Node("one"), Node("two")]
    spread(config, nodes)
    assert sorted(nodes[0].ran + nodes[1].ran) == list(range(len(TESTS)))
    parts = [[part_of(TESTS[index]) for index in node.ran] for node in nodes]
    assert not set(parts[0]) & set(parts[1])
    for node, ran in zip(nodes, parts, strict=True):
        assert all(node.ran[i] < node.ran[i + 1] for i in range(len(ran) - 1) if ran[i] == ran[i + 1])
        assert sum(ran[i] != ran[i + 1] for i in range(len(ran) - 1)) == len(set(ran)) - 1, "no part is torn"


def test_what_takes_long_begins_first(config: pytest.Config) -> None:
    nodes = [Node("one"), Node("two")]
    spread(config, nodes)
    ran = [[part_of(TESTS[index]) for index in node.ran] for node in nodes]
    for parts in ran:
        ranks = [rank_of(part) for part in parts if not part.startswith(WAITING)]
        assert ranks == sorted(ranks)
    assert min(rank_of(parts[0]) for parts in ran) == min(map(rank_of, map(part_of, TESTS)))


def test_those_that_wait_do_not_all_wait_at_once(config: pytest.Config) -> None:
    nodes = [Node("one"), Node("two")]
    spread(config, nodes)
    assert [any(TESTS[index].startswith(WAITING) for index in node.ran[:4]) for node in nodes] == [
        True,
        False,
    ]


def test_tests_of_one_file_share_a_part_and_so_do_files_that_share_what_is_dear() -> None:
    assert len({part_of(test) for test in TESTS}) == 2 + 1 + 1 + 4 + 1
    assert part_of("tests/unit/wire/test_frames.py::test_a[x::y]") == "tests/unit/wire/test_frames.py"


@pytest.mark.parametrize("start", sorted({*TOGETHER, *APART, *LONG, WAITING}))
def test_what_is_spread_by_name_is_there(start: str) -> None:
    path, _, test = start.partition("::")
    assert (dev.ROOT / path).exists()
    assert not test or f"def {test}(" in (dev.ROOT / path).read_text()

"""The limit of open files is raised to what the kernel allows, and what is needed is counted by plugin."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from sekisho.assembly.descriptors import OF_A_GATE, OF_THE_PROCESS, descriptors_needed, raise_descriptor_limit
from sekisho.policy import NetworkGrant

OPEN = NetworkGrant(allowed_domains=("api.example.com",), max_connections=100)


@pytest.fixture
def limits() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_is_raised_as_far_as_it_goes(limits: tuple[int, int]) -> None:
    soft, hard = limits
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    assert raise_descriptor_limit() == hard
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_connection_needs_two_and_a_plugin_without_network_none() -> None:
    assert descriptors_needed([]) == OF_THE_PROCESS
    assert descriptors_needed([(OPEN, 1)]) == OF_THE_PROCESS + 200 + OF_A_GATE
    assert descriptors_needed([(OPEN, 3), (NetworkGrant(), 1)]) == OF_THE_PROCESS + 200 + 4 * OF_A_GATE

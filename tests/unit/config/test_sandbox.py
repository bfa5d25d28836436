"""Limits stay in their range, and words of the container engine stand beside its driver only."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho.config import PluginConfig, Sandbox
from sekisho.errors import Misconfigured
from sekisho.policy.grants import LimitGrant

SERVER = '[plugin_server]\nname = "a"\ncommand = ["x"]\n[sandbox]\n'


def test_the_defaults_are_those_of_the_grants_and_the_strongest_walls() -> None:
    assert Sandbox().isolation == "strict"
    assert Sandbox().max_memory_mb == LimitGrant().max_memory_mb


@pytest.mark.parametrize("key", ["image", "oci_runtime"])
def test_words_for_containers_stand_beside_their_driver(
    plugin: Callable[[str], PluginConfig], key: str
) -> None:
    assert plugin(f'{SERVER}driver = "oci"\n{key} = "runsc"\n').sandbox.driver == "oci"
    with pytest.raises(Misconfigured, match=rf"sandbox\.{key}: stands without driver"):
        plugin(f'{SERVER}{key} = "runsc"\n')


def test_an_engine_stands_beside_its_driver(plugin: Callable[[str], PluginConfig]) -> None:
    assert plugin(SERVER + 'driver = "oci"\nengine = "podman"\n').workload.engine == "podman"
    with pytest.raises(Misconfigured, match=r"sandbox\.engine: stands without driver"):
        plugin(SERVER + 'engine = "podman"\n')


@pytest.mark.parametrize("line", ["max_memory_mb = 15", "execution_timeout_seconds = 0", "io_mbps = -1"])
def test_a_limit_outside_its_range_is_refused(plugin: Callable[[str], PluginConfig], line: str) -> None:
    with pytest.raises(Misconfigured, match="expected a"):
        plugin(f"{SERVER}{line}\n")

"""A grant that cannot be honoured never exists, and an empty one gives nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy import FileGrant, Grants, LimitGrant, NetworkGrant, canonical_host


@pytest.mark.requirement("A3.3")
def test_an_empty_network_grant_is_closed() -> None:
    assert NetworkGrant().is_closed
    assert NetworkGrant(blocked_domains=("*",)).is_closed
    assert not NetworkGrant(allowed_domains=("api.example.com",)).is_closed
    assert not NetworkGrant(allow_localhost=True, localhost_ports=(5432,)).is_closed


@pytest.mark.requirement("A5.2")
@pytest.mark.parametrize(
    "build",
    [
        lambda: NetworkGrant(allowed_domains=("*",)),
        lambda: NetworkGrant(allowed_domains=("127.0.0.1",)),
        lambda: NetworkGrant(allowed_domains=("0x7f000001",)),
        lambda: NetworkGrant(allowed_domains=("API.example.com",)),
        lambda: NetworkGrant(allowed_domains=("https://api.example.com",)),
        lambda: NetworkGrant(allowed_domains=("api.*.com",)),
        lambda: NetworkGrant(blocked_domains=("",)),
        lambda: NetworkGrant(allowed_ports=(0,)),
        lambda: NetworkGrant(allowed_ports=(65536,)),
        lambda: NetworkGrant(allow_localhost=True),
        lambda: FileGrant(read_only_paths=("data",)),
        lambda: FileGrant(read_only_paths=("/data/../etc",)),
        lambda: FileGrant(writable_paths=("/",)),
        lambda: FileGrant(blocked_paths=("/a\0b",)),
        lambda: LimitGrant(max_memory_mb=0),
        lambda: LimitGrant(max_cpu_percent=0),
        lambda: LimitGrant(execution_timeout_s=0),
        lambda: LimitGrant(max_pids=0),
        lambda: LimitGrant(io_mbps=-1),
        lambda: LimitGrant(idle_stop_s=-1),
    ],
)
def test_a_grant_that_cannot_be_honoured_is_a_mistake(build: Callable[[], object]) -> None:
    with pytest.raises(Misconfigured) as mistake:
        build()
    assert mistake.value.code == "config_invalid"


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS", "PATH", "https_proxy", "1A", "A-B", ""]
)
def test_a_variable_that_runs_code_or_moves_traffic_is_never_granted(name: str) -> None:
    with pytest.raises(Misconfigured):
        Grants(environment=(name,))


def test_an_ordinary_variable_is_granted_by_name() -> None:
    assert Grants(environment=("WORDPRESS_TOKEN",)).environment == ("WORDPRESS_TOKEN",)


@given(rule=st.from_regex(r"[a-z0-9.-]{1,40}", fullmatch=True))
def test_every_host_a_rule_can_name_is_a_host_a_plugin_can_ask_for(rule: str) -> None:
    try:
        NetworkGrant(allowed_domains=(rule,))
    except Misconfigured:
        return
    assert canonical_host(rule) == rule


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "watch"}, {"max_connections": 0}, {"max_connections": 1 << 17}, {"max_mb_per_minute": -1}],
)
def test_a_network_grant_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        NetworkGrant(**wrong)

"""The shared tables become one statement of what a plugin may touch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekisho.config import CoreConfig, FilesystemPolicy, NetworkPolicy, PluginConfig, Sandbox
from sekisho.config.granted import grants_of
from sekisho.policy.grants import Grants, LimitGrant

TABLES = """
[{0}sandbox]
max_memory_mb = 256
max_cpu_percent = 50
execution_timeout_seconds = 2.5
max_pids = 8
max_open_files = 32
max_tmp_mb = 9
start_timeout_seconds = 3
io_mbps = 12
idle_stop_seconds = 7.5
isolation = "strict"
[{0}network_policy]
allowed_domains = ["api.example.com", "*.example.org"]
blocked_domains = ["*", "bad.example.org"]
allowed_ports = [443]
allow_localhost = true
localhost_ports = [5432]
[{0}filesystem_policy]
read_only_paths = ["/srv/in"]
writable_paths = ["/srv/out"]
blocked_paths = ["/srv/in/secret"]
"""


def test_tables_left_out_grant_nothing() -> None:
    grants = grants_of(
        environment=(),
        allowed_operations=(),
        sandbox=Sandbox(),
        network=NetworkPolicy(),
        files=FilesystemPolicy(),
    )
    assert grants == Grants()
    assert grants.network.is_closed


@pytest.mark.requirement("A3.2")
def test_every_limit_reaches_the_grants(core: Callable[[str], CoreConfig]) -> None:
    entry = '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\nenvironment = ["A_URL"]\nallowed_operations = ["t"]\n'
    grants = core(entry + TABLES.format("plugins.servers.")).plugin("a").grants
    assert grants.limits == LimitGrant(
        max_memory_mb=256,
        max_cpu_percent=50,
        execution_timeout_s=2.5,
        max_pids=8,
        max_open_files=32,
        max_tmp_mb=9,
        start_timeout_s=3.0,
        io_mbps=12,
        idle_stop_s=7.5,
    )
    assert grants.network.allowed_domains == ("api.example.com", "*.example.org")
    assert grants.network.localhost_ports == (5432,)
    assert grants.files.blocked_paths == ("/srv/in/secret",)
    assert (grants.environment, grants.allowed_operations) == (("A_URL",), ("t",))


@pytest.mark.requirement("A3.3")
def test_both_files_say_the_same_with_the_same_words(
    core: Callable[[str], CoreConfig], plugin: Callable[[str], PluginConfig]
) -> None:
    inside = core('[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n' + TABLES.format("plugins.servers."))
    alone = plugin('[plugin_server]\nname = "a"\ncommand = ["x"]\n' + TABLES.format(""))
    assert alone.workload == inside.plugin("a").workload

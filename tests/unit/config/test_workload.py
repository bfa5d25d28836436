"""The shared tables become one statement of what a plugin may touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import CoreConfig, FilesystemPolicy, NetworkPolicy, PluginConfig, Sandbox
from sekisho.config.workload import command_words, grants_of, plugin_settings, settings_names
from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants, LimitGrant

FOLDER = Path("/")
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


def test_localhost_without_ports_is_refused(core: Callable[[str], CoreConfig]) -> None:
    text = '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n[plugins.servers.network_policy]\nallow_localhost = true\n'
    with pytest.raises(Misconfigured, match=r":5: .*allow_localhost: opens no port"):
        core(text)


@pytest.mark.parametrize("value", ["npx server", [], [""], ["a", 3], ["a", "b\0"]])
def test_a_command_is_a_list_of_words(value: object) -> None:
    assert command_words().read(["npx", "-y", "-y", ""], FOLDER) == ("npx", "-y", "-y", "")
    with pytest.raises(Misconfigured):
        command_words().read(value, FOLDER)


def test_plain_values_become_text() -> None:
    read = plugin_settings().read({"url": "u", "port": 3, "ratio": 0.5, "debug": True}, FOLDER)
    assert read == (("url", "u"), ("port", "3"), ("ratio", "0.5"), ("debug", "true"))


@pytest.mark.parametrize("value", [{"a": []}, {"a": {}}, {"a": "x\0y"}, 3])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(Misconfigured):
        plugin_settings().read(value, FOLDER)


def test_settings_are_named_after_the_plugin() -> None:
    named = settings_names("wordpress-handler", (("url", "u"), ("page.size", "9")))
    assert named == {"WORDPRESS_URL": "u", "WORDPRESS_PAGE_SIZE": "9"}


@pytest.mark.parametrize(
    ("name", "key"),
    [("node-tools", "options"), ("ld", "preload"), ("python", "path"), ("a", "b=c"), ("a", "b c")],
)
def test_settings_cannot_spell_a_dangerous_variable(name: str, key: str) -> None:
    with pytest.raises(Misconfigured):
        settings_names(name, ((key, "x"),))


def test_two_settings_cannot_share_a_variable() -> None:
    with pytest.raises(Misconfigured, match="A_B_C twice"):
        settings_names("a", (("b-c", "1"), ("b_c", "2")))

"""The plugin file: the sample loads unchanged and each key counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.config import BindAddress, PluginConfig
from sekisho.errors import Misconfigured

Plugin = Callable[[str], PluginConfig]
Read = Callable[[PluginConfig], Any]

KEYS: list[tuple[str, Any, str, Any, Read]] = [
    ('name = "wordpress-handler"', "wordpress-handler", 'name = "wordpress-x"', "wordpress-x", lambda c: c.name),
    ('bind_addr = "0.0.0.0:8443"', BindAddress("0.0.0.0", 8443), 'bind_addr = "[::1]:1"', BindAddress("::1", 1),
     lambda c: c.plugin_server.bind_addr),
    ('tls_cert_path = "/etc/plugin/certs/wordpress.crt"', Path("/etc/plugin/certs/wordpress.crt"),
     'tls_cert_path = "/a"', Path("/a"), lambda c: c.plugin_server.tls_cert_path),
    ('tls_key_path = "/etc/plugin/certs/wordpress.key"', Path("/etc/plugin/certs/wordpress.key"),
     'tls_key_path = "/a"', Path("/a"), lambda c: c.plugin_server.tls_key_path),
    ('core_server_url = "https://mcp-core:8080"', "https://mcp-core:8080", 'core_server_url = "https://b"', "https://b",
     lambda c: c.plugin_server.core_server_url),
    ("max_memory_mb = 512", 512, "max_memory_mb = 64", 64, lambda c: c.grants.limits.max_memory_mb),
    ("max_cpu_percent = 50", 50, "max_cpu_percent = 9", 9, lambda c: c.grants.limits.max_cpu_percent),
    ("execution_timeout_seconds = 10", 10.0, "execution_timeout_seconds = 1.5", 1.5,
     lambda c: c.grants.limits.execution_timeout_s),
    ('allowed_domains = ["wordpress.example.com"]', ("wordpress.example.com",), 'allowed_domains = ["a.b"]', ("a.b",),
     lambda c: c.grants.network.allowed_domains),
    ('blocked_domains = ["*"]', ("*",), "blocked_domains = []", (), lambda c: c.grants.network.blocked_domains),
    ("allow_localhost = false", False, "allow_localhost = true\nlocalhost_ports = [1]", True,
     lambda c: c.grants.network.allow_localhost),
    ('read_only_paths = ["/app/config"]', ("/app/config",), 'read_only_paths = ["/a"]', ("/a",),
     lambda c: c.grants.files.read_only_paths),
    ('writable_paths = ["/tmp/plugin-cache"]', ("/tmp/plugin-cache",), "writable_paths = []", (),
     lambda c: c.grants.files.writable_paths),
    ('blocked_paths = ["/", "/etc", "/var"]', ("/", "/etc", "/var"), 'blocked_paths = ["/a"]', ("/a",),
     lambda c: c.grants.files.blocked_paths),
    ('url = "https://wordpress.example.com"', {"WORDPRESS_URL": "https://wordpress.example.com"}, 'url = "x"',
     {"WORDPRESS_URL": "x"}, lambda c: c.workload.settings_environment),
]  # fmt: skip


@pytest.mark.requirement("A5.1")
@pytest.mark.parametrize("row", KEYS, ids=[row[0].split(" =")[0] for row in KEYS])
def test_each_key_of_the_sample_takes_effect(
    plugin: Plugin, samples: Path, row: tuple[str, Any, str, Any, Read]
) -> None:
    line, value, other_line, other, read = row
    text = (samples / "wordpress-plugin-config.toml").read_text(encoding="utf-8")
    assert read(plugin(text)) == value
    assert f"\n{line}\n" in text
    assert read(plugin(text.replace(f"\n{line}\n", f"\n{other_line}\n", 1))) == other


@pytest.mark.requirement("A5.1")
def test_the_sample_has_no_key_without_its_test(samples: Path) -> None:
    text = (samples / "wordpress-plugin-config.toml").read_text(encoding="utf-8")
    written = [line.split(" = ")[0] for line in text.splitlines() if " = " in line]
    assert written == [row[0].split(" = ")[0] for row in KEYS]


def test_the_whole_name_also_names_the_own_table(plugin: Plugin) -> None:
    config = plugin('[plugin_server]\nname = "wordpress-handler"\n[wordpress-handler]\nurl = "x"\n')
    assert config.settings_table == "wordpress-handler"
    assert config.workload.settings_environment == {"WORDPRESS_URL": "x"}


@pytest.mark.requirement("A5.2")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[other]\n", ":3: other: unknown key"),
        ("[settings]\n", "settings: unknown key"),
        ("[a-b]\nx = 1\n[a]\ny = 1\n", ":5: a: unknown key"),
        ("[a]\nx = [1]\n", ":3: a: x is a list; expected a table of texts"),
        ("[sandbox]\nmax_memory_mb = 1\n", "expected a whole number from 16"),
    ],
)
def test_nothing_else_may_stand_in_the_file(plugin: Plugin, text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        plugin('[plugin_server]\nname = "a-b"\n' + text)


def test_a_plugin_server_without_a_table_is_refused(plugin: Plugin) -> None:
    with pytest.raises(Misconfigured, match="plugin_server is missing"):
        plugin("")


def test_operations_left_out_differ_from_none_allowed(plugin: Plugin) -> None:
    text = '[plugin_server]\nname = "a"\n'
    assert plugin(text).plugin_server.allowed_operations is None
    assert plugin(text + "allowed_operations = []\n").plugin_server.allowed_operations == ()


def test_the_home_folder_may_be_named(plugin: Plugin, tmp_path: Path) -> None:
    assert plugin('[plugin_server]\nname = "a"\nhome = "h"\n').home == tmp_path / "h"

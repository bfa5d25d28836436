"""Paths are asked for when the house starts, and a missing one is named with its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import CoreConfig, PluginConfig, check_paths, load_core, load_plugin
from sekisho.errors import Misconfigured

pytestmark = pytest.mark.requirement("A5.2")

Core = Callable[[str], CoreConfig]


def test_a_missing_certificate_is_named_with_its_line(samples: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        check_paths(load_core(samples / "mcp-core-config.toml"))
    assert (
        ":3: core_server.tls_cert_path: /etc/mcp/certs/core-server.crt cannot be read" in caught.value.message
    )
    assert "expected a readable file" in caught.value.message
    with pytest.raises(Misconfigured, match=r":4: plugin_server\.tls_cert_path"):
        check_paths(load_plugin(samples / "wordpress-plugin-config.toml"))


def test_paths_that_can_be_read_pass(core: Core, tmp_path: Path) -> None:
    for name in ("a.pem", "b.pem"):
        (tmp_path / name).write_text("x")
    (tmp_path / "w").mkdir()
    check_paths(
        core(
            '[core_server]\ntls_cert_path = "a.pem"\ntls_key_path = "b.pem"\n[[plugins.servers]]\nname = "a"\n'
            'command = ["x"]\ncert_path = "a.pem"\nworking_directory = "w"\nruntime_paths = ["w", "a.pem"]\n'
            f'[plugins.servers.filesystem_policy]\nread_only_paths = ["{tmp_path}/w"]\nwritable_paths = ["/none"]\n'
        )
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('cert_path = "none"', ":4: plugins.servers[1].cert_path"),
        ('working_directory = "none"', ":4: plugins.servers[1].working_directory"),
        ('working_directory = "file"', "expected a readable folder"),
        ('runtime_paths = ["none"]', ":4: plugins.servers[1].runtime_paths"),
        (
            'filesystem_policy.read_only_paths = ["/none/at/all"]',
            "filesystem_policy.read_only_paths: /none/at/all",
        ),
    ],
)
def test_each_path_of_a_plugin_is_asked_for(core: Core, tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Misconfigured) as caught:
        check_paths(core(f'[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n{line}\n'))
    assert words in caught.value.message


def test_paths_of_a_plugin_elsewhere_are_asked_for_there(plugin: Callable[[str], PluginConfig]) -> None:
    check_paths(
        plugin('[plugin_server]\nname = "a"\n[filesystem_policy]\nread_only_paths = ["/none/at/all"]\n')
    )

"""`config show` and `config check` work for both kinds of file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]
SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.mark.requirement("A5.3")
def test_the_configuration_in_effect_is_shown(typed: Type, home: Path) -> None:
    shown = typed("config", "show", "--json").json
    assert shown["core_server"]["bind_addr"] == "127.0.0.1:8080"
    assert shown["home"] == str(home)
    assert shown["warnings"] == []
    lines = typed("config", "show").out.splitlines()
    assert 'core_server.bind_addr = "127.0.0.1:8080"' in lines
    assert 'plugins.servers.notes.allowed_operations = ["add"]' in lines
    assert "plugins.servers.notes.network_policy.allow_localhost = false" in lines


@pytest.mark.requirement("A5.3")
def test_secrets_are_masked_and_warnings_are_diagnostics(typed: Type, home: Path) -> None:
    Path("sekisho.toml").write_text(
        '[core_server]\ntls = "off"\n[[plugins.servers]]\nname = "a"\ncommand = ["x"]\nsettings = { token = "hunter2" }\n'
    )
    answer = typed("config", "show")
    assert "hunter2" not in answer.out + answer.err
    assert 'plugins.servers.a.settings.token = "•••"' in answer.out
    assert "warning: core_server.tls = off" in answer.err


def test_a_plugin_file_is_shown_too(typed: Type, home: Path) -> None:
    answer = typed("config", "show", "--config", str(SAMPLES / "wordpress-plugin-config.toml"), "--json")
    assert answer.json["plugin_server"]["home"] == str(home)
    assert answer.json["wordpress"] == {"url": "https://wordpress.example.com"}


def test_a_good_file_passes_the_check(typed: Type, home: Path) -> None:
    assert typed("config", "check").out == "sekisho.toml: a good core file\n"
    assert typed("config", "check", "--json").json == {
        "ok": True,
        "file": "sekisho.toml",
        "kind": "core",
        "warnings": [],
    }


@pytest.mark.requirement("A5.2")
@pytest.mark.parametrize("name", ["mcp-core-config.toml", "wordpress-plugin-config.toml"])
def test_the_check_asks_for_the_paths_too(typed: Type, home: Path, name: str) -> None:
    answer = typed("config", "check", "--config", str(SAMPLES / name), "--json")
    assert answer.status == 2
    assert "tls_cert_path" in answer.error["message"]

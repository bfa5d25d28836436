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


@pytest.mark.threat("T-SECRET")
def test_a_secret_that_its_plugin_would_not_get_is_a_warning(typed: Type, home: Path) -> None:
    token = home.parent / "token"
    Path("sekisho.toml").write_text(
        '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\nallowed_operations = []\n'
        '[plugins.servers.network_policy]\nallowed_domains = ["e.example"]\nintercept_tls = true\n'
        f'[plugins.servers.secrets]\nT = {{ from = "file:{token}", hosts = ["e.example"] }}\n'
    )

    def warned() -> list[str]:
        answer = typed("config", "check", "--json")
        assert answer.status == 0
        return [one for one in answer.json["warnings"] if one.startswith("a.secrets.T: ")]

    (missing,) = warned()
    assert f"write the secret into {token}" in missing
    token.write_text("hunter2")
    token.chmod(0o644)
    (open_to_all,) = warned()
    assert f"chmod 600 {token}" in open_to_all
    assert "hunter2" not in open_to_all
    token.chmod(0o600)
    assert warned() == []

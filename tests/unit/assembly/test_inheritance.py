"""Which process gets which variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.assembly.inheritance import inherited
from sekisho.config import CoreConfig, load_core

FILE = """
[core_server]
[[plugins.servers]]
name = "github"
command = ["server"]
environment = ["LEVEL"]
[plugins.servers.network_policy]
allowed_domains = ["api.github.com"]
intercept_tls = true
[plugins.servers.secrets]
GITHUB_TOKEN = { from = "env:GH", hosts = ["api.github.com"] }
OPEN = { from = "env:OPEN_VALUE", environment = true }
RING = { from = "keyring:github/me", hosts = ["api.github.com"] }
[[plugins.servers]]
name = "other"
command = ["server"]
[[plugins.servers]]
name = "remote"
upstream = "https://mcp.example/mcp"
upstream_headers = { Authorization = "env:GH" }
"""
ENVIRONMENT = {"GH": "1", "OPEN_VALUE": "2", "LEVEL": "3", "PATH": "/bin", "TZ": "UTC", "HOME": "/root"}


@pytest.fixture
def config(tmp_path: Path) -> CoreConfig:
    path = tmp_path / "sekisho.toml"
    path.write_text(FILE)
    return load_core(path)


def test_a_secret_of_the_gate_reaches_the_egress_process_alone(config: CoreConfig) -> None:
    assert inherited(config, ["egress"], ENVIRONMENT) == {"GH": "1", "TZ": "UTC", "HOME": "/root"}
    for role in (["core"], ["core", "--worker", "1"], ["plugin", "github"], ["plugin", "other"]):
        assert "GH" not in inherited(config, role, ENVIRONMENT)


def test_everything_else_passes_as_before(config: CoreConfig) -> None:
    kept = {name: value for name, value in ENVIRONMENT.items() if name != "GH"}
    assert inherited(config, ["plugin", "github"], ENVIRONMENT) == kept
    assert inherited(config, ["core", "--worker", "0"], ENVIRONMENT) == kept


def test_a_process_that_was_given_the_variable_by_name_has_it(config: CoreConfig) -> None:
    assert inherited(config, ["plugin", "remote"], ENVIRONMENT)["GH"] == "1"

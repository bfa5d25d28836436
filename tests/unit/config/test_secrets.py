"""The table of secrets: what it means, and what is refused with which remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config import effective, load_core, load_plugin, warnings_of
from sekisho.errors import Misconfigured
from sekisho.policy import SecretGrant, SecretHost, SecretReference

CORE = """
[core_server]
[[plugins.servers]]
name = "github"
{where}
{more}
[plugins.servers.network_policy]
allowed_domains = ["api.github.com"]
intercept_tls = {intercept}
[plugins.servers.secrets]
{secrets}
"""


def _core(
    folder: Path,
    secrets: str,
    *,
    intercept: str = "true",
    where: str = 'command = ["server"]',
    more: str = "",
) -> Path:
    path = folder / "sekisho.toml"
    path.write_text(CORE.format(secrets=secrets, intercept=intercept, where=where, more=more))
    return path


def _refused(path: Path) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        load_core(path)
    assert caught.value.code == "config_invalid"
    return caught.value


def test_a_secret_is_read_with_its_hosts_and_its_file_beside_the_configuration(tmp_path: Path) -> None:
    path = _core(tmp_path, 'GITHUB_TOKEN = { from = "file:keys/token", hosts = ["api.github.com"] }')
    grants = load_core(path).plugin("github").grants
    assert grants.secrets == (
        SecretGrant(
            name="GITHUB_TOKEN",
            reference=SecretReference("file", str(tmp_path / "keys/token")),
            hosts=(SecretHost("api.github.com", 443),),
        ),
    )
    assert grants.network.intercept_tls


def test_both_files_say_it_with_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "github.toml"
    path.write_text(
        '[plugin_server]\nname = "github"\ncommand = ["server"]\n[network_policy]\n'
        'allowed_domains = ["api.github.com"]\nintercept_tls = true\n[secrets.GITHUB_TOKEN]\n'
        'from = "credential:github"\nhosts = ["api.github.com"]\nplaces = ["headers"]\n'
    )
    (secret,) = load_plugin(path).grants.secrets
    assert (str(secret.reference), secret.places) == ("credential:github", ("headers",))


def test_tls_without_interception_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    secret = 'T = { from = "env:T", hosts = ["api.github.com"] }'
    problem = _refused(_core(tmp_path, secret, intercept="false"))
    assert "inside TLS to api.github.com" in problem.message
    assert "intercept_tls = true" in problem.remedy
    assert "environment = true" in problem.remedy
    plain = 'T = { from = "env:T", hosts = ["http://api.github.com"] }'
    load_core(_core(tmp_path, plain, intercept="false"))
    opened = 'T = { from = "env:T", hosts = ["api.github.com"], environment = true }'
    load_core(_core(tmp_path, opened, intercept="false"))


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        ('T = "ghp_value"', "T is no table"),
        ('T = { from = "ghp_value", hosts = ["api.github.com"] }', "T: does not say where the value is"),
        ('T = { hosts = ["api.github.com"] }', "T does not say where"),
        ('T = { from = "env:T" }', "names no host"),
        ('T = { from = "env:T", hosts = ["*.github.com"] }', "is not a host that can receive a secret"),
        ('T = { from = "env:T", hosts = ["evil.example"] }', "not a host and port the plugin may reach"),
        ('T = { from = "env:T", hosts = ["api.github.com:22"] }', "not a host and port the plugin may reach"),
        ('T = { from = "env:T", host = "api.github.com" }', "unknown key host"),
        ('T = { from = "env:T", hosts = ["api.github.com"], places = ["body"] }', "places"),
        ('NODE_OPTIONS = { from = "env:T", hosts = ["api.github.com"] }', "not allowed"),
    ],
)
def test_what_cannot_work_is_refused_and_no_value_is_repeated(tmp_path: Path, secret: str, says: str) -> None:
    problem = _refused(_core(tmp_path, secret))
    assert says in problem.message
    assert "ghp_value" not in str(problem)


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    secret = 'GITHUB_TOKEN = { from = "env:T", hosts = ["api.github.com"] }'
    assert "settings" in _refused(_core(tmp_path, secret, more='settings = { token = "x" }')).message
    assert "environment" in _refused(_core(tmp_path, secret, more='environment = ["GITHUB_TOKEN"]')).message


def test_a_server_at_a_url_is_told_of_upstream_headers(tmp_path: Path) -> None:
    secret = 'T = { from = "env:T", hosts = ["api.github.com"] }'
    where = 'upstream = "https://mcp.example/mcp"'
    assert "intercept_tls" in _refused(_core(tmp_path, secret, where=where)).message
    problem = _refused(_core(tmp_path, secret, where=where, intercept="false"))
    assert "upstream_headers" in problem.remedy


def test_what_is_shown_holds_references_and_a_warning_for_each_open_value(tmp_path: Path) -> None:
    opened = 'T = { from = "env:T", environment = true }\nU = { from = "env:U", hosts = ["api.github.com"] }'
    config = load_core(_core(tmp_path, opened))
    shown = effective(config)["plugins"]["servers"][0]["secrets"]
    assert shown["U"] == {
        "from": "env:U",
        "hosts": ["https://api.github.com"],
        "environment": False,
        "places": ["headers", "query"],
    }
    warnings = list(warnings_of(config))
    assert sum("the value itself" in one for one in warnings) == 1
    assert any("intercept_tls" in one for one in warnings)


def test_headers_of_a_server_at_a_url_take_the_same_references(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.toml"
    path.write_text(
        '[core_server]\n[[plugins.servers]]\nname = "a"\nupstream = "https://mcp.example/mcp"\n'
        'upstream_headers = { Authorization = "keyring:mcp/me", X-Key = "credential:key" }\n'
    )
    assert load_core(path).plugin("a").upstream_headers == (
        ("Authorization", "keyring:mcp/me"),
        ("X-Key", "credential:key"),
    )

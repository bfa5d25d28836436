from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config import CoreConfig, PluginConfig, effective, load_core, load_plugin
from sekisho.errors import Misconfigured

PLUGIN = """
[[plugins.servers]]
name = "notes"
upstream = "https://notes.example/mcp"
[plugins.servers.oauth]
"""
IDENTITY = """
grant = "identity_assertion"
issuer = "https://auth.example"
client_id = "me"
[plugins.servers.oauth.idp]
issuer = "https://idp.example"
client_id = "sekisho"
id_token_path = "id-token"
"""


def _core(folder: Path, oauth: str) -> CoreConfig:
    path = folder / "sekisho.toml"
    path.write_text(PLUGIN + oauth, encoding="utf-8")
    return load_core(path)


def test_without_a_grant_no_oauth_is_used(tmp_path: Path) -> None:
    assert _core(tmp_path, "").plugin("notes").workload.oauth is None


def test_a_login_is_read_with_paths_beside_the_file(tmp_path: Path) -> None:
    text = """
grant = "client_credentials"
issuer = "https://auth.example/tenant"
client_id = "me"
client_secret_path = "secret"
scopes = ["read", "write"]
"""
    oauth = _core(tmp_path, text).plugin("notes").workload.oauth
    assert oauth is not None
    assert (oauth.grant, oauth.issuer, oauth.scopes) == (
        "client_credentials",
        "https://auth.example/tenant",
        ("read", "write"),
    )
    assert oauth.client_secret_path == tmp_path / "secret"


@pytest.mark.parametrize(
    "text",
    [
        'client_id = "me"',
        'grant = "password"',
        'grant = "authorization_code"\nissuer = "http://auth.example"',
        'grant = "authorization_code"\nissuer = "https://me:word@auth.example"',
        'grant = "authorization_code"\nclient_id = "me"\nclient_secret_path = "secret"',
        'grant = "authorization_code"\nclient_secret = "s3cret"',
        'grant = "authorization_code"\nclient_metadata_url = "http://me.example/client.json"',
        'grant = "authorization_code"\nscopes = ["a b"]',
        'grant = "client_credentials"\nclient_id = "me"',
        'grant = "authorization_code"\nbrowser = "firefox"',
        'grant = "identity_assertion"\nissuer = "https://auth.example"\nclient_id = "me"',
        '[plugins.servers.oauth.idp]\nissuer = "https://idp.example"',
        IDENTITY.replace('client_id = "sekisho"', ""),
        IDENTITY.replace("https://idp.example", "http://idp.example"),
        IDENTITY.replace("https://idp.example", "https://auth.example"),
        IDENTITY.replace("identity_assertion", "authorization_code"),
        IDENTITY + 'id_token = "s3cret"',
    ],
)
def test_a_login_that_cannot_be_honoured_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        _core(tmp_path, text)
    assert "s3cret" not in str(caught.value)


def test_an_issuer_on_this_machine_may_speak_plain_http(tmp_path: Path) -> None:
    config = _core(tmp_path, 'grant = "authorization_code"\nissuer = "http://127.0.0.1:9000"')
    assert config.plugin("notes").oauth.issuer == "http://127.0.0.1:9000"


def test_a_plugin_without_upstream_has_nothing_to_log_in_to(tmp_path: Path) -> None:
    path = tmp_path / "sekisho.toml"
    path.write_text(
        '[[plugins.servers]]\nname = "a"\ncommand = ["x"]\n[plugins.servers.oauth]\ngrant = "authorization_code"\n',
        encoding="utf-8",
    )
    with pytest.raises(Misconfigured, match="without upstream"):
        load_core(path)


def test_the_plugin_file_says_it_with_the_same_words(tmp_path: Path) -> None:
    path = tmp_path / "plugin.toml"
    server = '[plugin_server]\nname = "notes"\n'
    oauth = '[oauth]\ngrant = "authorization_code"\ndynamic_registration = true\n'
    path.write_text(server + 'upstream = "https://notes.example/mcp"\n' + oauth, encoding="utf-8")
    config = load_plugin(path)
    assert isinstance(config, PluginConfig)
    assert config.workload.oauth is not None
    assert config.workload.oauth.dynamic_registration
    path.write_text(server + oauth, encoding="utf-8")
    with pytest.raises(Misconfigured, match="without upstream"):
        load_plugin(path)


def test_what_is_shown_names_the_secret_and_does_not_hold_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret", encoding="ascii")
    text = 'grant = "authorization_code"\nissuer = "https://auth.example"\nclient_id = "me"\n'
    text += 'client_secret_path = "secret"'
    shown = str(effective(_core(tmp_path, text)))
    assert "s3cret" not in shown
    assert str(tmp_path / "secret") in shown


def test_a_login_by_an_identity_provider_is_read_with_its_own_table(tmp_path: Path) -> None:
    oauth = _core(tmp_path, IDENTITY).plugin("notes").workload.oauth
    assert oauth is not None
    assert oauth.idp is not None
    assert (oauth.grant, oauth.issuer) == ("identity_assertion", "https://auth.example")
    assert (oauth.idp.issuer, oauth.idp.client_id) == ("https://idp.example", "sekisho")
    assert oauth.idp.id_token_path == tmp_path / "id-token"
    path = tmp_path / "plugin.toml"
    tables = IDENTITY.replace("plugins.servers.", "")
    server = '[plugin_server]\nname = "notes"\nupstream = "https://notes.example/mcp"\n[oauth]'
    path.write_text(server + tables, encoding="utf-8")
    config = load_plugin(path)
    assert isinstance(config, PluginConfig)
    assert config.workload.oauth == oauth

"""The `auth` table: what would leave a token unjudged is refused when the file is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import Auth, CoreConfig, check_paths, effective, warnings_of
from sekisho.errors import Misconfigured

Core = Callable[[str], CoreConfig]
Refused = Callable[[str], Misconfigured]

HEAD = '[auth]\nresource = "https://gate.example.com"\n'
ISSUER = '[[auth.issuers]]\nname = "corp"\nissuer = "https://login.example.com/realms/a"\n'
ASKED = ISSUER + 'introspection_url = "https://login.example.com/ask"\n'
PLUGIN = '[[plugins.servers]]\nname = "web"\nurl = "https://a:1"\nallowed_operations = ["get.page"]\n'


def test_without_the_table_only_static_tokens_count(core: Core) -> None:
    auth = core("").auth
    assert auth == Auth()
    assert auth.static_tokens
    assert not auth.issuers


def test_an_issuer_is_read_with_safe_defaults(core: Core) -> None:
    (issuer,) = core(HEAD + ISSUER).auth.issuers
    assert issuer.client_claim == "sub"
    assert not issuer.untyped_tokens
    assert not any(name.startswith("HS") or name == "none" for name in issuer.algorithms)


def test_scopes_are_read_by_plugin_and_by_operation(core: Core) -> None:
    text = HEAD + 'required_scopes = ["mcp"]\n[auth.plugin_scopes]\nweb = ["web"]\n[auth.operation_scopes]\n'
    auth = core(text + '"web.get.page" = ["pages"]\n"web.prompts/get" = ["prompts"]\n' + PLUGIN).auth
    assert auth.required_scopes == ("mcp",)
    assert auth.plugin_scopes == (("web", ("web",)),)
    assert auth.operation_scopes == (("web.get.page", ("pages",)), ("web.prompts/get", ("prompts",)))


def test_an_introspecting_issuer_states_how_we_prove_ourselves(core: Core) -> None:
    (issuer,) = core(HEAD + ASKED + 'client_id = "gate"\nclient_secret_path = "s"\n').auth.issuers
    assert issuer.client_auth == "basic"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[auth]\n" + ISSUER, "auth.resource: is missing"),
        ('[auth]\nresource = "https://gate.example.com/mcp"\n', "resource"),
        ('[auth]\nresource = "http://gate.example.com"\n', "plain HTTP"),
        (HEAD + ISSUER.replace("https", "http"), "plain HTTP"),
        (HEAD + ISSUER + 'jwks_url = "http://login.example.com/keys"\n', "plain HTTP"),
        (HEAD + ISSUER + 'algorithms = ["HS256"]\n', "member 1"),
        (HEAD + ISSUER + 'algorithms = ["none"]\n', "member 1"),
        (HEAD + ISSUER + ISSUER, "two with the same name"),
        (HEAD + ISSUER + ISSUER.replace('"corp"', '"other"'), "two with the same issuer"),
        (HEAD + ISSUER.replace('"corp"', '"Corp:x"'), "name"),
        (HEAD + ASKED, "needs client_secret_path"),
        (HEAD + ASKED + 'client_secret_path = "s"\n', "needs client_id"),
        (HEAD + ASKED + 'jwks_url = "https://a/k"\nclient_secret_path = "s"\nclient_id = "x"\n', "beside"),
        (
            HEAD
            + ASKED
            + 'client_auth = "bearer"\nclient_secret_path = "s"\n'
            + ASKED.replace("corp", "other").replace("realms/a", "realms/b")
            + 'client_auth = "bearer"\nclient_secret_path = "s"\n',
            "two with introspection_url",
        ),
        ("[auth]\nstatic_tokens = false\n", "nobody could call"),
        ('[auth]\nrequired_scopes = ["a b"]\n', "member 1"),
        ('[auth]\nrequired_scopes = ["a\\"b"]\n', "member 1"),
        ('[auth.plugin_scopes]\nweb = "x"\n', "plugin_scopes"),
        ('[auth.plugin_scopes]\nweb = ["x"]\n', "which is no plugin"),
        ('[auth.operation_scopes]\n"web.get_page" = ["x"]\n' + PLUGIN, "no allowed operation"),
        ('[auth.operation_scopes]\nweb = ["x"]\n' + PLUGIN, "has the key"),
        ("[auth]\nkeys_refresh_seconds = 900\nkeys_max_age_seconds = 600\n", "shorter"),
        ("[auth]\nclient_secret = 'x'\n", "unknown key"),
    ],
)
def test_what_would_leave_a_token_unjudged_is_refused(refused: Refused, text: str, what: str) -> None:
    assert what in refused(text).message


def test_loopback_may_be_plain(core: Core) -> None:
    core(
        '[auth]\nresource = "http://127.0.0.1:8080"\n'
        + ISSUER.replace("https://login.example.com", "http://[::1]:9")
    )


def test_a_secret_file_that_is_not_there_is_named_before_anything_listens(core: Core) -> None:
    config = core(HEAD + ASKED + 'client_id = "gate"\nclient_secret_path = "absent"\n')
    with pytest.raises(Misconfigured, match="client_secret_path"):
        check_paths(config)


def test_a_secret_file_that_is_there_is_no_problem(core: Core, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    check_paths(core(HEAD + ASKED + 'client_id = "gate"\nclient_secret_path = "secret"\n'))


def test_an_issuer_without_any_scope_is_warned_about(core: Core) -> None:
    assert any("auth.required_scopes" in one for one in warnings_of(core(HEAD + ISSUER)))
    assert not any("auth" in one for one in warnings_of(core(HEAD + 'required_scopes = ["mcp"]\n' + ISSUER)))
    assert not any("auth" in one for one in warnings_of(core("")))


def test_no_secret_is_shown(core: Core, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter2")
    shown = effective(core(HEAD + ASKED + 'client_id = "gate"\nclient_secret_path = "secret"\n'))
    assert "hunter2" not in str(shown)
    assert shown["auth"]["issuers"][0]["client_secret_path"] == str(tmp_path / "secret")

"""A login leaves tokens in the home folder and prints none."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest

from sekisho.credentials.vault import Vault
from sekisho.keys import KeyFolder

Type = Callable[..., Any]
FOLLOW = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1]).read()"


class _Both(BaseHTTPRequestHandler):
    """The plugin's server and its authorization server in one."""

    challenge = ""

    def do_GET(self) -> None:
        """Metadata, and the login page."""
        origin = f"http://{self.headers['Host']}"
        path, _, query = self.path.partition("?")
        if path == "/authorize":
            asked = dict(parse_qsl(query))
            type(self).challenge = asked["code_challenge"]
            answer = urlencode({"code": "c", "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{answer}")
            self.end_headers()
        elif path == "/.well-known/oauth-protected-resource/mcp":
            self._say({"resource": f"{origin}/mcp", "authorization_servers": [origin]})
        elif path == "/.well-known/oauth-authorization-server":
            self._say(
                {
                    "issuer": origin,
                    "authorization_endpoint": f"{origin}/authorize",
                    "token_endpoint": f"{origin}/token",
                    "code_challenge_methods_supported": ["S256"],
                }
            )
        else:
            self._say({}, 404)

    def do_POST(self) -> None:
        """The MCP endpoint, and the token endpoint."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/mcp":
            self._say({}, 401)
            return
        verifier = dict(parse_qsl(body.decode()))["code_verifier"]
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        is_right = digest == self.challenge
        self._say(
            {"access_token": "very-secret", "token_type": "Bearer", "scope": "read"}, 200 if is_right else 400
        )

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
        """Nothing is printed."""

    def _say(self, value: object, status: int = 200) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def far_server() -> Iterator[str]:
    """An MCP server that wants a login."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Both)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(5.0)
        server.server_close()


def _config(folder: Path, origin: str) -> Path:
    path = folder / "login.toml"
    path.write_text(
        f"""
home = "{folder / "login-home"}"
[[plugins.servers]]
name = "notes"
upstream = "{origin}/mcp"
[plugins.servers.oauth]
grant = "authorization_code"
client_id = "me"
browser = {json.dumps([sys.executable, "-c", FOLLOW])}
""",
        encoding="utf-8",
    )
    return path


def test_a_login_is_kept_for_the_plugin_and_not_printed(
    typed: Type, tmp_path: Path, far_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEKISHO_HOME", raising=False)
    answer = typed("login", "notes", "--config", str(_config(tmp_path, far_server)), "--json")
    assert answer.status == 0
    assert answer.json == {"plugin": "notes", "issuer": far_server, "scopes": ["read"], "expires_at": None}
    assert f"log in here: {far_server}/authorize?" in answer.err
    assert "very-secret" not in answer.out + answer.err
    home = tmp_path / "login-home"
    held = Vault(home / "credentials", "notes", KeyFolder(home / "keys")).read()
    assert held.current is not None
    assert held.current.access == "very-secret"


def test_a_person_reads_where_they_are_logged_in(
    typed: Type, tmp_path: Path, far_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEKISHO_HOME", raising=False)
    answer = typed("login", "notes", "--config", str(_config(tmp_path, far_server)))
    assert answer.out == f"notes: logged in at {far_server} for read\n"


def test_a_plugin_without_a_login_is_a_mistake_of_the_person(typed: Type, home: Path) -> None:
    answer = typed("login", "notes", "--json")
    assert (answer.status, answer.error["code"]) == (2, "config_invalid")
    assert not home.exists()


def test_a_plugin_that_is_not_there_is_a_mistake_of_the_person(typed: Type) -> None:
    assert typed("login", "nobody", "--json").error["code"] == "config_invalid"

"""The GitHub example on the whole road, against a server that holds every request to GitHub's published description."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.real import github_mock
from tests.real.github_description import description
from tests.real.plugin_packages import installed
from tests.real.private_world import World, private_world

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

HOST: Final = "api.github.com"
PORT: Final = 8000
TOKEN: Final = "ghp_" + secrets.token_hex(18)
_CONFIG: Final = """
[core_server]
bind_addr = "127.0.0.1:8080"
"""
_ENTRY: Final = """
[[plugins.servers]]
name = "{name}"
command = ["{venv}/bin/sekisho-github"]
runtime_paths = ["{venv}"]
allowed_operations = ["list_repos", "create_issue"]
max_requests_per_minute = 1000

[plugins.servers.network_policy]
allowed_domains = ["api.github.com"]
blocked_domains = ["*"]
intercept_tls = true

[plugins.servers.secrets]
GITHUB_TOKEN = {{ from = "{source}", hosts = ["api.github.com"] }}
"""


@dataclass(frozen=True, slots=True)
class Road:
    """A running gateway and the way to it."""

    world: World
    ready: dict[str, Any]
    notes: Path

    def call(self, tool: str, /, plugin: str = "github-handler", **arguments: Any) -> Any:
        """One call of the official client; its result."""
        return self.world.visit(lambda: asyncio.run(self._call(f"{plugin}__{tool}", arguments)))

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        context = ssl.create_default_context(cafile=self.ready["ca_file"])
        token = Path(self.ready["token_file"]).read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            httpx2.AsyncClient(verify=context, headers=headers, timeout=60) as http,
            Client(streamable_http_client(self.ready["url"], http_client=http)) as client,
        ):
            return await client.call_tool(tool, arguments)


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory, walls: None) -> Iterator[Road]:
    """`sekisho up` with the plugin twice: with the right token from a private file, and with a wrong one."""
    file = description()
    with private_world(tmp_path_factory.mktemp("world"), HOST) as world:
        notes = world.folder / "notes.jsonl"
        notes.touch()
        program = (sys.executable, "-I", github_mock.__file__, str(file), str(PORT), TOKEN, str(notes))
        assert world.start("site", *program).line() == {"event": "ready"}
        assert world.start_tls(PORT).line() == {"event": "ready"}
        secret = world.folder / "token"
        secret.touch(0o600)
        secret.write_text(TOKEN + "\n")
        venv = installed(world.folder, "github-plugin")
        config = world.folder / "sekisho.toml"
        entries = [("github-handler", f"file:{secret}"), ("stranger", "env:WRONG_TOKEN")]
        config.write_text(
            _CONFIG + "".join(_ENTRY.format(name=name, venv=venv, source=source) for name, source in entries)
        )
        words = ("up", "--config", str(config), "--trust-on-first-use")
        up = world.sekisho(*words, SEKISHO_HOME=str(world.folder / "home"), WRONG_TOKEN="ghp_" + "0" * 36)
        yield Road(world, up.line(), notes)
        up.stop()


@pytest.fixture(autouse=True)
def described(road: Road) -> Iterator[None]:
    """Whatever a test does, both sides kept to the published description."""
    yield
    assert road.notes.read_text() == ""


def test_repositories_are_listed_as_github_describes_them(road: Road) -> None:
    mine = road.call("list_repos", sort="pushed", per_page=100)
    assert not mine.is_error, mine.content
    assert mine.structured_content["repositories"][0]["name"] == "octocat/Hello-World"
    theirs = road.call("list_repos", owner="octocat", page=2)
    assert theirs.structured_content["page"] == 2
    assert theirs.structured_content["repositories"][0]["url"] == "https://github.com/octocat/Hello-World"


@pytest.mark.requirement("A3.4")
def test_an_issue_is_opened_as_github_describes_it(road: Road) -> None:
    made = road.call(
        "create_issue",
        owner="octocat",
        repo="Hello-World",
        title="Found a bug — 虫",
        body="1. a\n2. b",
        labels=["bug"],
    )
    assert not made.is_error, made.content
    assert made.structured_content == {
        "number": 1347,
        "title": "Found a bug — 虫",
        "state": "open",
        "url": "https://github.com/octocat/Hello-World/issues/1347",
    }


@pytest.mark.parametrize(
    ("repo", "code", "words"),
    [
        ("missing", "not_found", "no such owner or repository"),
        ("forbidden", "permission_refused", "does not let this token"),
        ("archived", "conflict", "switched off"),
        ("invalid", "invalid_parameters", "title (missing_field)"),
    ],
)
def test_every_refusal_of_github_is_a_typed_fault(road: Road, repo: str, code: str, words: str) -> None:
    refused = road.call("create_issue", owner="octocat", repo=repo, title="x")
    assert refused.is_error
    assert refused.content[0].text.startswith(f"[{code}]")
    assert words in refused.content[0].text
    assert refused.meta["dev.sekisho/error"]["code"] == code


def test_a_limit_says_when_to_come_back(road: Road) -> None:
    refused = road.call("create_issue", owner="octocat", repo="limited", title="x")
    facts = refused.meta["dev.sekisho/error"]
    assert facts["code"] == "rate_limited"
    assert 0 < facts["retryAfterSeconds"] <= 1800


def test_a_wrong_token_is_a_refusal(road: Road) -> None:
    refused = road.call("list_repos", plugin="stranger")
    assert refused.content[0].text == "[permission_refused] GitHub does not know this token"


@pytest.mark.requirement("A3.4")
def test_the_token_is_never_inside_the_walls(road: Road) -> None:
    assert not road.call("list_repos").is_error
    found = 0
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            inside = b"sekisho-github" in environ.with_name("cmdline").read_bytes()
            content = environ.read_bytes()
        except OSError:
            continue
        if inside:
            # It compared this with what it found, or it would not have answered.
            found += b"GITHUB_TOKEN=sekisho-secret-" in content and b'{"isolation":"strict",' in content
            assert TOKEN.encode() not in content
    assert found, "no plugin was found running"
    for log in (road.world.folder / "home").rglob("*.jsonl"):
        assert TOKEN.encode() not in log.read_bytes(), log

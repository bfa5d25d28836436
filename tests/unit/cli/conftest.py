"""A command line in a folder of the test's own, typed in process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekisho.cli import main
from sekisho.protocol import plugin_name
from sekisho.registry import Listing, Shelf

NOON = 1_795_262_400.0
CONFIG = """
[core_server]
bind_addr = "127.0.0.1:8080"

[[plugins.servers]]
name = "notes"
command = ["/bin/echo", "hello"]
allowed_operations = ["add"]

[[plugins.servers]]
name = "far"
url = "https://far.example:8443"
"""


@dataclass(frozen=True)
class Answer:
    """What one command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error that `--json` gives on standard error."""
        return json.loads(self.err.splitlines()[-1])["error"]


Type = Callable[..., Answer]


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Type:
    """Type one command line."""

    def run(*words: str) -> Answer:
        status = main(words)
        captured = capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    return run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder and a current folder with a core file."""
    (tmp_path / "sekisho.toml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEKISHO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOGNAME", "aki")
    monkeypatch.delenv("SUDO_USER", raising=False)
    return tmp_path / "home"


@pytest.fixture
def listed(home: Path) -> Callable[[str], str]:
    """Let the plugin `notes` list itself with a description; returns the root."""

    def store(description: str) -> str:
        tool = json.dumps({"name": "add", "description": description, "inputSchema": {"type": "object"}})
        return Shelf(home).store(plugin_name("notes"), Listing(tools=(tool.encode(),)), NOON).root

    return store

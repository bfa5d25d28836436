"""`sandbox plan` prints the walls without raising them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Type = Callable[..., Any]


@pytest.mark.real
@pytest.mark.requirement("A3.2")
def test_the_walls_of_a_plugin_are_printed(typed: Type, home: Path) -> None:
    answer = typed("sandbox", "plan", "notes", "--json")
    assert answer.status == 0
    assert isinstance(answer.json, dict)
    assert "/bin/echo" in answer.out or "/usr/bin/echo" in answer.out
    assert typed("sandbox", "plan", "notes").out


@pytest.mark.real
def test_values_of_passed_variables_are_not_printed(
    typed: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = Path("sekisho.toml").read_text()
    Path("sekisho.toml").write_text(text.replace('["add"]', '["add"]\nenvironment = ["NOTES_TOKEN"]'))
    monkeypatch.setenv("NOTES_TOKEN", "hunter2")
    for answer in (typed("sandbox", "plan", "notes", "--json"), typed("sandbox", "plan", "notes")):
        assert answer.status == 0
        assert "NOTES_TOKEN" in answer.out
        assert "hunter2" not in answer.out


def test_a_plugin_elsewhere_has_its_walls_there(typed: Type, home: Path) -> None:
    answer = typed("sandbox", "plan", "far")
    assert answer.status == 2
    assert "not started by this machine" in answer.err


@pytest.mark.real
@pytest.mark.parametrize(
    ("words", "driver"),
    [
        ('driver = "native"', "native"),
        ('driver = "landlock", isolation = "minimal"', "landlock"),
        ('isolation = "unsafe-none"', "unsafe-none"),
    ],
)
def test_the_walls_of_every_driver_are_printed(typed: Type, home: Path, words: str, driver: Any) -> None:
    from sekisho.sandbox import probe

    if probe(driver).missing:
        pytest.skip("; ".join(probe(driver).missing))
    text = Path("sekisho.toml").read_text()
    Path("sekisho.toml").write_text(text.replace('["add"]', f'["add"]\nsandbox = {{ {words} }}'))
    answer = typed("sandbox", "plan", "notes", "--json")
    assert answer.status == 0, answer.err
    assert answer.json["driver"] == driver
    assert (answer.json["system_call_filter"] == "none") == (driver == "unsafe-none")
    assert driver in typed("sandbox", "plan", "notes").out


def test_a_level_that_the_driver_cannot_give_is_refused_with_what_to_do(typed: Type, home: Path) -> None:
    text = Path("sekisho.toml").read_text()
    Path("sekisho.toml").write_text(text.replace('["add"]', '["add"]\nsandbox = { driver = "landlock" }'))
    answer = typed("sandbox", "plan", "notes")
    assert answer.status == 1
    assert "landlock" in answer.err
    assert "sekisho doctor" in answer.err


PLUGIN_FILE = """
[plugin_server]
name = "notes"
bind_addr = "127.0.0.1:8443"
tls_cert_path = "/c"
tls_key_path = "/k"
core_server_url = "https://core:8080"
"""


@pytest.mark.real
def test_a_plugin_file_has_walls_to_print_too(typed: Type, home: Path) -> None:
    Path("notes.toml").write_text(PLUGIN_FILE + 'command = ["/bin/echo"]\n')
    answer = typed("sandbox", "plan", "notes", "--config", "notes.toml")
    assert answer.status == 0
    assert "/echo" in answer.out
    wrong = typed("sandbox", "plan", "nots", "--config", "notes.toml")
    assert (wrong.status, "this file is about notes" in wrong.err) == (2, True)


def test_a_plugin_file_that_names_nothing_to_run_says_so(typed: Type, home: Path) -> None:
    Path("notes.toml").write_text(PLUGIN_FILE)
    answer = typed("sandbox", "plan", "notes", "--config", "notes.toml")
    assert answer.status == 2
    assert "write command = [...] or package = in its table plugin_server" in answer.err

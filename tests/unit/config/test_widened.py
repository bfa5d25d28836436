"""What an approval covers besides grants and command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.config.load import load_core
from sekisho.registry import grants_digest

BASE = """
[[plugins.servers]]
name = "notes"
command = ["/usr/bin/notes"]
"""


def digest_of(tmp_path: Path, more: str, base: str = BASE) -> tuple[str, tuple[str, ...]]:
    """Of the plugin's permissions, with these lines added; and the words."""
    path = tmp_path / "sekisho.toml"
    path.write_text(base + more, encoding="utf-8")
    grants = load_core(path).plugin("notes").grants
    return grants_digest(grants), grants.widened


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('sandbox.unix_sockets = "always"', "unix_sockets = always"),
        ('sandbox.unix_sockets = "never"', "unix_sockets = never"),
        ('sandbox.uids = ""', "uids = none"),
        ('sandbox.driver = "oci"\nsandbox.image = "localhost/notes:2"', "image = localhost/notes:2"),
        ('sandbox.driver = "oci"\nsandbox.oci_runtime = "crun"', "oci_runtime = crun"),
        ('runtime_paths = ["/opt/notes"]', "runtime_paths = /opt/notes"),
        ('runtime = "deno"', "runtime = deno"),
        ('client_requests = ["elicitation", "sampling"]', "client_requests = sampling"),
        ('trace_context = ["traceparent"]', "trace_context = traceparent"),
    ],
)
def test_what_takes_a_wall_away_or_starts_something_else_needs_a_new_approval(
    tmp_path: Path, more: str, words: str
) -> None:
    plain, nothing = digest_of(tmp_path, "")
    other, told = digest_of(tmp_path, more)
    assert nothing == ()
    assert told == (words,)
    assert other != plain


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("upstream_private = true", "upstream_private = True"),
        ('upstream_headers = { Authorization = "env:OTHER" }', "upstream_headers.Authorization = env:OTHER"),
    ],
)
def test_where_a_server_at_a_url_lies_and_what_it_is_sent_needs_a_new_approval(
    tmp_path: Path, more: str, words: str
) -> None:
    base = BASE.replace('command = ["/usr/bin/notes"]', 'upstream = "https://notes.example.com/mcp"')
    assert digest_of(tmp_path, "", base)[1] == ()
    assert digest_of(tmp_path, more, base)[1] == (words,)


@pytest.mark.parametrize(
    "more",
    [
        'sandbox.unix_sockets = "auto"',
        'sandbox.uids = "700000-765535"',
        "sandbox.max_memory_mb = 1024",
        'sandbox.told_paths = "none"',
        'instances = "client"',
        "client_requests = []",
        'working_directory = "/tmp"',
    ],
)
def test_what_bounds_cost_or_narrows_needs_none(tmp_path: Path, more: str) -> None:
    assert digest_of(tmp_path, more) == digest_of(tmp_path, "")

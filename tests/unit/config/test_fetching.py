from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.fetching import fetched_at_start


@pytest.mark.parametrize(
    ("command", "instead"),
    [
        (["npx", "-y", "@scope/server@latest", "/data"], "npm:@scope/server@VERSION"),
        (["/usr/bin/npx", "server"], "npm:server@VERSION"),
        (["npx", "-p", "@scope/tools@1", "server"], "npm:@scope/tools@VERSION"),
        (["bunx", "server"], "npm:server@VERSION"),
        (["uvx", "mcp-server-git==1.0"], "pypi:mcp-server-git==VERSION"),
        (["uvx", "--python", "3.12", "mcp-server-git@latest"], "pypi:mcp-server-git==VERSION"),
        (["uvx", "--from", "git-tools", "server"], "pypi:git-tools==VERSION"),
        (["pipx", "run", "mcp-server-git"], "pypi:mcp-server-git==VERSION"),
        (["npx"], "npm:NAME@VERSION"),
    ],
)
def test_a_command_that_fetches_is_told_what_to_write_instead(command: list[str], instead: str) -> None:
    assert fetched_at_start(command) == f'package = "{instead}"'


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["/usr/bin/node", "npx"],
        ["npx", "--no-install", "server"],
        ["uvx", "--offline", "mcp-server-git"],
        ["pipx", "list"],
        ["/opt/mcp/bin/mcp-server-git"],
    ],
)
def test_a_command_that_finds_what_it_needs_here_is_left_alone(command: list[str]) -> None:
    assert fetched_at_start(command) is None


@given(st.lists(st.text(max_size=12), max_size=6))
def test_no_command_is_too_odd_to_be_looked_at(words: list[str]) -> None:
    for program in ("npx", "uvx", "pipx"):
        assert fetched_at_start([program, *words]) is None or fetched_at_start([program, *words])

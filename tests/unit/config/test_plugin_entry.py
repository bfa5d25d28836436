"""A row of the table `plugins`: one name, something behind it, nothing allowed unless it is listed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.config import CoreConfig, load_core
from sekisho.errors import Misconfigured

Core = Callable[[str], CoreConfig]


def servers(*entries: str) -> str:
    return "".join(f"[[plugins.servers]]\n{entry}\n" for entry in entries)


def test_both_plugins_of_the_sample_are_there_in_order(samples: Path) -> None:
    config = load_core(samples / "mcp-core-config.toml")
    assert [one.name for one in config.plugins.servers] == ["wordpress-handler", "github-handler"]
    assert config.plugin("github-handler").max_requests_per_minute == 30
    assert not config.plugin("github-handler").runs_here


def test_a_plugin_without_allowed_operations_may_do_nothing(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]')).plugin("a")
    assert entry.allowed_operations == ()
    assert entry.grants.network.is_closed


def test_a_plugin_may_ask_for_forms_and_serves_what_was_approved_unless_told_otherwise(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]')).plugin("a")
    assert entry.client_requests == entry.workload.client_requests == ("elicitation",)
    assert (entry.allowed_prompts, entry.allowed_resources) == (None, None)
    assert entry.extensions == ("io.modelcontextprotocol/ui",)
    narrowed = core(
        servers(
            'name = "a"\ncommand = ["x"]\nclient_requests = ["sampling"]\nallowed_prompts = ["say hello"]\n'
            'allowed_resources = ["note://1", "file:///pub/*"]\nextensions = []'
        )
    ).plugin("a")
    assert narrowed.client_requests == narrowed.workload.client_requests == ("sampling",)
    assert narrowed.allowed_prompts == ("say hello",)
    assert narrowed.allowed_resources == ("note://1", "file:///pub/*")
    assert narrowed.extensions == ()


def test_allowing_no_prompt_differs_from_leaving_the_key_out(core: Core) -> None:
    entry = core(servers('name = "a"\ncommand = ["x"]\nallowed_prompts = []\nallowed_resources = []')).plugin(
        "a"
    )
    assert (entry.allowed_prompts, entry.allowed_resources) == ((), ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (servers('name = "a"'), "names nothing to reach or run"),
        (servers('name = "a"\ncommand = ["x"]\nupstream = "http://127.0.0.1:1/mcp"'), "one of the two"),
        (servers('name = "a"\nurl = "https://a"', 'name = "a"\nurl = "https://b"'), "two plugins named a"),
        (servers('name = "a"\nurl = "https://a"\nrequire_approval = ["delete"]'), "names delete"),
        (servers('name = "a"\nurl = "https://a"\nallowed_operations = ["*"]'), "exact name of a tool"),
        (servers('name = "a"\nurl = "https://a"\nallowed_resources = ["a*b"]'), "its beginning"),
        (servers('name = "a"\nurl = "https://a"\nclient_requests = ["tools"]'), "elicitation"),
        (servers('name = "a"\nurl = "https://a"\nextensions = ["ui"]'), "an identifier such as"),
        (servers('name = "node"\nurl = "https://a"\nsettings = { options = "x" }'), "NODE_OPTIONS"),
    ],
)
@pytest.mark.requirement("A5.2")
def test_what_cannot_be_honoured_is_refused(core: Core, text: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words.replace("*", r"\*")):
        core(text)

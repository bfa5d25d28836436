"""Names of plugins and tools."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured, RemoteProtocolError
from sekisho.protocol import PluginName, ToolName, joined, names, plugin_name, split, split_any, tool_name

plugins = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,15}", fullmatch=True).map(plugin_name)
tools = st.from_regex(r"[A-Za-z0-9_.\-]{1,128}", fullmatch=True).map(tool_name)


@given(plugins, tools)
def test_a_joined_name_splits_into_what_was_joined(plugin: PluginName, tool: ToolName) -> None:
    assert split(joined(plugin, tool)) == (plugin, tool)


@given(st.text(max_size=40))
def test_whatever_splits_joins_to_the_same_text(name: str) -> None:
    parts = split(name)
    assert parts is None or joined(*parts) == name


@given(plugins, tools, plugins, tools)
def test_two_tools_never_share_a_joined_name(a: PluginName, b: ToolName, c: PluginName, d: ToolName) -> None:
    assert (joined(a, b) == joined(c, d)) == ((a, b) == (c, d))


def test_names_without_end_are_split_and_forgotten() -> None:
    for number in range(3 * names.MAX_KNOWN):
        assert split(f"git__tool{number}") == ("git", f"tool{number}")
        assert split(f"git__no tool {number}") is None
    assert len(names._known) <= names.MAX_KNOWN


def test_a_tool_may_hold_the_separator() -> None:
    assert split("git__a__b") == ("git", "a__b")
    assert split("git___x") == ("git", "_x")


@pytest.mark.parametrize(
    "text", ["", "-a", "a-", "a--b", "A", "a_b", "a.b", "a/b", "..", "a" * 33, "é", "a\n", " a", "a\0"]
)
def test_what_is_no_plugin_name_is_misconfigured(text: str) -> None:
    with pytest.raises(Misconfigured):
        plugin_name(text)


@pytest.mark.parametrize("text", ["", "a b", "a/b", "é", "a\n", "a\u202e", "x" * 129, "a\0"])
def test_what_is_no_tool_name_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError):
        tool_name(text)


@pytest.mark.parametrize(
    "text", ["", "git", "__x", "git__", "Git__x", "a_b__x", "git__x y", "a" * 33 + "__x", "-__x"]
)
def test_what_was_not_joined_does_not_split(text: str) -> None:
    assert split(text) is None


@given(plugins, st.text(min_size=1))
def test_a_prompt_of_any_name_is_found_again(plugin: PluginName, name: str) -> None:
    assert split_any(joined(plugin, name)) == (plugin, name)


@pytest.mark.parametrize("text", ["", "git", "__x", "git__", "Git__x", "a_b__x", "a" * 33 + "__x", "-__x"])
def test_a_prompt_of_no_plugin_does_not_split(text: str) -> None:
    assert split_any(text) is None

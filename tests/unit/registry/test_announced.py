"""Only capabilities that the gateway carries come through, in the words of each revision."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.protocol import SUPPORTED
from sekisho.registry.announced import Announced

UI = "io.modelcontextprotocol/ui"
TASKS = "io.modelcontextprotocol/tasks"
EVERYTHING: dict[str, Any] = {
    "tools": {"listChanged": False},
    "prompts": {},
    "resources": {"subscribe": True, "listChanged": False},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}, "requests": {"tools": {"call": {}}}},
    "experimental": {"mine": {}},
    "extensions": {UI: {"mimeTypes": ["text/html"]}, TASKS: {}, "com.example/own": {}},
    "unknown": {},
}


def test_the_newest_revision_is_told_everything_that_is_carried_and_allowed() -> None:
    assert Announced.read(EVERYTHING, {UI}).told("2026-07-28") == {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"subscribe": True, "listChanged": True},
        "completions": {},
        "logging": {},
        "extensions": {UI: {"mimeTypes": ["text/html"]}},
    }


@pytest.mark.parametrize(
    ("version", "lacks"),
    [
        ("2025-11-25", {"extensions"}),
        ("2025-06-18", {"extensions"}),
        ("2025-03-26", {"extensions"}),
        ("2024-11-05", {"extensions", "completions"}),
    ],
)
def test_a_revision_is_not_told_what_it_lacks(version: str, lacks: set[str]) -> None:
    announced = Announced.read(EVERYTHING, {UI})
    assert announced.told("2026-07-28").keys() - announced.told(version).keys() == lacks


def test_tasks_are_told_only_when_the_operator_lists_them() -> None:
    told = Announced.read(EVERYTHING, {UI, TASKS}).told("2026-07-28")
    assert told["extensions"] == {UI: {"mimeTypes": ["text/html"]}, TASKS: {}}
    assert "extensions" not in Announced.read(EVERYTHING, ()).told("2026-07-28")


@pytest.mark.parametrize(
    "capabilities",
    [
        None,
        [],
        "tools",
        {},
        {"prompts": True, "resources": [], "completions": 1, "logging": None, "extensions": []},
        {"extensions": {UI: True}},
    ],
)
def test_what_is_not_announced_as_mcp_says_is_not_announced(capabilities: Any) -> None:
    announced = Announced.read(capabilities, {UI})
    assert announced.told("2026-07-28") == {"tools": {"listChanged": True}}
    assert replace(announced, tools=False) == Announced()


@pytest.mark.parametrize("subscribe", [False, None, 1, "true", {}])
def test_resources_can_be_watched_only_if_the_plugin_says_true(subscribe: Any) -> None:
    announced = Announced.read({"resources": {"subscribe": subscribe}}, ())
    assert announced.told("2025-11-25")["resources"] == {"subscribe": False, "listChanged": True}


def test_the_first_plugins_settings_of_an_extension_stand() -> None:
    first = Announced.read({"extensions": {UI: {"a": 1}}}, {UI})
    second = Announced.read({"extensions": {UI: {"a": 2}}, "logging": {}}, {UI})
    together = Announced.union([first, second])
    assert together == Announced(extensions={UI: {"a": 1}}, logging=True)


VALUES: list[Any] = [{}, {"subscribe": True}, True, None, {UI: {}}]
CAPABILITIES = st.dictionaries(st.sampled_from(sorted(EVERYTHING)), st.sampled_from(VALUES))


@given(st.lists(CAPABILITIES, max_size=4), st.sampled_from(SUPPORTED))
def test_together_they_can_what_one_of_them_can(every: list[dict[str, Any]], version: str) -> None:
    each = [Announced.read(one, {UI}) for one in every]
    together = Announced.union(each)
    told = {name for one in each for name in one.told(version)} | {"tools"}
    assert together.told(version).keys() == told

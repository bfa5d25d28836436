"""Plugins that offer prompts and resources, and a house of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sekisho.gateway import House, Standing
from sekisho.policy import METHODS, AccessPolicy, RateRule, Rule
from sekisho.protocol import PluginName
from sekisho.registry import Definitions, Listing, lock_entry, surface_of

ALL = {
    "tools": {},
    "prompts": {"listChanged": False},
    "resources": {"subscribe": True},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}},
    "experimental": {"x": {}},
    "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html"]}, "io.modelcontextprotocol/tasks": {}},
}  # fmt: skip


def _texts(values: Iterable[dict[str, Any]]) -> tuple[bytes, ...]:
    return tuple(json.dumps(value).encode() for value in values)


def offering(
    plugin: str,
    *,
    tools: Iterable[dict[str, Any]] = (),
    prompts: Iterable[str] = (),
    resources: Iterable[str] = (),
    templates: Iterable[str] = (),
    capabilities: dict[str, Any] | None = None,
    instructions: str | None = None,
    extensions: Iterable[str] = ("io.modelcontextprotocol/ui",),
) -> Definitions:
    """The approved definitions of a plugin."""
    listed = tuple(tools)
    seen = surface_of(
        Listing(
            capabilities=json.dumps(ALL if capabilities is None else capabilities).encode(),
            instructions=instructions,
            tools=_texts(listed),
            prompts=_texts({"name": name, "title": f"T {name}"} for name in prompts),
            resources=_texts({"uri": uri, "name": uri} for uri in resources),
            templates=_texts({"uriTemplate": text, "name": text} for text in templates),
        )
    )
    entry = lock_entry(
        name=PluginName(plugin), argv=(), grants="", surface=seen, approved_by="aya", approved_at="2026-11-21"
    )
    names = [tool["name"] for tool in listed]
    return Definitions.build(entry, seen, names, extensions=frozenset(extensions))


def everything(client: str, plugin: str, *tools: str) -> Rule:
    """These tools, and every approved prompt and resource."""
    return Rule(
        client=client,
        plugin=PluginName(plugin),
        operations=frozenset(tools),
        methods=METHODS,
        prompts=None,
        resources=None,
    )


def house_of(house: House, *offered: Definitions, rules: Iterable[Rule] | None = None) -> House:
    """This house, with these plugins alone; aya may use all of them unless rules say otherwise."""
    standings = {
        one.plugin: Standing(definitions=one, rate=RateRule(per_minute=60), timeout_s=30.0, problem=None)
        for one in offered
    }
    if rules is None:
        rules = [everything("aya", one.plugin, *one.tools) for one in offered]
    return replace(house, standings=standings, access=AccessPolicy(rules))

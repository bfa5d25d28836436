"""What a plugin announces that it can do, reduced to what the gateway can carry.

Guarantees that only capabilities known here come through, whatever the plugin wrote: unknown ones, `experimental` and
the core tasks of 2025-11-25 are left out, and an extension only passes if the operator listed it. Whether the words are
approved is asked elsewhere (`book`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sekisho.protocol.json_text import JsonValue

__all__ = ["Announced"]

_EXTENSIONS_SINCE: Final = "2026-07-28"
_COMPLETIONS_SINCE: Final = "2025-03-26"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """The capabilities of one plugin, or of several together."""

    tools: bool = False
    prompts: bool = False
    resources: bool = False
    subscribe: bool = False
    completions: bool = False
    logging: bool = False
    extensions: Mapping[str, JsonValue] = field(default_factory=dict)

    @classmethod
    def read(cls, capabilities: JsonValue, extensions: Collection[str]) -> Announced:
        """Read a pinned `capabilities` object; `extensions` are those that may be announced."""
        if not isinstance(capabilities, dict):
            return cls()
        resources = capabilities.get("resources")
        listed = capabilities.get("extensions")
        return cls(
            tools=isinstance(capabilities.get("tools"), dict),
            prompts=isinstance(capabilities.get("prompts"), dict),
            resources=isinstance(resources, dict),
            subscribe=isinstance(resources, dict) and resources.get("subscribe") is True,
            completions=isinstance(capabilities.get("completions"), dict),
            logging=isinstance(capabilities.get("logging"), dict),
            extensions={
                name: value
                for name, value in (listed.items() if isinstance(listed, dict) else ())
                if name in extensions and isinstance(value, dict)
            },
        )

    @classmethod
    def union(cls, every: Iterable[Announced]) -> Announced:
        """What at least one of them can do; of an extension's settings the first plugin's stand."""
        each = tuple(every)
        return cls(
            tools=any(one.tools for one in each),
            prompts=any(one.prompts for one in each),
            resources=any(one.resources for one in each),
            subscribe=any(one.subscribe for one in each),
            completions=any(one.completions for one in each),
            logging=any(one.logging for one in each),
            extensions={name: value for one in reversed(each) for name, value in one.extensions.items()},
        )

    def told(self, version: str) -> dict[str, JsonValue]:
        """The `capabilities` object for a client of this revision, which names nothing that the revision lacks.

        `tools` is always there, since a plugin may be approved while the client is connected; that lists change is
        the gateway's own word.
        """
        told: dict[str, JsonValue] = {"tools": {"listChanged": True}}
        if self.prompts:
            told["prompts"] = {"listChanged": True}
        if self.resources:
            told["resources"] = {"subscribe": self.subscribe, "listChanged": True}
        if self.completions and version >= _COMPLETIONS_SINCE:  # revisions are dates: they sort as text
            told["completions"] = {}
        if self.logging:
            told["logging"] = {}
        if self.extensions and version >= _EXTENSIONS_SINCE:
            told["extensions"] = dict(self.extensions)
        return told

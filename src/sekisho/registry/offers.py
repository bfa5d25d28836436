"""Approved prompts, resources and resource templates: what is served of each, and what each admits.

Guarantees:
- what is listed is the pinned object, every field of it; only a prompt has a prefixed form, which differs in `name`
  alone: URIs are never rewritten, so `ui://` and what a result links to stay true;
- a template is used only if it was understood (`protocol.uri_template`), and all templates of a plugin together are
  bounded, so that no URI can make looking for its owner slow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName, joined
from sekisho.protocol.uri_template import UriTemplate
from sekisho.registry.definition import Served
from sekisho.registry.surface import Item, ItemId

__all__ = [
    "PromptArgument",
    "PromptOffer",
    "ResourceOffer",
    "TemplateOffer",
    "compile_prompt",
    "compile_templates",
]

# Of all templates of a plugin together: every URI that nobody lists is held against each of them. About 4 ms at worst.
MAX_TEMPLATES: Final = 512
MAX_TEMPLATE_TEXT: Final = 32 << 10  # characters


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """One argument that a prompt takes."""

    name: str
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOffer:
    """One approved prompt."""

    name: str
    digest: str
    served: Served
    arguments: tuple[PromptArgument, ...]

    def piece(self, *, prefixed: bool) -> bytes:
        """What a list holds of it."""
        return self.served.prefixed if prefixed else self.served.bare

    def check_arguments(self, arguments: Mapping[str, JsonValue]) -> None:
        """Raise Refused (`arguments_invalid`) unless every argument is a text and the required ones are there."""
        if not all(isinstance(value, str) for value in arguments.values()):
            raise Refused("arguments_invalid", "the arguments of a prompt are texts")
        absent = sum(one.required and one.name not in arguments for one in self.arguments)
        if absent:
            raise Refused("arguments_invalid", f"{absent} required arguments of this prompt are absent")


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceOffer:
    """One approved resource."""

    uri: str
    digest: str
    bare: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateOffer:
    """One approved resource template."""

    template: UriTemplate
    digest: str
    bare: bytes


def compile_prompt(plugin: PluginName, item: Item) -> PromptOffer:
    """A listed prompt; raises RemoteProtocolError (`plugin_protocol`) when its arguments cannot be told."""
    value = item.value()
    if not isinstance(value, dict):
        raise RemoteProtocolError("plugin_protocol", "the prompt is not an object")
    listed = value.get("arguments")
    if listed is not None and not isinstance(listed, list):
        raise RemoteProtocolError("plugin_protocol", "the arguments of the prompt are not a list")
    return PromptOffer(
        name=item.id.name,
        digest=item.digest,
        served=Served(item.text, msgspec.json.encode({**value, "name": joined(plugin, item.id.name)})),
        arguments=tuple(_argument(one) for one in listed or ()),
    )


def compile_templates(items: Iterable[Item]) -> tuple[dict[str, TemplateOffer], dict[ItemId, str]]:
    """Listed templates, and for those that cannot be used the reason."""
    offers: dict[str, TemplateOffer] = {}
    unusable: dict[ItemId, str] = {}
    room = MAX_TEMPLATE_TEXT
    for item in items:
        text = item.id.name
        if len(text) > room or len(offers) >= MAX_TEMPLATES:
            unusable[item.id] = "the plugin has more templates than are looked through"
            continue
        try:
            offers[text] = TemplateOffer(template=UriTemplate.parse(text), digest=item.digest, bare=item.text)
        except RemoteProtocolError as error:
            unusable[item.id] = error.message
            continue
        room -= len(text)
    return offers, unusable


def _argument(value: JsonValue) -> PromptArgument:
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(name, str) or not name:
        raise RemoteProtocolError("plugin_protocol", "an argument of the prompt has no name")
    return PromptArgument(name, value.get("required") is True)

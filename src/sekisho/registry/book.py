"""What the gateway serves and checks of one plugin: approved definitions, compiled once.

Guarantees:
- built only from a surface whose root and digests equal the locked ones, so nothing unapproved is ever
  listed, announced or looked up;
- lists are made from the pinned objects beforehand; only `name` differs in the prefixed form;
- what cannot be used (a schema that may not judge calls, a template nobody can read) is neither listed nor
  found: it is in `unusable` or `left_out`, with the reason.

It does not decide who may call (`policy.access`) and never asks the plugin.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.client_values import JsonObject
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.names import PluginName, ToolName
from sekisho.protocol.param_headers import HeaderPlan
from sekisho.protocol.uri_template import UriText
from sekisho.registry.announced import Announced
from sekisho.registry.definition import Definition, compile_tool
from sekisho.registry.lock import LockedPlugin
from sekisho.registry.offers import (
    PromptOffer,
    ResourceOffer,
    TemplateOffer,
    compile_prompt,
    compile_templates,
)
from sekisho.registry.surface import Item, ItemId, ItemKind, Surface

__all__ = ["Definitions", "tools_array", "tools_result"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """What is approved of one plugin, each kind in the plugin's own order; of tools, the allowed ones."""

    plugin: PluginName
    root: str
    tools: dict[ToolName, Definition]
    unusable: Mapping[ToolName, str]
    listing: bytes
    header_plans: Mapping[ToolName, HeaderPlan] = field(default_factory=dict)
    """Of the tools that want arguments repeated in headers."""
    prompts: Mapping[str, PromptOffer] = field(default_factory=dict)
    resources: Mapping[str, ResourceOffer] = field(default_factory=dict)
    templates: Mapping[str, TemplateOffer] = field(default_factory=dict)
    left_out: Mapping[ItemId, str] = field(default_factory=dict)
    announced: Announced = field(default_factory=Announced)
    instructions: str | None = None

    @classmethod
    def build(
        cls,
        locked: LockedPlugin,
        surface: Surface,
        allowed: Iterable[str],
        *,
        extensions: Collection[str] = (),
    ) -> Definitions:
        """Compile what is approved; of the tools only those that are allowed too.

        Args:
            extensions: the extensions of MCP that this plugin may announce.

        Raises:
            Refused: `definition_changed`, when the surface is not the locked one.
        """
        if surface.root != locked.root or surface.digests() != locked.items:
            raise Refused("definition_changed", f"{locked.name} no longer says what was approved")
        tools, unusable = _tools(locked.name, surface, frozenset(allowed))
        prompts, left_out = _prompts(locked.name, surface)
        templates, unread = compile_templates(surface.of_kind(ItemKind.TEMPLATE))
        instructions = _value(surface, ItemKind.INSTRUCTIONS, "text")
        return cls(
            plugin=locked.name,
            root=surface.root,
            tools=tools,
            unusable=unusable,
            listing=tools_result(definition.bare for definition in tools.values()),
            header_plans={tool: one.headers for tool, one in tools.items() if one.headers},
            prompts=prompts,
            resources={item.id.name: _resource(item) for item in surface.of_kind(ItemKind.RESOURCE)},
            templates=templates,
            left_out={**left_out, **unread},
            announced=Announced.read(_value(surface, ItemKind.SERVER, "capabilities"), extensions),
            instructions=instructions if isinstance(instructions, str) else None,
        )

    def get(self, tool: str) -> Definition:
        """The definition of a tool that may be called.

        Raises:
            RemoteProtocolError: `plugin_protocol`, the tool is approved but its schema may not judge calls.
            Refused: `tool_unknown`, there is no such approved and allowed tool.
        """
        name = ToolName(tool)
        definition = self.tools.get(name)
        if definition is not None:
            return definition
        if name in self.unusable:
            raise RemoteProtocolError("plugin_protocol", f"this tool cannot be called: {self.unusable[name]}")
        raise Refused("tool_unknown", f"{self.plugin} has no such approved tool")

    def offers(self, uri: str) -> bool:
        """True when this URI is an approved resource, or one that an approved template makes."""
        return uri in self.resources or self.makes(UriText(uri))

    def makes(self, uri: UriText) -> bool:
        """True when an approved template makes this URI."""
        return any(offer.template.matches(uri) for offer in self.templates.values())

    def completes(self, params: JsonObject) -> bool:
        """True when the `ref` of a completion names an approved prompt or template, and the plugin completes any."""
        ref = params.get("ref")
        if not self.announced.completions or not isinstance(ref, dict):
            return False
        match ref:
            case {"type": "ref/prompt", "name": str() as name}:
                return name in self.prompts
            case {"type": "ref/resource", "uri": str() as uri}:
                return uri in self.templates or uri in self.resources
        return False

    def pieces(
        self, operations: frozenset[str] | None = None, *, prefixed: bool, modern: bool = True
    ) -> tuple[bytes, ...]:
        """The tool objects to list, for a subset of operations (None: all), bare or with prefixed names."""
        return tuple(
            definition.piece(prefixed=prefixed, modern=modern)
            for tool, definition in self.tools.items()
            if operations is None or tool in operations
        )


def tools_array(pieces: Iterable[bytes]) -> bytes:
    """Join prebuilt tool objects, of one plugin or many, into one JSON array."""
    return b"[" + b",".join(pieces) + b"]"


def tools_result(pieces: Iterable[bytes]) -> bytes:
    """A whole legacy `tools/list` result; the gateway adds what newer revisions want around `tools_array`."""
    return b'{"tools":' + tools_array(pieces) + b"}"


def _tools(
    plugin: PluginName, surface: Surface, allowed: frozenset[str]
) -> tuple[dict[ToolName, Definition], dict[ToolName, str]]:
    tools: dict[ToolName, Definition] = {}
    unusable: dict[ToolName, str] = {}
    for item in surface.of_kind(ItemKind.TOOL):
        if item.id.name not in allowed:
            continue
        try:
            tools[ToolName(item.id.name)] = compile_tool(plugin, item)
        except RemoteProtocolError as error:
            unusable[ToolName(item.id.name)] = error.message
    return tools, unusable


def _prompts(plugin: PluginName, surface: Surface) -> tuple[dict[str, PromptOffer], dict[ItemId, str]]:
    prompts: dict[str, PromptOffer] = {}
    left_out: dict[ItemId, str] = {}
    for item in surface.of_kind(ItemKind.PROMPT):
        try:
            prompts[item.id.name] = compile_prompt(plugin, item)
        except RemoteProtocolError as error:
            left_out[item.id] = error.message
    return prompts, left_out


def _resource(item: Item) -> ResourceOffer:
    return ResourceOffer(uri=item.id.name, digest=item.digest, bare=item.text)


def _value(surface: Surface, kind: ItemKind, name: str) -> JsonValue:
    item = surface.items.get(ItemId(kind, name))
    return None if item is None else item.value()

"""What a plugin says about itself, turned into values that can be pinned.

Guarantees:
- every listed thing (tool, prompt, resource, template, instructions, server facts) becomes one `Item` whose
  digest covers the RFC 8785 form of the whole object: every field, unknown ones and `_meta` included;
- what is served later (`Item.text`) is written again from the value that was digested, so pin, reviewer and
  model cannot see three different readings of the same bytes;
- where the plugin is a package, the digest of the tree it runs from is an item too: other files are another surface;
- two things of the same kind and name, an invalid tool name, a duplicate key, a number that RFC 8785 cannot
  write: refused here, before anything is pinned;
- the root of a surface commits to the set of item digests; kind and name are part of each commitment.

Judgement only. It does not know whether a surface is approved (`drift`), where it is kept (`shelf`) or
whether a schema can be compiled (`schema`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from sekisho.errors import Refused, RemoteProtocolError
from sekisho.protocol.canonical import canonical_bytes, digest
from sekisho.protocol.json_text import JsonLimits, JsonValue, parse_strict
from sekisho.protocol.names import tool_name

__all__ = [
    "PACKAGE",
    "Item",
    "ItemId",
    "ItemKind",
    "Listing",
    "Surface",
    "listing_from_json",
    "listing_to_json",
    "parse_stored",
    "root_of",
    "surface_of",
]

MAX_ITEMS: Final = 4096  # a plugin must not make the core hash and hold an endless listing
MAX_ITEM_BYTES: Final = 1 << 20  # one definition; the longest seen in public servers is below 64 KiB
MAX_NAME_CHARS: Final = 2048  # resource URIs are names too; longer ones only make the lock file unreadable
MAX_SURFACE_BYTES: Final = 32 << 20  # the whole stored listing
_ITEM_LIMITS: Final = JsonLimits(max_bytes=MAX_ITEM_BYTES, max_depth=64)
_SURFACE_LIMITS: Final = JsonLimits(max_bytes=MAX_SURFACE_BYTES, max_depth=70, max_members=4_000_000)


class ItemKind(StrEnum):
    """The closed set of things a surface consists of."""

    TOOL = "tool"
    PROMPT = "prompt"
    RESOURCE = "resource"
    TEMPLATE = "template"
    INSTRUCTIONS = "instructions"
    SERVER = "server"


class ItemId(NamedTuple):
    """Kind and name together identify an item of one plugin."""

    kind: ItemKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value} {self.name}"


PACKAGE: Final = ItemId(ItemKind.SERVER, "package")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One complete listing of a plugin, as raw JSON texts; nothing in it is trusted or checked yet.

    `tree`: the digest of the package it runs from, or nothing; the plugin server says it, the plugin cannot.
    """

    server_info: bytes = b"{}"
    capabilities: bytes = b"{}"
    instructions: str | None = None
    tools: tuple[bytes, ...] = ()
    prompts: tuple[bytes, ...] = ()
    resources: tuple[bytes, ...] = ()
    templates: tuple[bytes, ...] = ()
    tree: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One definition: `text` is what is served, `digest` is of its canonical bytes, and pinned."""

    id: ItemId
    text: bytes
    digest: str

    def value(self) -> JsonValue:
        """The definition as a JSON value; the caller may change its copy."""
        value: JsonValue = msgspec.json.decode(self.text)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Everything a plugin says about itself; `items` are sorted, `listed` keeps the plugin's own order."""

    items: Mapping[ItemId, Item]
    listed: tuple[ItemId, ...]
    root: str

    def of_kind(self, kind: ItemKind) -> tuple[Item, ...]:
        """The items of one kind, in the plugin's own order."""
        return tuple(self.items[key] for key in self.listed if key.kind is kind)

    def digests(self) -> dict[ItemId, str]:
        """One digest per item, sorted."""
        return {key: item.digest for key, item in self.items.items()}


# How each listed kind is named in its own object (MCP 2025-11-25, server/tools, prompts, resources).
_NAME_FIELD: Final = {
    ItemKind.TOOL: "name",
    ItemKind.PROMPT: "name",
    ItemKind.RESOURCE: "uri",
    ItemKind.TEMPLATE: "uriTemplate",
}


def surface_of(listing: Listing) -> Surface:
    """Read a listing strictly and give the surface to pin.

    Raises:
        RemoteProtocolError: anything in the listing is not a well-formed, uniquely named, canonicalisable
        object.
    """
    items = [
        _item(ItemId(ItemKind.SERVER, "info"), _object(listing.server_info, "serverInfo")),
        _item(ItemId(ItemKind.SERVER, "capabilities"), _object(listing.capabilities, "capabilities")),
    ]
    if listing.tree:
        items.append(_item(PACKAGE, {"tree": listing.tree}))
    if listing.instructions is not None:
        items.append(_item(ItemId(ItemKind.INSTRUCTIONS, "text"), listing.instructions))
    for kind, texts in _listed(listing):
        if len(texts) + len(items) > MAX_ITEMS:
            raise RemoteProtocolError(
                "plugin_protocol", f"the plugin lists more than {MAX_ITEMS} definitions"
            )
        items.extend(_named(kind, text) for text in texts)
    by_id: dict[ItemId, Item] = {}
    for item in items:
        if item.id in by_id:
            raise _unusable(f"a {item.id.kind.value} name twice")
        by_id[item.id] = item
    ordered = {key: by_id[key] for key in sorted(by_id)}
    return Surface(
        items=ordered,
        listed=tuple(item.id for item in items),
        root=root_of({key: item.digest for key, item in ordered.items()}),
    )


def root_of(digests: Mapping[ItemId, str]) -> str:
    """One digest over a whole set of item digests; order of the mapping does not matter."""
    entries: list[JsonValue] = [
        [key.kind.value, key.name, value] for key, value in sorted(digests.items(), key=lambda pair: pair[0])
    ]
    return digest("sekisho/surface/1", canonical_bytes(entries))


def listing_to_json(listing: Listing) -> dict[str, JsonValue]:
    """The listing as one JSON object, for keeping."""
    kept: dict[str, JsonValue] = {
        "serverInfo": _object(listing.server_info, "serverInfo"),
        "capabilities": _object(listing.capabilities, "capabilities"),
        "instructions": listing.instructions,
    }
    if listing.tree:
        kept["tree"] = listing.tree
    for kind, texts in _listed(listing):
        kept[f"{kind.value}s"] = [_object(text, kind.value) for text in texts]
    return kept


def listing_from_json(value: JsonValue) -> Listing:
    """The inverse of `listing_to_json`; raises RemoteProtocolError for anything else."""
    match value:
        case {
            "serverInfo": dict() as server_info,
            "capabilities": dict() as capabilities,
            "instructions": None | str() as instructions,
            "tools": list() as tools,
            "prompts": list() as prompts,
            "resources": list() as resources,
            "templates": list() as templates,
            **rest,
        } if not rest.keys() - {"tree"} and isinstance(tree := rest.get("tree", ""), str):
            return Listing(
                server_info=msgspec.json.encode(server_info),
                capabilities=msgspec.json.encode(capabilities),
                instructions=instructions,
                tools=_encoded(tools),
                prompts=_encoded(prompts),
                resources=_encoded(resources),
                templates=_encoded(templates),
                tree=tree,
            )
    raise RemoteProtocolError("plugin_protocol", "this is not a stored listing")


def parse_stored(data: bytes) -> JsonValue:
    """Strictly parse a file that holds a listing."""
    return parse_strict(data, _SURFACE_LIMITS)


def _encoded(values: Iterable[JsonValue]) -> tuple[bytes, ...]:
    return tuple(msgspec.json.encode(value) for value in values)


def _listed(listing: Listing) -> tuple[tuple[ItemKind, tuple[bytes, ...]], ...]:
    return (
        (ItemKind.TOOL, listing.tools),
        (ItemKind.PROMPT, listing.prompts),
        (ItemKind.RESOURCE, listing.resources),
        (ItemKind.TEMPLATE, listing.templates),
    )


def _object(text: bytes, what: str) -> dict[str, JsonValue]:
    try:
        value = parse_strict(text, _ITEM_LIMITS)
    except Refused as error:
        raise _unusable(f"a {what} that is too large") from error
    if not isinstance(value, dict):
        raise _unusable(f"a {what} that is not an object")
    return value


def _named(kind: ItemKind, text: bytes) -> Item:
    value = _object(text, kind.value)
    name = value.get(_NAME_FIELD[kind])
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARS:
        raise _unusable(f"a {kind.value} without a usable {_NAME_FIELD[kind]}")
    if kind is ItemKind.TOOL:
        _check_tool_name(name)
    return _item(ItemId(kind, name), value)


def _check_tool_name(name: str) -> None:
    try:
        tool_name(name)
    except RemoteProtocolError as error:
        raise _unusable("a tool whose name MCP forbids") from error


def _unusable(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the plugin lists {what}")


def _item(key: ItemId, value: JsonValue) -> Item:
    canonical = canonical_bytes(value)
    return Item(id=key, text=msgspec.json.encode(value), digest=_item_digest(key, canonical))


def _item_digest(key: ItemId, canonical: bytes) -> str:
    """Two hash families over one preimage, so that one broken family does not break the pins."""
    domain = f"sekisho/item/1/{key.kind.value}"
    named = canonical_bytes(key.name) + b"\n" + canonical
    label = domain.encode("ascii")
    wide = hashlib.sha512(bytes((len(label),)) + label + named)  # the same preimage as `digest`
    return f"{digest(domain, named)} sha512:{wide.hexdigest()}"

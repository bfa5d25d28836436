"""Definitions, pins and the lock file: what a plugin says, what was approved, and whether they agree."""

from sekisho.registry.announced import Announced
from sekisho.registry.book import Definitions, tools_array, tools_result
from sekisho.registry.definition import Definition
from sekisho.registry.drift import Drift, DriftState, compare, grants_digest
from sekisho.registry.lock import (
    LockedPlugin,
    LockFile,
    load_lock,
    lock_entry,
    parse_lock,
    render_lock,
    save_lock,
    update_lock,
)
from sekisho.registry.offers import PromptArgument, PromptOffer, ResourceOffer, TemplateOffer
from sekisho.registry.review import ReviewedItem, ReviewPage, render
from sekisho.registry.schema import CompiledSchema, compile_schema
from sekisho.registry.shelf import Shelf, Shelved
from sekisho.registry.surface import Item, ItemId, ItemKind, Listing, Surface, root_of, surface_of

__all__ = [
    "Announced",
    "CompiledSchema",
    "Definition",
    "Definitions",
    "Drift",
    "DriftState",
    "Item",
    "ItemId",
    "ItemKind",
    "Listing",
    "LockFile",
    "LockedPlugin",
    "PromptArgument",
    "PromptOffer",
    "ResourceOffer",
    "ReviewPage",
    "ReviewedItem",
    "Shelf",
    "Shelved",
    "Surface",
    "TemplateOffer",
    "compare",
    "compile_schema",
    "grants_digest",
    "load_lock",
    "lock_entry",
    "parse_lock",
    "render",
    "render_lock",
    "root_of",
    "save_lock",
    "surface_of",
    "tools_array",
    "tools_result",
    "update_lock",
]

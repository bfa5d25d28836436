"""How much work can a schema make of one value?

References let a small schema ask for 2^n evaluations, which would stop the core's only loop. This page
counts, before any value is seen, how many sub-schemas can be tried along one path from the root of a value
to one of its leaves, for each depth of that path. The count is an upper bound: branches are never assumed
to be skipped, but sub-schemas of different property names (or of objects and arrays) cannot meet in the
same place, so ordinary recursive schemas (trees, nested filters, any JSON value) grow by a constant per
level and stay affordable.

Judgement only; it trusts that `schema` has checked size, depth and references.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from urllib.parse import unquote

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.json_text import JsonValue

__all__ = ["MAX_VALUE_DEPTH", "Cost", "cost_of"]

MAX_VALUE_DEPTH: Final = 64  # as deep as a message may be
MAX_EVALUATIONS: Final = 10_000  # along one path into a value
MAX_EXPANSION: Final = 50_000  # sub-schemas met while following references in place: 2^n and circles end here

# Where a keyword applies its sub-schemas (JSON Schema 2020-12 core section 10, and the draft-07 spellings).
_SAME_ONE: Final = ("not", "if", "then", "else")
_SAME_LIST: Final = ("allOf", "anyOf", "oneOf")
_SAME_MAP: Final = ("dependentSchemas", "dependencies")
_ANY_MEMBER: Final = ("additionalProperties", "unevaluatedProperties", "propertyNames")
_ANY_ELEMENT: Final = ("items", "additionalItems", "contains", "unevaluatedItems")
_UNEVALUATED: Final = ("unevaluatedProperties", "unevaluatedItems")

_Schema: TypeAlias = "dict[str, JsonValue]"
_Step: TypeAlias = "tuple[str, str | int]"  # ("member", name) or ("element", index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """A value may be `max_depth` deep, and then each path into it costs at most `evaluations`."""

    max_depth: int
    evaluations: int


@dataclass(slots=True)
class _Place:
    """All sub-schemas that apply to one place of a value, and where they lead."""

    here: int = 0
    members: list[_Schema] = field(default_factory=list)
    elements: list[_Schema] = field(default_factory=list)
    named: defaultdict[_Step, list[_Schema]] = field(default_factory=lambda: defaultdict(list))

    def targets(self) -> Iterator[_Schema]:
        yield from self.members
        yield from self.elements
        for schemas in self.named.values():
            yield from schemas


def cost_of(schema: _Schema) -> Cost:
    """Count the work.

    Raises:
        RemoteProtocolError: references multiply or go round in circles without entering the value.
    """
    places = _places(schema)
    costs = {key: place.here for key, place in places.items()}
    root = id(schema)
    for depth in range(1, MAX_VALUE_DEPTH + 1):
        deeper = {key: place.here + _deepest(place, costs) for key, place in places.items()}
        if deeper[root] > MAX_EVALUATIONS:
            return Cost(max_depth=depth - 1, evaluations=costs[root])
        if deeper == costs:
            break
        costs = deeper
    return Cost(max_depth=MAX_VALUE_DEPTH, evaluations=costs[root])


def _deepest(place: _Place, costs: dict[int, int]) -> int:
    def total(schemas: Iterable[_Schema]) -> int:
        return min(sum(costs[id(schema)] for schema in schemas), 2 * MAX_EVALUATIONS)

    everywhere = {"member": total(place.members), "element": total(place.elements)}
    named = (everywhere[step[0]] + total(schemas) for step, schemas in place.named.items())
    return max(*everywhere.values(), max(named, default=0))


def _places(root: _Schema) -> dict[int, _Place]:
    anchors = _anchors(root)
    places: dict[int, _Place] = {}
    waiting, met = [root], 0
    while waiting:
        start = waiting.pop()
        if id(start) in places:
            continue
        place = places[id(start)] = _Place()
        unevaluated, same = 1, [start]
        while same:
            node = same.pop()
            met += 1
            if met > MAX_EXPANSION:
                raise _unusable("lets references multiply")
            place.here += 1
            unevaluated += sum(word in node for word in _UNEVALUATED)  # each looks at its siblings once more
            same.extend(_in_place(node, root, anchors))
            _enter(node, place)
        place.here *= unevaluated
        waiting.extend(place.targets())
    return places


def _in_place(node: _Schema, root: _Schema, anchors: dict[str, _Schema]) -> Iterator[_Schema]:
    reference = node.get("$ref")
    if isinstance(reference, str):
        yield from _schemas(_target(reference, root, anchors))
    for word in _SAME_ONE:
        yield from _schemas(node.get(word))
    for word in _SAME_LIST:
        yield from _schemas_in(node.get(word))
    for word in _SAME_MAP:
        yield from _schemas_in(node.get(word))


def _enter(node: _Schema, place: _Place) -> None:
    """Note where the value is entered: by any member, any element, a named property, a numbered element."""
    for word in _ANY_MEMBER:
        place.members.extend(_schemas(node.get(word)))
    place.members.extend(_schemas_in(node.get("patternProperties")))
    for word in _ANY_ELEMENT:
        place.elements.extend(_schemas(node.get(word)))
    properties = node.get("properties")
    for name, schema in properties.items() if isinstance(properties, dict) else ():
        place.named["member", name].extend(_schemas(schema))
    for word in ("prefixItems", "items"):  # a list under "items" is draft-07's prefixItems
        prefix = node.get(word)
        for index, schema in enumerate(prefix if isinstance(prefix, list) else ()):
            place.named["element", index].extend(_schemas(schema))


def _schemas(value: JsonValue) -> Iterator[_Schema]:
    if isinstance(value, dict):
        yield value


def _schemas_in(value: JsonValue) -> Iterator[_Schema]:
    members: Iterable[JsonValue] = ()
    if isinstance(value, dict):
        members = value.values()
    elif isinstance(value, list):
        members = value
    for member in members:
        yield from _schemas(member)


def _anchors(root: _Schema) -> dict[str, _Schema]:
    found: dict[str, _Schema] = {}
    waiting: list[JsonValue] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            # draft-07 wrote an anchor as an $id of only a fragment
            for anchor in (node.get("$anchor"), str(node.get("$id", "")).removeprefix("#")):
                if isinstance(anchor, str) and anchor:
                    found[anchor] = node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return found


def _target(reference: str, root: _Schema, anchors: dict[str, _Schema]) -> JsonValue:
    fragment = unquote(reference.removeprefix("#"))
    if fragment and not fragment.startswith("/"):
        if fragment not in anchors:
            raise _unusable("refers to a name it does not have")
        return anchors[fragment]
    node: JsonValue = root
    for step in fragment.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and name in node:
            node = node[name]
        elif isinstance(node, list) and name.isascii() and name.isdigit() and int(name[:9]) < len(node):
            node = node[int(name[:9])]
        else:
            raise _unusable("refers to a place it does not have")
    return node


def _unusable(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the schema {why}")

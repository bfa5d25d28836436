"""May this JSON Schema be used to judge calls, and does a value fit it?

A schema comes from the plugin, so it is hostile input to the core. Guarantees:
- nothing is fetched: only references that start with `#` are accepted, and the compiler is told to stay
  offline;
- size, depth and the number of parts are bounded; patterns run on an automaton, and only those that need
  look-around on a backtracker with a small budget, whose end counts as "does not fit";
- work is bounded before it is done (`schema_cost`): a value too deep or too large for its schema is refused;
- a refusal names the place and the keyword, never the value and never a key that the caller invented.

What JSON Schema leaves open stays open: without `additionalProperties: false`, unknown arguments are allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import jsonschema_rs

from sekisho.detect.hidden import visible
from sekisho.errors import RemoteProtocolError
from sekisho.protocol.json_text import JsonValue
from sekisho.registry.schema_cost import MAX_VALUE_DEPTH, Cost, cost_of

__all__ = ["CompiledSchema", "compile_schema"]

MAX_SCHEMA_PARTS: Final = 20_000  # every value inside the schema; public servers stay below 2,000
MAX_SCHEMA_DEPTH: Final = 48  # the compiler recurses
MAX_WORK: Final = 50_000_000  # evaluations for one value: about a second at worst
MAX_REGEX_BYTES: Final = 1 << 20  # one compiled pattern
MAX_BACKTRACKS: Final = 10_000  # per match; about half a millisecond
BACKTRACK_WEIGHT: Final = 100  # how much dearer an evaluation may be when a pattern backtracks
MAX_REPORTED: Final = 3  # problems named in one refusal
_UNSUPPORTED: Final = ("$dynamicRef", "$recursiveRef")  # their target depends on who asks; no tool needs them


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledSchema:
    """A schema that may judge values, what it costs, and the names it speaks of itself."""

    validator: jsonschema_rs.Validator
    cost: Cost
    known_names: frozenset[str]

    def problems(self, value: JsonValue, size: int) -> tuple[str, ...]:
        """What does not fit, without any content of the value; empty when everything does.

        Args:
            size: the length of the value's JSON text in bytes.
        """
        cost = self.cost
        if cost.max_depth < MAX_VALUE_DEPTH and not _is_within(value, cost.max_depth):
            return ("nested too deeply for this schema",)
        # a text of n bytes holds at most n values; they are counted only when that bound is not enough
        if size * cost.evaluations > MAX_WORK and _count(value) * cost.evaluations > MAX_WORK:
            return ("too large for this schema",)
        if self.validator.is_valid(value):
            return ()
        errors = islice(self.validator.iter_errors(value), MAX_REPORTED)
        return tuple(dict.fromkeys(self._told(error) for error in errors))

    def _told(self, error: jsonschema_rs.ValidationError) -> str:
        place = "".join(f"/{self._shown(step)}" for step in error.instance_path) or "/"
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
            return f"{place}: required {self._shown(error.kind.property)}"
        return f"{place}: {error.kind.name}"

    def _shown(self, step: str | int) -> str:
        if isinstance(step, int):
            return str(step)
        return visible(step) if step in self.known_names else "*"  # the caller's own word is not repeated


def compile_schema(schema: JsonValue) -> CompiledSchema:
    """Check and compile a schema.

    Raises:
        RemoteProtocolError: `plugin_protocol`, when the schema may not judge calls; the message says why.
    """
    if not isinstance(schema, dict):
        raise _unusable("is not an object")
    _check_bounds(schema)
    _check_references(schema)
    cost = cost_of(schema)
    try:
        validator = _compiled(schema, jsonschema_rs.RegexOptions(size_limit=MAX_REGEX_BYTES))
    except RemoteProtocolError:
        # look-around needs the other engine; zod, which writes many servers' schemas, uses it for e-mail
        fancy = jsonschema_rs.FancyRegexOptions(backtrack_limit=MAX_BACKTRACKS, size_limit=MAX_REGEX_BYTES)
        validator = _compiled(schema, fancy)
        cost = replace(cost, evaluations=cost.evaluations * BACKTRACK_WEIGHT)
    return CompiledSchema(validator=validator, cost=cost, known_names=frozenset(_names(schema)))


def _compiled(
    schema: dict[str, JsonValue], patterns: jsonschema_rs.RegexOptions | jsonschema_rs.FancyRegexOptions
) -> jsonschema_rs.Validator:
    try:
        return jsonschema_rs.validator_for(schema, offline=True, pattern_options=patterns)
    except ValueError as error:  # jsonschema_rs: ValidationError and ReferencingError alike
        raise _unusable("does not compile as JSON Schema") from error


def _unusable(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the schema {why}")


def _check_bounds(schema: JsonValue) -> None:
    if _count(schema) > MAX_SCHEMA_PARTS:
        raise _unusable(f"has more than {MAX_SCHEMA_PARTS} parts")
    if not _is_within(schema, MAX_SCHEMA_DEPTH):
        raise _unusable(f"is nested deeper than {MAX_SCHEMA_DEPTH}")


def _check_references(schema: JsonValue) -> None:
    """Refuse references that leave the document, and what makes `#` mean something else than the document."""
    objects = [node for node in _everything(schema) if isinstance(node, dict)]
    references = [node["$ref"] for node in objects if isinstance(node.get("$ref"), str)]
    if not all(str(reference).startswith("#") for reference in references):
        raise _unusable("refers to something outside itself")
    if any(isinstance(node.get(word), str) for node in objects for word in _UNSUPPORTED):
        raise _unusable("uses a dynamic reference")
    inner_ids = [node["$id"] for node in objects[1:] if isinstance(node.get("$id"), str)]
    if references and not all(str(name).startswith("#") for name in inner_ids):
        raise _unusable("has references and an inner $id")


def _names(schema: JsonValue) -> Iterator[str]:
    for node in _everything(schema):
        if not isinstance(node, dict):
            continue
        for word in ("properties", "required"):
            named = node.get(word)
            if isinstance(named, dict | list):
                yield from (name for name in named if isinstance(name, str))


def _everything(root: JsonValue) -> Iterator[JsonValue]:
    """Every value inside, the root first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(_members(node))


def _members(node: JsonValue) -> Iterable[JsonValue]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _count(value: JsonValue) -> int:
    return sum(1 for _ in _everything(value))


def _is_within(value: JsonValue, depth: int) -> bool:
    """True when containers are nested at most `depth` deep; a bare scalar is 0 deep."""
    level: list[JsonValue] = [value]
    for _ in range(depth + 1):
        level = [child for node in level if isinstance(node, dict | list) for child in _members(node)]
        if not level:
            return True
    return False

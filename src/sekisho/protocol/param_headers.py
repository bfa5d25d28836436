"""Arguments that a tool wants repeated as HTTP headers (`x-mcp-header`, MCP 2026-07-28, transports, custom headers).

A proxy may route or decide on such a header, so it must say what the body says. Guarantees
- `compile` refuses a schema with any annotation that two readers could understand differently: on anything but a
  string, integer or boolean property that is reached from the root by `properties` alone, with a name that is no HTTP
  token, or with one name twice (letter case does not count). A `number` is refused too: a double has many spellings;
- the header is there exactly if the argument is there and not null, and its value has one form;
- whole numbers compare as numbers, with every digit, so `42` and `42.0` are one value and 2**53 + 1 is not 2**53.

Never follows `$ref` and never takes data (`default`, `enum`, `const`, `examples`) for a schema. Judgement only; header
names given to `mismatch` are lower-case, and nobody can say one twice (`http_head` refuses that).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.json_text import JsonValue
from sekisho.protocol.ladder import decode_header, encode_header

__all__ = ["HeaderPlan", "ParamHeader", "compile_headers"]

MAX_PARAM_HEADERS: Final = 64  # a head holds 100 lines, and a tool must not need more than it may have

_ANNOTATION: Final = "x-mcp-header"
_PREFIX: Final = "Mcp-Param-"
_TYPES: Final = frozenset({"string", "integer", "boolean"})
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_DECIMAL: Final = re.compile(r"(-?[0-9]{1,4000})(?:\.0{1,4000})?")
_EXACT: Final = 1 << 53  # beyond, a double no longer tells its neighbours apart

# JSON Schema 2020-12: the keywords that hold schemas, by the shape of what they hold.
_ONE: Final = frozenset(
    {
        "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then",
        "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
_MANY: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_NAMED: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties"})

_Path = tuple[str, ...]


class ParamHeader(msgspec.Struct, frozen=True):
    """One argument and its header."""

    path: tuple[str, ...]
    name: str
    key: str
    """The name in lower case, as heads are read."""
    is_integer: bool


class HeaderPlan(msgspec.Struct, frozen=True):
    """The headers of one tool; false when it wants none."""

    params: tuple[ParamHeader, ...]

    def __bool__(self) -> bool:
        return bool(self.params)

    def headers(self, arguments: Mapping[str, JsonValue]) -> tuple[tuple[str, str], ...]:
        """What is sent with a call that has these arguments."""
        found = ((param.name, _rendered(_value_at(arguments, param.path))) for param in self.params)
        return tuple((name, encode_header(text)) for name, text in found if text is not None)

    def mismatch(self, arguments: Mapping[str, JsonValue], headers: Mapping[str, str]) -> str | None:
        """The name of the first header that does not say what the arguments say."""
        for param in self.params:
            if not _agrees(param, _value_at(arguments, param.path), headers.get(param.key)):
                return param.name
        return None


def compile_headers(schema: object) -> HeaderPlan:
    """The plan of a tool with this `inputSchema`.

    Raises:
        RemoteProtocolError: `plugin_protocol`; a client over HTTP must not use such a tool.
    """
    params: list[ParamHeader] = []
    seen: set[str] = set()
    for path, position in _positions(schema):
        if _ANNOTATION not in position:
            continue
        if not path:
            raise _invalid("an annotated property is not reached by properties alone")
        token, kind = position[_ANNOTATION], position.get("type")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise _invalid("the name is no HTTP token")
        if not isinstance(kind, str) or kind not in _TYPES:
            raise _invalid("only a string, integer or boolean can be annotated")
        name = _PREFIX + token
        if name.lower() in seen or len(seen) == MAX_PARAM_HEADERS:
            raise _invalid("a name is used twice, or there are too many")
        seen.add(name.lower())
        params.append(ParamHeader(path, name, name.lower(), kind == "integer"))
    params.sort(key=lambda param: param.path)  # the order of the walk means nothing
    return HeaderPlan(tuple(params))


def _positions(root: object) -> Iterator[tuple[_Path | None, dict[str, object]]]:
    """Every schema in a schema, with the names of `properties` that lead there, None off that path."""
    stack: list[tuple[_Path | None, object]] = [((), root)]
    while stack:
        path, schema = stack.pop()
        if not isinstance(schema, dict):
            continue
        yield path, schema
        for keyword, held in schema.items():
            if keyword in _ONE:
                stack.append((None, held))
            elif keyword in _MANY and isinstance(held, list):
                stack.extend((None, one) for one in held)
            elif keyword in _NAMED and isinstance(held, dict):
                stack.extend((None, one) for one in held.values())
            elif keyword == "properties" and isinstance(held, dict):
                stack.extend((None if path is None else (*path, name), one) for name, one in held.items())


def _value_at(arguments: Mapping[str, JsonValue], path: _Path) -> JsonValue:
    value = arguments.get(path[0])
    for key in path[1:]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _rendered(value: JsonValue) -> str | None:
    """The one spelling of a value in a header; None for what has none."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float() if value.is_integer() and abs(value) < _EXACT:
            return str(int(value))
        case int() | float():
            try:
                return str(value)
            except ValueError:  # more digits than Python writes
                return None
        case _:
            return None


def _agrees(param: ParamHeader, value: JsonValue, stated: str | None) -> bool:
    rendered = _rendered(value)
    if rendered is None or stated is None:
        return rendered is None and stated is None
    decoded = decode_header(stated)
    if decoded is None or decoded == rendered:
        return decoded is not None
    if not param.is_integer or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    number = _DECIMAL.fullmatch(decoded)
    return number is not None and int(number[1]) == value


def _invalid(why: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the tool's {_ANNOTATION} cannot be honoured: {why}")

"""The form of an elicitation: flat fields of text, number, yes-or-no, or a choice (MCP 2025-11-25, client/elicitation).

Guarantees that a client is shown only members that were read here, so that no client finds in a form what another reader
of it does not see: nothing nested, nothing to be fetched, no field or choice without bound. Judgement.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import JsonObject, JsonValue

__all__ = ["read_form"]

MAX_FIELDS: Final = 64  # more than a person fills in
MAX_CHOICES: Final = 512  # the countries of the world fit
MAX_TEXT_CHARS: Final = 2048

_FORMATS: Final = frozenset({"email", "uri", "date", "date-time"})
_WORDS: Final = ("title", "description", "default")
_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_BOUNDS: Final = _COUNTS | {"minimum", "maximum"}
# By type: the further members of a field, which have no members of their own; anything else is dropped.
_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = {
    "string": (*_WORDS, "minLength", "maxLength", "pattern"),
    "number": (*_WORDS, "minimum", "maximum"),
    "integer": (*_WORDS, "minimum", "maximum"),
    "boolean": _WORDS,
    "array": ("title", "description", "minItems", "maxItems"),
}


def read_form(schema: JsonValue) -> JsonObject:
    """The schema of a form in members that were read; raises `RemoteProtocolError` (`plugin_protocol`)."""
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        raise _odd("without a schema of an object")
    fields, required = schema.get("properties"), schema.get("required", [])
    if not isinstance(fields, dict) or len(fields) > MAX_FIELDS:
        raise _odd(f"without fields, or with more than {MAX_FIELDS}")
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise _odd("whose required fields are no list of names")
    read: JsonObject = {
        "type": "object",
        "properties": {_text(name): _field(field) for name, field in fields.items()},
    }
    needed: list[JsonValue] = [name for name in dict.fromkeys(required) if name in fields]
    return {**read, "required": needed} if needed else read


def _field(field: JsonValue) -> JsonObject:
    if not isinstance(field, dict):
        raise _odd("with a field that is none")
    kind = field.get("type", "string" if "enum" in field or "oneOf" in field else None)
    members = _MEMBERS.get(kind) if isinstance(kind, str) else None
    if members is None:
        raise _odd("that is not flat")
    read: JsonObject = {"type": kind}
    for name in members:
        if name in field:
            read[name] = _plain(name, field[name])
    if kind == "string":
        if field.get("format") in _FORMATS:
            read["format"] = field["format"]
        read |= _choice(field)
    elif kind == "array":
        items = field.get("items")
        choice = _choice(items) if isinstance(items, dict) else {}
        if not choice:
            raise _odd("that is not flat")
        read["items"] = {"type": "string", **choice} if "enum" in choice else choice
        if "default" in field:
            read["default"] = _texts(field["default"])
    return read


def _choice(field: JsonObject) -> JsonObject:
    """What there is to choose from, in either of the spellings of MCP; nothing if there is no choice."""
    if "enum" in field:
        read: JsonObject = {"enum": _texts(field["enum"])}
        if not read["enum"]:
            raise _odd("with a choice of nothing")
        return {**read, "enumNames": _texts(field["enumNames"])} if "enumNames" in field else read
    for word in ("oneOf", "anyOf"):
        if word in field:
            options = field[word]
            if not isinstance(options, list) or not 0 < len(options) <= MAX_CHOICES:
                raise _odd(f"with more than {MAX_CHOICES} choices, or none")
            return {word: [_option(one) for one in options]}
    return {}


def _option(option: JsonValue) -> JsonObject:
    if not isinstance(option, dict) or not isinstance(option.get("const"), str):
        raise _odd("that is not flat")
    return {name: _text(option[name]) for name in ("const", "title") if name in option}


def _texts(values: JsonValue) -> list[JsonValue]:
    if not isinstance(values, list) or len(values) > MAX_CHOICES:
        raise _odd(f"with more than {MAX_CHOICES} choices, or none")
    return [_text(value) for value in values]


def _plain(name: str, value: JsonValue) -> JsonValue:
    """A member that is not made of others: words, bounds, or a default that may be either or a truth value."""
    if name in _BOUNDS:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _odd("with a bound that is no number")
        if name in _COUNTS and (value < 0 or value % 1):
            raise _odd("that counts in what is no whole number")
        return value
    return value if name == "default" and isinstance(value, int | float) else _text(value)


def _text(value: JsonValue) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT_CHARS:
        raise _odd(f"that says something that is no text of at most {MAX_TEXT_CHARS} characters")
    return value


def _odd(what: str) -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", f"the plugin asks for a form {what}")

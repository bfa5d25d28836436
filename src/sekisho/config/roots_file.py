"""Reads a file of roots: YAML, JSON or TOML, into the plain values that a table of the configuration would be.

Guarantees that YAML is read as a person reads it, from its events and not from a constructor: no alias or anchor (a
few lines of them unfold into gigabytes), no tag (a tag asks for a type, some for code), no key twice, no second
document, no deep nesting. A word is text; only `true` and `false`, unquoted, are not. What a root means is judged by
`config.roots`.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from sekisho.config.field import Wrong

__all__ = ["read_roots_file"]

MAX_FILE_BYTES: Final = 1 << 18
MAX_DEPTH: Final = 16
# libyaml's parser where it was built, else the same grammar in Python
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOLEANS: Final = {"true": True, "false": False}
_REMEDY: Final = 'write one list under the key "roots", as docs/concepts/roots.md shows'


def read_roots_file(path: Path) -> object:
    """The list under `roots`, as plain values; raises Wrong (Misconfigured)."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as problem:
        reason = (problem.strerror or "unknown reason").lower()
        raise Wrong(f"names {path}, which cannot be read: {reason}") from problem
    if len(data) > MAX_FILE_BYTES:
        raise Wrong(f"names {path}, which is larger than {MAX_FILE_BYTES} bytes")
    try:
        value = _parsed(path.suffix.lower(), data.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise Wrong(f"names {path}, which is not UTF-8") from problem
    except RecursionError as problem:
        raise Wrong(f"names {path}, which is nested too deeply") from problem
    except (ValueError, yaml.YAMLError) as problem:  # both of JSON's and TOML's errors are ValueErrors
        raise Wrong(f"names {path}, which cannot be read: {_one_line(problem)}", remedy=_REMEDY) from problem
    if not isinstance(value, dict) or set(value) != {"roots"}:
        raise Wrong(f"names {path}, which does not hold the key roots alone", remedy=_REMEDY)
    return value["roots"]


def _parsed(suffix: str, text: str) -> object:
    match suffix:
        case ".yaml" | ".yml":
            return _read_yaml(text)
        case ".json":
            return json.loads(text, object_pairs_hook=_members)
        case ".toml":
            return tomllib.loads(text)
        case _:
            raise ValueError("its name ends neither in .yaml nor in .json nor in .toml")


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)


def _read_yaml(text: str) -> object:
    events = iter(yaml.parse(text, Loader=_LOADER))
    value: object = None
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ValueError("it holds more than one document")
            value = _value(next(events), events, 0)
    return value


def _value(event: Any, events: Iterator[Any], depth: int) -> object:
    where = f"line {event.start_mark.line + 1}"
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
        raise ValueError(f"{where}: anchors and aliases are not read")
    if event.tag is not None:
        raise ValueError(f"{where}: tags are not read")
    if depth > MAX_DEPTH:
        raise ValueError(f"{where}: it is nested too deeply")
    if isinstance(event, yaml.ScalarEvent):
        return _BOOLEANS.get(event.value, event.value) if event.implicit[0] else event.value
    if isinstance(event, yaml.SequenceStartEvent):
        members: list[object] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            members.append(_value(event, events, depth + 1))
        return members
    table: dict[str, object] = {}
    while not isinstance(event := next(events), yaml.MappingEndEvent):
        where = f"line {event.start_mark.line + 1}"
        key = _value(event, events, depth + 1)
        if not isinstance(key, str):
            raise ValueError(f"{where}: a key is not text")  # of the file, not of our types
        if key in table:
            raise ValueError(f"{where}: the key {key[:40]!r} stands twice")
        table[key] = _value(next(events), events, depth + 1)
    return table


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())[:300]

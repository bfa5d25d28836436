"""Turns a parsed TOML table into one frozen dataclass of the schema.

Guarantees that nothing is ignored: a key the schema does not declare is refused, with the nearest declared
name; every refusal says file, line and key, what is wrong and what was expected. Knows no setting by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, TypeVar

from sekisho.config.field import Kind, settings_of
from sekisho.config.locate import KeyPath, Source
from sekisho.errors import CODES, Misconfigured

__all__ = ["bind", "refusal", "unknown_key"]

T = TypeVar("T")
_DEFAULT_REMEDY: Final = CODES["config_invalid"].remedy

_MEANT: Final = {"url": ("upstream",)}  # what other programs call it, and what it is here


def bind(table: type[T], values: Mapping[str, object], source: Source, where: KeyPath = ()) -> T:
    """Read `values` as the settings of `table`; `where` is the key of the table itself."""
    declared = {one.name: (one, kind) for one, kind, _ in settings_of(table)}
    for key in values:
        if key not in declared:
            raise unknown_key(source, (*where, key), tuple(declared))
    arguments: dict[str, Any] = {}
    for name, (one, kind) in declared.items():
        if name in values:
            arguments[name] = _read(kind, values[name], source, (*where, name))
        elif _is_required(one):
            raise refusal(source, where, f"{name} is missing", kind.expected, f"add {name} = …")
    if "source" in getattr(table, "__dataclass_fields__", {}):
        arguments["source"] = source
    try:
        return table(**arguments)
    except Misconfigured as problem:
        inner = getattr(problem, "key", "")
        place = (*where, *inner.split(".")) if inner else where
        raise refusal(source, place, problem.message, "", problem.remedy) from problem


def refusal(source: Source, key: KeyPath, what: str, expected: str, remedy: str = "") -> Misconfigured:
    """The one sentence of every configuration error."""
    sentence = f"{source.at(key)}: {what}"
    if expected:
        sentence += f"; expected {expected}"
    return Misconfigured("config_invalid", sentence, remedy=remedy or None)


def unknown_key(source: Source, key: KeyPath, declared: tuple[str, ...]) -> Misconfigured:
    """A key the schema does not know, with the declared name a person most likely meant."""
    name = str(key[-1]).lower().replace("-", "_")
    meant = [one for one in _MEANT.get(name, ()) if one in declared]
    near = meant or get_close_matches(name, declared, n=1)
    if near:  # thirty names beside it would hide it
        return refusal(source, key, "unknown key", "", f"did you mean {near[0]}?")
    return refusal(
        source, key, "unknown key", "one of " + ", ".join(declared), "remove the key, or correct its name"
    )


def _is_required(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _read(kind: Kind[Any], value: object, source: Source, key: KeyPath) -> Any:
    folder = Path(source.path).absolute().parent
    try:
        plain = kind.read(value, folder)
    except Misconfigured as problem:
        remedy = "" if problem.remedy == _DEFAULT_REMEDY else problem.remedy
        raise refusal(source, key, problem.message, kind.expected, remedy) from problem
    if kind.table is None:
        return plain
    if not kind.many:
        return bind(kind.table, plain, source, key)
    rows = []
    for index, row in enumerate(plain):
        if not isinstance(row, dict):
            raise refusal(source, (*key, index), "is not a table", "a table")
        rows.append(bind(kind.table, row, source, (*key, index)))
    return tuple(rows)

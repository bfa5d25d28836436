"""How one setting is declared: its kind, its meaning in one line, its default.

Guarantees that the schema is stated once: the loader, the printed effective configuration and the generated
reference all read what `setting` stores beside the field. A kind turns one TOML value into one typed value or
refuses it with `Wrong`. Knows nothing of files and lines; `config.bind` adds where the value stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, field, fields
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from sekisho.errors import Misconfigured

__all__ = [
    "Kind",
    "Wrong",
    "choice",
    "described",
    "flag",
    "judged",
    "listed",
    "nested",
    "number",
    "path",
    "setting",
    "settings_of",
    "text",
    "whole",
]

T = TypeVar("T")
MAX_SHOWN: Final = 40  # a message names the wrong value, it does not repeat a page of it


class Wrong(Misconfigured):
    """A value cannot be honoured; `key` names the setting, from the table that refuses on: `driver`, `sandbox.driver`."""

    def __init__(self, what: str, *, remedy: str | None = None, key: str = "") -> None:
        super().__init__("config_invalid", what, remedy=remedy)
        self.key = key


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """What a value looks like (`expected`, for people) and how it is read, given the folder of its file."""

    name: str
    expected: str
    read: Callable[[object, Path], T]
    table: type[Any] | None = None
    many: bool = False


def setting(kind: Kind[Any], doc: str, *, default: Any = MISSING) -> Any:
    """Declare one setting; without a default the file must state it."""
    return field(default=default, metadata={"kind": kind, "doc": doc})


def settings_of(table: type[Any]) -> Iterator[tuple[Field[Any], Kind[Any], str]]:
    """Every declared setting of a table: its own in the order they are written, then those it shares with others."""
    own = vars(table).get("__annotations__", {})
    for one in sorted(fields(table), key=lambda one: one.name not in own):
        if "kind" in one.metadata:
            yield one, one.metadata["kind"], one.metadata["doc"]


def described(value: object) -> str:
    """Name the TOML type of a value, and the value itself when it is short and plain."""
    match value:
        case bool():
            return f"{str(value).lower()} (true or false)"
        case int() | float():
            return f"{value} (a number)"
        case str():
            shown = value if len(value) <= MAX_SHOWN else value[: MAX_SHOWN - 1] + "…"
            return f"{shown!r} (text)"
        case list():
            return "a list"
        case dict():
            return "a table"
        case date() | datetime() | time():
            return "a date or time"
        case _:
            return "a value of an unknown type"


def _refuse(value: object) -> Wrong:
    return Wrong(f"is {described(value)}")


def text(pattern: str = r"(?s:.+)", expected: str = "text") -> Kind[str]:
    """Text that fully matches `pattern`; control characters never belong in a setting."""
    compiled = re.compile(pattern)

    def read(value: object, _folder: Path) -> str:
        if not isinstance(value, str) or not compiled.fullmatch(value) or not value.isprintable():
            raise _refuse(value)
        return value

    return Kind("text", expected, read)


def whole(low: int, high: int) -> Kind[int]:
    """A whole number within bounds; `true` is not one."""

    def read(value: object, _folder: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise _refuse(value)
        return value

    return Kind("whole number", f"a whole number from {low} to {high}", read)


def number(low: float, high: float) -> Kind[float]:
    """A number within bounds, whole or not; infinity and NaN are outside every bound."""

    def read(value: object, _folder: Path) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
            raise _refuse(value)
        return float(value)

    return Kind("number", f"a number from {low:g} to {high:g}", read)


def flag() -> Kind[bool]:
    """true or false."""

    def read(value: object, _folder: Path) -> bool:
        if not isinstance(value, bool):
            raise _refuse(value)
        return value

    return Kind("true/false", "true or false", read)


def choice(*values: str) -> Kind[str]:
    """One of a closed set of words."""
    expected = " or ".join(f'"{value}"' for value in values)

    def read(value: object, _folder: Path) -> str:
        if not isinstance(value, str) or value not in values:
            raise _refuse(value)
        return value

    return Kind("word", expected, read)


def path() -> Kind[Path]:
    """A path; a relative one starts at the folder of the configuration file."""

    def read(value: object, folder: Path) -> Path:
        if not isinstance(value, str) or not value or "\0" in value:
            raise _refuse(value)
        if value.startswith("~"):
            raise Wrong("starts with ~, which would depend on who starts sekisho")
        return folder / value

    return Kind("path", "a path, absolute or from the folder of this file", read)


def listed(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list whose every member is of one kind, none of them twice."""

    def read(value: object, folder: Path) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _refuse(value)
        members: list[T] = []
        for index, one in enumerate(value):
            try:
                member = kind.read(one, folder)
            except Misconfigured as problem:
                raise Wrong(f"member {index + 1} {problem.message}", remedy=problem.remedy) from problem
            if member in members:
                raise Wrong(f"member {index + 1} repeats {described(one)}")
            members.append(member)
        return tuple(members)

    return Kind(f"list of {kind.name}", f"a list; each member {kind.expected}", read)


def judged(kind: Kind[T], judge: Callable[[T], object], expected: str = "") -> Kind[T]:
    """The same kind, asked of a second authority too: `judge` raises Misconfigured when it refuses."""

    def read(value: object, folder: Path) -> T:
        result = kind.read(value, folder)
        judge(result)
        return result

    return Kind(kind.name, expected or kind.expected, read)


def nested(table: type[Any], *, many: bool = False) -> Kind[Any]:
    """A table (or a list of tables) with settings of its own; `config.bind` reads it, member by member."""

    def read(value: object, _folder: Path) -> Any:
        wanted = list if many else dict
        if not isinstance(value, wanted):
            raise _refuse(value)
        return value

    what = "a list of tables" if many else "a table"
    return Kind(what, what, read, table=table, many=many)

"""Writes docs/reference/configuration.md from the schema, so that page and loader cannot disagree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from sekisho.config.core import CoreConfig
from sekisho.config.field import settings_of
from sekisho.config.plugin import PluginConfig
from sekisho.config.values import BindAddress

__all__ = ["reference"]

_OPENING = """# Configuration

Generated from the schema (`sekisho.config`); a test keeps it equal. Unknown keys are refused. Relative paths
start at the folder of the file. `sekisho config check` reads a file, `sekisho config show` prints what is in
effect.
"""

_OWN_TABLE = """
### `[NAME]`

One more table may carry the plugin's name, or the part of it before the first hyphen (`[wordpress]` for
`wordpress-handler`). Its texts, numbers and true/false reach the plugin as variables: `url` becomes
`WORDPRESS_URL`. Secrets do not belong here: write them in `secrets`.
"""


def reference() -> str:
    """The whole page."""
    parts = [_OPENING, "\n## The core file, `sekisho.toml`\n"]
    parts += _tables(CoreConfig, "")
    parts += ["\n## The plugin file\n"]
    parts += _tables(PluginConfig, "")
    parts += [_OWN_TABLE]
    return "".join(parts)


def _tables(table: type[Any], name: str) -> Iterator[str]:
    rows = [(one, kind, doc) for one, kind, doc in settings_of(table)]
    plain = [(one, kind, doc) for one, kind, doc in rows if kind.table is None]
    if plain:
        if name:
            yield f"\n### `{name}`\n"
        yield "\n| key | value | default | meaning |\n|---|---|---|---|\n"
        for one, kind, doc in plain:
            yield f"| `{one.name}` | {_cell(kind.expected)} | {_default(one)} | {_cell(doc)} |\n"
    for one, kind, _ in rows:
        if kind.table is not None:
            yield from _tables(kind.table, _header(name, one.name, many=kind.many))


def _header(above: str, name: str, *, many: bool) -> str:
    """A sub-table of an array row is written with single brackets, as TOML has it."""
    path = f"{above.strip('[]')}.{name}" if above else name
    return f"[[{path}]]" if many else f"[{path}]"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _default(one: Any) -> str:
    value = one.default
    if value is MISSING:
        return "required"
    if value is None:
        return '`"off"`' if one.name == "status_addr" else "none"
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case tuple():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case float() if value.is_integer():
            return str(int(value))
        case str() | Path() | BindAddress():
            return f'"{value}"'
        case _:
            return str(value)

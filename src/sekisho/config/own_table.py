"""A plugin's own values: a table of plain settings that reach it as environment variables.

Guarantees that no setting spells a variable that loaders or interpreters obey, and that no two of them meet in one.
The core file writes them as `settings` of the plugin's row, the plugin file as the table that bears its name.
"""

from __future__ import annotations

from pathlib import Path

from sekisho.config.field import Kind, Wrong, described
from sekisho.policy.grants import Grants

__all__ = ["plugin_settings", "settings_names"]


def plugin_settings() -> Kind[tuple[tuple[str, str], ...]]:
    """A table of plain values that become environment variables of the plugin."""

    def read(value: object, _folder: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Wrong(f"is {described(value)}")
        return tuple((key, _as_text(key, one)) for key, one in value.items())

    return Kind("table", "a table of texts, numbers and true/false", read)


def _as_text(key: str, value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case str() if "\0" not in value:
            return value
        case _:
            shown = "is a text with a NUL character" if isinstance(value, str) else f"is {described(value)}"
            raise Wrong(f"{key} {shown}")


def settings_names(name: str, settings: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The variables that carry `settings` to the plugin: `url` of `wordpress-handler` is WORDPRESS_URL."""
    prefix = name.partition("-")[0].upper()
    named: dict[str, str] = {}
    for key, value in settings:
        variable = f"{prefix}_{key}".upper().replace("-", "_").replace(".", "_")
        if variable in named:
            raise Wrong(f"gives {variable} twice", remedy="keep one of the two spellings")
        Grants(environment=(variable,))  # loader and interpreter variables pass in no disguise
        named[variable] = value
    return named

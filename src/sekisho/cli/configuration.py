"""`sekisho config show` and `config check`, for a core file or a plugin file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sekisho.cli.finding import DEFAULT_CONFIG, Json, find_any, home_of
from sekisho.cli.saying import note, say, say_json
from sekisho.config import CoreConfig, PluginConfig, check_paths, effective, warnings_of
from sekisho.credentials.references import read_reference
from sekisho.errors import SekishoError

__all__ = ["check", "show"]

AnyFile = Annotated[Path, Parameter(name="--config", help="A core file or a plugin file.")]


def show(*, config: AnyFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Print the configuration in effect: defaults included, secrets masked, warnings named."""
    found = find_any(config)
    shown = effective(found)
    owner = shown["plugin_server"] if isinstance(found, PluginConfig) else shown
    owner["home"] = str(home_of(found))
    if json:
        say_json(shown)
        return 0
    warnings = shown.pop("warnings")
    say(_lines(shown, ""))
    for warning in warnings:
        note(f"warning: {warning}")
    return 0


def check(*, config: AnyFile = DEFAULT_CONFIG, json: Json = False) -> int:
    """Check a configuration file and the paths it names.

    A secret that cannot be read from its file is a warning: it keeps its own plugin down, and nothing else.
    """
    found = find_any(config)
    check_paths(found)
    kind = "plugin" if isinstance(found, PluginConfig) else "core"
    warnings = [*warnings_of(found), *_unreadable_secrets(found)]
    if json:
        say_json({"ok": True, "file": config, "kind": kind, "warnings": warnings})
        return 0
    say([f"{config}: a good {kind} file"])
    for warning in warnings:
        note(f"warning: {warning}")
    return 0


def _unreadable_secrets(found: CoreConfig | PluginConfig) -> Iterator[str]:
    """Files alone: variables and credentials are there for the service, and not for who types this."""
    entries = found.plugins.servers if isinstance(found, CoreConfig) else (found,)
    for workload in (one.workload for one in entries):
        for secret in workload.grants.secrets:
            if secret.reference.kind != "file" or not (workload.command or workload.package):
                continue
            try:
                read_reference(secret.reference, {})
            except SekishoError as error:
                yield f"{workload.name}.secrets.{secret.name}: {error.message}; {error.remedy}"


def _lines(table: dict[str, Any], above: str) -> Iterator[str]:
    """One line a setting, under its full name, so that it can be searched for."""
    for key, value in table.items():
        name = f"{above}.{key}" if above else key
        match value:
            case dict():
                yield from _lines(value, name)
            case [dict(), *_]:
                for row in value:
                    yield from _lines(row, f"{name}.{row.get('name', '')}")
            case _:
                yield f"{name} = {_toml(value)}"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case None:
            return "(none)"
        case str():
            return f'"{value}"'
        case list():
            return "[" + ", ".join(_toml(one) for one in value) + "]"
        case _:
            return str(value)

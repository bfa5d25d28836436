"""Reads a configuration file: text to typed value, or one sentence that says where it is wrong.

Guarantees that a file is read once, whole, and refused whole: size, encoding, TOML, then every key. Reads no
environment variable and looks at no path the file names; `check_paths` does that when the house starts.
"""

from __future__ import annotations

import codecs
import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sekisho.config.bind import bind, refusal, unknown_key
from sekisho.config.core import CoreConfig
from sekisho.config.field import settings_of
from sekisho.config.locate import Source, key_lines
from sekisho.config.own_table import plugin_settings, settings_names
from sekisho.config.plugin import PluginConfig
from sekisho.errors import Misconfigured

__all__ = ["load_any", "load_core", "load_plugin"]

MAX_FILE_BYTES: Final = 1 << 20  # a device or a log named by mistake must not fill memory


def load_core(path: Path) -> CoreConfig:
    """The core file at `path`; raises Misconfigured."""
    values, source = _parsed(path)
    if "plugin_server" in values:
        raise _file_error(
            path, "is a plugin file, and a core file is asked for", "name the core file with --config FILE"
        )
    return bind(CoreConfig, values, source)


def load_plugin(path: Path) -> PluginConfig:
    """The plugin file at `path`; raises Misconfigured."""
    return _bound_plugin(*_parsed(path))


def load_any(path: Path) -> CoreConfig | PluginConfig:
    """A plugin file if it has the table `plugin_server`, else a core file; raises Misconfigured."""
    values, source = _parsed(path)
    return _bound_plugin(values, source) if "plugin_server" in values else bind(CoreConfig, values, source)


def _bound_plugin(values: dict[str, Any], source: Source) -> PluginConfig:
    shared = {one.name for one, _, _ in settings_of(PluginConfig)}
    extra = [key for key in values if key not in shared]
    config = bind(PluginConfig, {key: values[key] for key in values if key in shared}, source)
    own = dict.fromkeys((config.name, config.name.partition("-")[0]))
    for key in extra:
        if key not in own or key != extra[0]:
            raise unknown_key(source, (key,), (*sorted(shared), *own))
    return _with_settings(config, extra[0], values[extra[0]], source) if extra else config


def _with_settings(config: PluginConfig, table: str, value: object, source: Source) -> PluginConfig:
    kind = plugin_settings()
    try:
        settings = kind.read(value, source.path.parent)
        settings_names(config.name, settings)
    except Misconfigured as problem:
        raise refusal(source, (table,), problem.message, kind.expected, problem.remedy) from problem
    return replace(config, settings=settings, settings_table=table)


def _parsed(path: Path) -> tuple[dict[str, Any], Source]:
    text = _read(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise _syntax_error(path, text, str(problem)) from problem
    except RecursionError as problem:
        raise _file_error(path, "is nested too deeply", "write it flat") from problem
    return values, Source(path, key_lines(text))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as problem:
        reason = problem.strerror or "unknown reason"
        remedy = "name the file with --config FILE"
        if isinstance(problem, FileNotFoundError):
            remedy += ", or write it: README.md shows a whole one"
        raise _file_error(path, f"cannot be read: {reason}", remedy) from problem
    if len(data) > MAX_FILE_BYTES:
        raise _file_error(path, f"is larger than {MAX_FILE_BYTES} bytes", "name a configuration file")
    if data.startswith(codecs.BOM_UTF8):
        raise _file_error(
            path, "begins with a byte order mark; expected TOML 1.0", "save it as UTF-8 without BOM"
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as problem:
        line = data.count(b"\n", 0, problem.start) + 1
        raise Misconfigured(
            "config_invalid",
            f"{path}:{line}: not UTF-8; expected TOML in UTF-8",
            remedy="save the file as UTF-8",
        ) from problem


def _file_error(path: Path, what: str, remedy: str) -> Misconfigured:
    return Misconfigured("config_invalid", f"{path}: {what}", remedy=remedy)


def _syntax_error(path: Path, text: str, problem: str) -> Misconfigured:
    """tomllib's sentence, with its position moved to the front where editors look for it."""
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)", problem)
    line = int(found[1]) if found and found[1] else text.count("\n") + 1
    what = problem[: found.start()] if found else problem
    return Misconfigured(
        "config_invalid",
        f"{path}:{line}: {what[:1].lower()}{what[1:]}; expected TOML 1.0",
        remedy="correct that line",
    )

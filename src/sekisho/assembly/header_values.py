"""The values of the headers that an operator chose for a plugin at a URL, from where the configuration says they are.

Read by the process of that plugin alone. What is missing stops the plugin, not the request: a server must never be asked
without the credentials that were meant for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sekisho.errors import Misconfigured
from sekisho.keys.files import read_private

__all__ = ["header_values"]


def header_values(references: tuple[tuple[str, str], ...], environment: Mapping[str, str]) -> dict[str, str]:
    """The values themselves; raises `Misconfigured` for one that is not there."""
    values: dict[str, str] = {}
    for name, reference in references:
        kind, _, where = reference.partition(":")
        value = environment.get(where) if kind == "env" else _content(Path(where))
        if not value:
            raise Misconfigured(
                "key_unavailable",
                f"the value of the header {name} is not there",
                remedy=f"provide {reference}",
            )
        values[name] = value
    return values


def _content(path: Path) -> str:
    try:
        return read_private(path).decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise Misconfigured(
            "key_unavailable", f"{path} holds no header value", remedy="write one line of ASCII"
        ) from error

"""The values of the headers that an operator chose for a plugin at a URL, from where the configuration says they are.

Read by the process of that plugin alone. What is missing stops the plugin, not the request: a server must never be asked
without the credentials that were meant for it.
"""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.credentials.references import read_reference
from sekisho.errors import Misconfigured
from sekisho.policy import SecretReference

__all__ = ["header_values"]


def header_values(references: tuple[tuple[str, str], ...], environment: Mapping[str, str]) -> dict[str, str]:
    """The values themselves; raises `Misconfigured` for one that is not there, or could end its line."""
    return {name: _value(name, reference, environment) for name, reference in references}


def _value(name: str, reference: str, environment: Mapping[str, str]) -> str:
    value = read_reference(SecretReference.parse(reference), environment).strip()
    if not value.isascii() or not value.isprintable():
        raise Misconfigured(
            "key_unavailable",
            f"the value of the header {name} cannot stand in one",
            remedy=f"provide {reference} as one line of printable ASCII",
        )
    return value

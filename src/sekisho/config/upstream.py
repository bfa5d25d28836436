"""How a plugin's server at a URL is reached: whom TLS trusts, which headers go along. Both files mean the same by it.

Guarantees that no secret stands in the file: the value of a header is a reference (`policy.secrets`), and is read by
the plugin server alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sekisho.config.field import Kind, Wrong, described
from sekisho.config.secrets import reference_at
from sekisho.errors import Misconfigured

__all__ = ["header_references"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_EXPECTED: Final = (
    'a table of headers; each value "env:NAME", "file:path", "keyring:service/user" or "credential:NAME", '
    "never the secret itself"
)


def header_references() -> Kind[tuple[tuple[str, str], ...]]:
    """A table of header names and where their values are."""

    def read(value: object, folder: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Wrong(f"is {described(value)}")
        found: dict[str, str] = {}
        for name, reference in value.items():
            if not _NAME.fullmatch(name) or name.lower() in {one.lower() for one in found}:
                raise Wrong("names what is no header, or one twice")
            try:
                found[name] = str(reference_at(reference if isinstance(reference, str) else "", folder))
            except Misconfigured as problem:  # it may be the secret; it is not repeated
                raise Wrong(f"{problem.message}: the header {name}", remedy=problem.remedy) from problem
        return tuple(found.items())

    return Kind("table", _EXPECTED, read)

"""How a plugin's server at a URL is reached: whom TLS trusts, which headers go along. Both files mean the same by it.

Guarantees that no secret stands in the file: the value of a header is a reference, to a variable of sekisho's own
environment or to a private file, and is read by the plugin server alone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from sekisho.config.field import Kind, Wrong, described

__all__ = ["header_references"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_REFERENCE: Final = re.compile(r"(env):([A-Za-z_][A-Za-z0-9_]*)|(file):([^\0~][^\0]*)")
_EXPECTED: Final = 'a table of headers; each value "env:NAME" or "file:path", never the secret itself'


def header_references() -> Kind[tuple[tuple[str, str], ...]]:
    """A table of header names and where their values are."""

    def read(value: object, folder: Path) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise Wrong(f"is {described(value)}")
        found: dict[str, str] = {}
        for name, reference in value.items():
            match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
            if not _NAME.fullmatch(name) or name.lower() in {one.lower() for one in found}:
                raise Wrong("names what is no header, or one twice")
            if match is None:  # it may be the secret; it is not repeated
                raise Wrong(f"says of {name} neither where its value is in the environment nor in which file")
            found[name] = reference if match[1] else f"file:{folder / match[4]}"
        return tuple(found.items())

    return Kind("table", _EXPECTED, read)

"""Whether the modules that every call passes were compiled when Sekisho was installed; docs/decisions/0029 says which."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import sekisho
from sekisho.sandbox import Row

__all__ = ["examine_build", "is_compiled"]

_FIX = "install a C compiler and the headers of this Python, then install sekisho anew, not editable"


def is_compiled() -> bool:
    """True when this installation has them; they are compiled together or not at all."""
    return _has_library(Path(sekisho.__file__).parent)


def _has_library(package: Path) -> bool:
    """Looked for beside its source, because an import would load what `sekisho version` has no use for."""
    return any((package / "gateway" / f"front{suffix}").exists() for suffix in EXTENSION_SUFFIXES)


def examine_build() -> Row:
    """The row of `sekisho doctor`; what is interpreted is as safe, and slower."""
    if is_compiled():
        return Row(what="compiled modules", ok=True, detail="every call runs machine code", needed=False)
    detail = "none: a call costs the core about a third more processor time"
    return Row(what="compiled modules", ok=False, detail=detail, fix=_FIX, needed=False)

"""Small files that are read within bounds and replaced as a whole, on the disk too."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from sekisho.keys.files import sync_folder

__all__ = ["read_file", "replace_file"]

MAX_FILE_BYTES: Final = 64 << 20  # a manifest of a million files is larger than any we would have made


def read_file(path: Path) -> bytes:
    """Its content, as far as it is one of ours."""
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES)


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file as a whole, on the disk too."""
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with made.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        made.replace(path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)

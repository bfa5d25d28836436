"""What a plugin may do with one path: the longest listed prefix decides, and unlisted means nothing.

Blocked wins over an equally long grant, read over an equally long write. Pure text: paths are compared part
by part, so `/data` says nothing about `/database`; a path with `..`, a NUL or no leading slash gets nothing.
Symbolic links are the business of whoever mounts.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from sekisho.policy.grants import FileGrant

__all__ = ["PathVerdict", "verdict"]

PathVerdict: TypeAlias = Literal["read", "write", "none"]


def verdict(files: FileGrant, path: str) -> PathVerdict:
    """Judge one absolute path."""
    parts = _parts(path)
    if parts is None:
        return "none"
    # Narrowest first: an equally long later rule does not replace an earlier one.
    rules: tuple[tuple[tuple[str, ...], PathVerdict], ...] = (
        (files.blocked_paths, "none"),
        (files.read_only_paths, "read"),
        (files.writable_paths, "write"),
    )
    longest = -1
    best: PathVerdict = "none"
    for paths, access in rules:
        for listed in paths:
            prefix = _parts(listed)
            if prefix is not None and parts[: len(prefix)] == prefix and len(prefix) > longest:
                longest, best = len(prefix), access
    return best


def _parts(path: str) -> tuple[str, ...] | None:
    if not path.startswith("/") or "\0" in path:
        return None
    parts = tuple(part for part in path.split("/") if part not in ("", "."))
    return None if ".." in parts else parts

"""The table `filesystem_policy`: what a plugin sees of the file system. Both files mean the same by it.

Guarantees that every path is absolute and none is one that no plugin may have (`policy.grants` judges them). Whether
it exists is asked by `check_paths`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sekisho.config.field import Kind, choice, judged, listed, setting, text
from sekisho.policy.grants import FileGrant

__all__ = ["FilesystemPolicy"]


def _folders(judge: Callable[[tuple[str, ...]], object]) -> Kind[tuple[str, ...]]:
    return judged(listed(text()), judge, "a list of absolute paths")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesystemPolicy:
    """`filesystem_policy`: what the plugin sees of the file system; the longest path wins."""

    read_only_paths: tuple[str, ...] = setting(
        _folders(lambda value: FileGrant(read_only_paths=value)), "Paths it may read.", default=()
    )
    writable_paths: tuple[str, ...] = setting(
        _folders(lambda value: FileGrant(writable_paths=value)), "Paths it may read and write.", default=()
    )
    blocked_paths: tuple[str, ...] = setting(
        _folders(lambda value: FileGrant(blocked_paths=value)), "Paths taken out of the others.", default=()
    )
    persist: Literal["direct", "review", "discard"] = setting(
        choice("direct", "review", "discard"),
        "Where its writes go: into the paths; review: into a draft, until sekisho changes keeps or discards it; "
        "discard: nowhere, they end with the plugin.",
        default="direct",
    )

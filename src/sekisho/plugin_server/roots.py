"""What `roots/list` is answered with: what the plugin may reach, which a client's own roots can only narrow.

Guarantees that a plugin never hears of a place outside its grants, whatever a client says: a client's root counts in so
far as it lies inside one of ours or around one, compared as paths after all escapes and dots are resolved. Roots are
guidance for a plugin, never its wall; the wall stands elsewhere and does not move.

Judgement: values in, bytes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from posixpath import normpath
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from sekisho.policy import FileGrant
from sekisho.policy import Root as StatedRoot

__all__ = ["narrowed_roots", "roots_bytes", "told_roots"]

MAX_ROOTS: Final = 1_000
_encode: Final = msgspec.json.Encoder().encode

Root = tuple[str, str]  # URI and name


class _Root(msgspec.Struct):
    uri: str
    name: str | None = None


class _Roots(msgspec.Struct):
    roots: list[_Root] = []


def told_roots(files: FileGrant, stated: Sequence[StatedRoot] | None, *, is_walled: bool) -> tuple[Root, ...]:
    """Which folders a plugin is told of, as it sees them: behind our walls the paths it may reach, under the names that
    the operator gave them; elsewhere the operator's own. MCP knows roots with `file:` URIs alone: servers built on its
    SDKs refuse a list that holds any other.
    """
    names = {root.path: root.name for root in stated or () if root.path is not None}
    if stated is not None and not is_walled:
        return tuple((PurePosixPath(path).as_uri(), name) for path, name in names.items())
    paths = dict.fromkeys((*files.writable_paths, *files.read_only_paths))
    return tuple(
        (PurePosixPath(path).as_uri(), names.get(path) or PurePosixPath(path).name) for path in paths
    )


def roots_bytes(roots: Sequence[Root]) -> bytes:
    """The result that states these."""
    return _encode({"roots": [{"uri": uri, "name": name} for uri, name in roots]})


def narrowed_roots(ours: Sequence[Root], answer: bytes) -> bytes:
    """What remains of our roots when a client answers with its own; unreadable means none."""
    try:
        theirs = msgspec.json.decode(answer, type=_Roots).roots[:MAX_ROOTS]
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return roots_bytes(())
    paths = [(root, path) for root in theirs if (path := _path(root.uri)) is not None]
    kept: dict[str, str] = {}
    for uri, name in ours:
        grant = _path(uri)
        if grant is None:
            continue
        for root, path in paths:
            if grant.is_relative_to(path):
                kept[uri] = name
            elif path.is_relative_to(grant):
                kept[path.as_uri()] = root.name or path.name
    return roots_bytes(tuple(kept.items()))


def _path(uri: str) -> PurePosixPath | None:
    """The path of a `file:` URI of this machine, or None."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    text = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        return None
    if not text.startswith("/") or "\0" in text:
        return None
    return PurePosixPath("/" + normpath(text).lstrip("/"))

"""The tools of the newer era that want arguments repeated in headers, as they were seen in lists.

A list may come in pages: its first page begins it anew, the next ones add to it. Bounded in number and bytes; a tool
that finds no place is called without those headers, and then the gateway says so. Judgement only.
"""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["ToolLists"]

MAX_PAGES: Final = 64  # of one list that we fetch ourselves
MAX_BYTES: Final = 8 << 20
_ANNOTATION: Final = b"x-mcp-header"
_encode: Final = msgspec.json.Encoder().encode


class _Page(msgspec.Struct, rename="camel"):
    tools: list[msgspec.Raw] = []
    next_cursor: str | None = None


class _Named(msgspec.Struct):
    name: str


class _Asked(msgspec.Struct):
    cursor: str | None = None
    meta: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict, name="_meta")


class ToolLists:
    """What the latest list said."""

    def __init__(self) -> None:
        self._tools: dict[str, msgspec.Raw] = {}
        self._bytes = 0
        self._pages = 0

    @property
    def annotated(self) -> list[msgspec.Raw]:
        """The tools with annotations."""
        return [*self._tools.values()]

    def add(self, params: msgspec.Raw, result: msgspec.Raw) -> str | None:
        """One page, asked for with these parameters; the cursor of the next, if there is one worth asking for."""
        try:
            page = msgspec.json.decode(result, type=_Page)
            asked = msgspec.json.decode(params or b"{}", type=_Asked)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            return None
        if asked.cursor is None:
            self._tools, self._bytes, self._pages = {}, 0, 0
        self._pages += 1
        for tool in page.tools:
            self._add_one(tool)
        return page.next_cursor if self._pages < MAX_PAGES else None

    def request(self, params: msgspec.Raw, cursor: str | None) -> bytes:
        """The parameters of our own list request, on behalf of a call with these parameters."""
        meta = msgspec.json.decode(params, type=_Asked).meta
        meta.pop("progressToken", None)
        return _encode({"_meta": meta} if cursor is None else {"_meta": meta, "cursor": cursor})

    def _add_one(self, tool: msgspec.Raw) -> None:
        text = bytes(tool)
        if _ANNOTATION not in text or self._bytes + len(text) > MAX_BYTES:
            return
        try:
            name = msgspec.json.decode(text, type=_Named).name
        except msgspec.MsgspecError:
            return
        self._bytes += len(text)
        self._tools[name] = msgspec.Raw(text)  # a copy: the page it stands in is not kept

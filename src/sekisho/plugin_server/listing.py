"""Ask a plugin for everything it offers, all pages, with bounds."""

from __future__ import annotations

import msgspec

from sekisho.errors import RemoteProtocolError
from sekisho.plugin_server.opening import RefusedByPlugin, ask
from sekisho.plugin_server.session import PluginSession
from sekisho.wire import SurfaceFrame

__all__ = ["list_surface", "read_page"]

MAX_PAGES = 100  # a server that always offers another page must not keep us listing for ever
MAX_ITEMS = 5_000

# (method, member of the result, capability that promises it)
_LISTS = (
    ("tools/list", "tools", "tools"),
    ("prompts/list", "prompts", "prompts"),
    ("resources/list", "resources", "resources"),
    ("resources/templates/list", "resourceTemplates", "resources"),
)


async def list_surface(session: PluginSession, opened: SurfaceFrame, timeout_s: float) -> SurfaceFrame:
    """Everything the plugin offers now. A list that its capabilities do not promise is not asked for.

    A promised list that it refuses with an error is empty: servers promise resources and know no templates, or need a
    database to list them. Nothing is approved that was not listed, and without its tools a plugin is not served at all.
    """
    promised = msgspec.json.decode(opened.capabilities, type=dict[str, msgspec.Raw])
    lists: dict[str, list[msgspec.Raw]] = {}
    for method, member, capability in _LISTS:
        lists[member] = []
        if capability not in promised:
            continue
        try:
            lists[member] = await _drain(session, method, member, timeout_s)
        except RefusedByPlugin:
            if member == "tools":
                raise
    if session.transport is not None:
        session.transport.use_tools(lists["tools"])
    return msgspec.structs.replace(
        opened,
        tools=lists["tools"],
        prompts=lists["prompts"],
        resources=lists["resources"],
        templates=lists["resourceTemplates"],
    )


async def _drain(session: PluginSession, method: str, member: str, timeout_s: float) -> list[msgspec.Raw]:
    items: list[msgspec.Raw] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(MAX_PAGES):
        params: dict[str, object] | None = {"cursor": cursor} if cursor is not None else None
        page, cursor = read_page(await ask(session, method, params, timeout_s), member)
        items += page
        if len(items) > MAX_ITEMS:
            break
        if cursor is None:
            return items
        if cursor in seen:
            raise RemoteProtocolError("plugin_protocol", f"the plugin's {method} goes in a circle")
        seen.add(cursor)
    raise RemoteProtocolError("plugin_protocol", f"the plugin's {method} does not end")


def read_page(result: bytes, member: str) -> tuple[list[msgspec.Raw], str | None]:
    """The items and the next cursor of one page of a list."""
    try:
        page = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
        items = msgspec.json.decode(page.get(member, msgspec.Raw(b"[]")), type=list[msgspec.Raw])
        cursor = msgspec.json.decode(page.get("nextCursor", msgspec.Raw(b"null")), type=str | None)
    except msgspec.MsgspecError as error:
        raise RemoteProtocolError("plugin_protocol", f"the plugin's list of {member} is malformed") from error
    return items, cursor

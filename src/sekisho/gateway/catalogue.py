"""The lists a client sees, as prebuilt results: approved definitions only, and only operations the client may use.

Nothing is asked upstream. Results are kept per client, endpoint and era, and thrown away whenever the house changes.
"""

from __future__ import annotations

from sekisho.gateway.answers import list_result
from sekisho.gateway.checkpoint import House
from sekisho.protocol import PluginName
from sekisho.registry import tools_array

__all__ = ["Catalogue"]

MAX_MEMOS = 1024  # clients × endpoints; a flood of endpoints must not fill the memory


class Catalogue:
    """Prebuilt results of `tools/list`."""

    def __init__(self) -> None:
        self._house: House | None = None
        self._memo: dict[tuple[str, PluginName | None, bool], bytes] = {}

    def listing(self, house: House, client: str, plugin: PluginName | None, *, modern: bool) -> bytes:
        """The result of `tools/list`: one plugin's tools under bare names, or everybody's under prefixed ones."""
        if house is not self._house or len(self._memo) >= MAX_MEMOS:
            self._house = house
            self._memo = {}
        key = (client, plugin, modern)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = list_result(_array(house, client, plugin), modern=modern)
        return found


def _array(house: House, client: str, plugin: PluginName | None) -> bytes:
    names = sorted(house.standings) if plugin is None else [plugin]
    pieces: list[bytes] = []
    for name in names:
        standing = house.standings.get(name)
        if standing is None or standing.definitions is None:
            continue
        allowed = frozenset(
            tool for tool in standing.definitions.tools if house.access.permits(client, name, tool)
        )
        pieces += standing.definitions.pieces(allowed, prefixed=plugin is None)
    return tools_array(pieces)

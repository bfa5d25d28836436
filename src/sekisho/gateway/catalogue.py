"""The lists a client sees, as prebuilt bytes: approved definitions only, and only operations the client may use.

Nothing is asked upstream. Lists are memoised per (client, endpoint) and thrown away whenever the house changes.
"""

from __future__ import annotations

from sekisho.gateway.checkpoint import House
from sekisho.protocol import PluginName
from sekisho.registry import tools_array

__all__ = ["Catalogue"]

MAX_MEMOS = 1024  # clients × endpoints; a flood of endpoints must not fill the memory


class Catalogue:
    """Prebuilt `tools` arrays."""

    def __init__(self) -> None:
        self._house: House | None = None
        self._memo: dict[tuple[str, PluginName | None], bytes] = {}

    def tools(self, house: House, client: str, plugin: PluginName | None) -> bytes:
        """The JSON array of tools: one plugin's under bare names, or everybody's under prefixed names."""
        if house is not self._house or len(self._memo) >= MAX_MEMOS:
            self._house = house
            self._memo = {}
        key = (client, plugin)
        found = self._memo.get(key)
        if found is None:
            found = self._memo[key] = _array(house, client, plugin)
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

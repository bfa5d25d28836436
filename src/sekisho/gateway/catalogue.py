"""The lists a client sees, as prebuilt bytes: approved definitions only, and only operations the client may use.

Nothing is asked upstream. Lists are memoised per (client, endpoint) and thrown away whenever the house changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from sekisho.gateway.checkpoint import House
from sekisho.protocol import PluginName, joined
from sekisho.registry import Definition

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
        if standing is None or standing.problem is not None:
            continue
        pieces += _pieces(house, client, name, standing.definitions, is_prefixed=plugin is None)
    return b"[" + b",".join(pieces) + b"]"


def _pieces(
    house: House, client: str, plugin: PluginName, definitions: Mapping[str, Definition], *, is_prefixed: bool
) -> list[bytes]:
    return [
        definition.renamed(joined(plugin, definition.tool)) if is_prefixed else definition.raw
        for definition in definitions.values()
        if house.access.permits(client, plugin, definition.tool)
    ]

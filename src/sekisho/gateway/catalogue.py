"""The lists a client sees, as prebuilt results: approved definitions only, and only what the client may use.

Guarantees:
- nothing is asked upstream, and a list that was asked for before is bytes that were kept;
- a long list comes in pages, by number and by size, under cursors that only fit the list they were given for;
- at the endpoint of all plugins, tools and prompts carry their plugin's name, URIs are as the plugins wrote them, and
  what could not be read there, because several plugins claim it, is not listed there either.

Results are kept per client, endpoint, method and era, and thrown away whenever the house changes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from sekisho.errors import RemoteProtocolError
from sekisho.gateway import answers
from sekisho.gateway.checkpoint import House
from sekisho.gateway.cursors import Cursors, Place
from sekisho.gateway.owners import Claims, Owners
from sekisho.protocol import PluginName
from sekisho.registry import Definitions, tools_array

__all__ = ["LISTS", "Catalogue"]

# Clients × endpoints × lists; a flood of either must not fill the memory.
MAX_MEMOS: Final = 4096
MAX_HELD_BYTES: Final = 64 << 20
PAGE_ITEMS: Final = 1000
PAGE_BYTES: Final = 1 << 20  # a page is written in one piece, and read in one piece by clients


@dataclass(frozen=True, slots=True)
class _View:
    """For whom a list is made."""

    house: House
    owners: Owners
    client: str
    endpoint: PluginName | None
    modern: bool

    @property
    def definitions(self) -> Iterable[Definitions]:
        """What is approved of every plugin of the endpoint."""
        standings = self.house.standings
        for name in sorted(standings) if self.endpoint is None else [self.endpoint]:
            standing = standings.get(name)
            if standing is not None and standing.definitions is not None:
                yield standing.definitions


@dataclass(frozen=True, slots=True)
class _Pages:
    """A whole list: its pages as results, and the digest that its cursors name."""

    results: tuple[bytes, ...]
    snapshot: str


class Catalogue:
    """Prebuilt results of everything that is answered from approved definitions alone."""

    def __init__(
        self, cursors: Cursors | None = None, *, page_items: int = PAGE_ITEMS, page_bytes: int = PAGE_BYTES
    ) -> None:
        # without a key that other processes have, cursors hold in this one only
        self._cursors = Cursors(secrets.token_bytes(32)) if cursors is None else cursors
        self._page_items = page_items
        self._page_bytes = page_bytes
        self._house: House | None = None
        self._owners: Owners | None = None
        self._lists: dict[tuple[str, PluginName | None, str, bool], _Pages] = {}
        self._greetings: dict[tuple[str, PluginName | None, str | None], bytes] = {}
        self._same: dict[bytes, bytes] = {}
        self._held_bytes = 0

    def listing(
        self,
        house: House,
        client: str,
        plugin: PluginName | None,
        method: str = "tools/list",
        cursor: str | None = None,
        *,
        modern: bool,
    ) -> bytes:
        """The result of a list: of one plugin under bare names, or of all plugins under prefixed ones.

        Args:
            method: one of `LISTS`.

        Raises:
            RemoteProtocolError: `params_invalid`, the cursor does not fit this list as it is now.
        """
        self._enter(house)
        key = (client, plugin, method, modern)
        found = self._lists.get(key)
        if found is None:
            if len(self._lists) >= MAX_MEMOS or self._held_bytes > MAX_HELD_BYTES:
                self._forget()
            found = self._lists[key] = self._pages(house, client, plugin, method, modern=modern)
        if cursor is None:
            return found.results[0]
        page = self._cursors.page(cursor, client, plugin, method, found.snapshot)
        if not 0 < page < len(found.results):
            raise RemoteProtocolError("params_invalid", "this cursor names a page that is not there")
        return found.results[page]

    def owner(
        self, house: House, uri: str, *, is_template: bool = False, client: str | None = None
    ) -> PluginName:
        """The plugin that is meant by a URI, or a template, at the endpoint of all plugins; see `owners`."""
        owners = self._enter(house)
        return owners.of_template(uri, client) if is_template else owners.of_resource(uri, client)

    def initialized(self, version: str, house: House, client: str, endpoint: PluginName | None) -> bytes:
        """`answers.initialize_result`, kept."""
        return self._greeting(
            house,
            (client, endpoint, version),
            lambda: answers.initialize_result(version, house, client, endpoint),
        )

    def discovered(self, house: House, client: str, endpoint: PluginName | None) -> bytes:
        """`answers.discover_result`, kept."""
        return self._greeting(
            house, (client, endpoint, None), lambda: answers.discover_result(house, client, endpoint)
        )

    def _greeting(
        self, house: House, key: tuple[str, PluginName | None, str | None], make: Callable[[], bytes]
    ) -> bytes:
        self._enter(house)
        found = self._greetings.get(key)
        if found is None:
            if len(self._greetings) >= MAX_MEMOS or self._held_bytes > MAX_HELD_BYTES:
                self._forget()
            found = self._greetings[key] = self._kept(make())
        return found

    def _enter(self, house: House) -> Owners:
        if house is not self._house or self._owners is None:
            self._forget()
            self._house = house
            self._owners = Owners.of(house)
        return self._owners

    def _forget(self) -> None:
        self._lists = {}
        self._greetings = {}
        self._same = {}
        self._held_bytes = 0

    def _kept(self, result: bytes) -> bytes:
        """Many clients see the same: its bytes are kept once."""
        kept = self._same.setdefault(result, result)
        if kept is result:
            self._held_bytes += len(result)
        return kept

    def _pages(
        self, house: House, client: str, endpoint: PluginName | None, method: str, *, modern: bool
    ) -> _Pages:
        member, select = LISTS[method]
        pieces = list(select(_View(house, self._enter(house), client, endpoint, modern)))
        arrays = [tools_array(page) for page in self._cut(pieces)]
        if len(arrays) == 1:
            return _Pages((self._kept(answers.list_result(arrays[0], member=member, modern=modern)),), "")
        snapshot = sha256(b"".join(sha256(piece).digest() for piece in pieces)).hexdigest()
        cursors = [
            self._cursors.seal(
                Place(client=client, endpoint=endpoint, method=method, snapshot=snapshot, page=page)
            )
            for page in range(1, len(arrays))
        ]
        results = tuple(
            self._kept(answers.list_result(array, member=member, cursor=cursor, modern=modern))
            for array, cursor in zip(arrays, [*cursors, None], strict=True)
        )
        return _Pages(results, snapshot)

    def _cut(self, pieces: Sequence[bytes]) -> list[list[bytes]]:
        """The pages; one at least, and in each of several one piece at least."""
        pages: list[list[bytes]] = [[]]
        size = 0
        for piece in pieces:
            if pages[-1] and (len(pages[-1]) >= self._page_items or size + len(piece) > self._page_bytes):
                pages.append([])
                size = 0
            pages[-1].append(piece)
            size += len(piece)
        return pages


def _tools(view: _View) -> Iterable[bytes]:
    access, client = view.house.access, view.client
    for one in view.definitions:
        allowed = frozenset(tool for tool in one.tools if access.permits(client, one.plugin, tool))
        yield from one.pieces(allowed, prefixed=view.endpoint is None, modern=view.modern)


def _prompts(view: _View) -> Iterable[bytes]:
    access, client = view.house.access, view.client
    for one in view.definitions:
        for name, prompt in one.prompts.items():
            if access.permits_prompt(client, one.plugin, name):
                yield prompt.piece(prefixed=view.endpoint is None)


def _resources(view: _View) -> Iterable[bytes]:
    for one in view.definitions:
        for uri, resource in one.resources.items():
            if _may_see(view, one.plugin, uri) and not _is_contested(view, view.owners.resources, uri):
                yield resource.bare


def _templates(view: _View) -> Iterable[bytes]:
    for one in view.definitions:
        for text, template in one.templates.items():
            if _may_see(view, one.plugin, text) and not _is_contested(view, view.owners.templates, text):
                yield template.bare


def _may_see(view: _View, plugin: PluginName, uri: str) -> bool:
    return view.house.access.permits_resource(view.client, plugin, uri)


def _is_contested(view: _View, claims: Claims, uri: str) -> bool:
    return view.endpoint is None and view.owners.is_contested(claims, uri, view.client)


# By method: the member of the result, and what is listed.
LISTS: Final[dict[str, tuple[str, Callable[[_View], Iterable[bytes]]]]] = {
    "tools/list": ("tools", _tools),
    "prompts/list": ("prompts", _prompts),
    "resources/list": ("resources", _resources),
    "resources/templates/list": ("resourceTemplates", _templates),
}

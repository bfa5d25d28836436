"""Who wants to hear of changes: legacy sessions and modern listeners alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .content import Json
from .exchange import META, Send
from .jobs import Jobs

_LISTS = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
}
TASKS = "notifications/tasks"
Wants = Callable[[str, str | None], bool]


class Hub:
    """Announces changes to everybody who wants to know."""

    def __init__(self) -> None:
        self._hearing: list[tuple[Send, Wants, Json]] = []
        self.jobs = Jobs(self._task_changed)

    async def announce(self, method: str, uri: str | None = None) -> None:
        """Tell all who want this."""
        params = {"uri": uri} if uri is not None else {}
        for send, wants, meta in list(self._hearing):
            if wants(method, uri):
                await send({"jsonrpc": "2.0", "method": method, "params": params | meta})

    async def _task_changed(self, ident: str, state: Json) -> None:
        for send, wants, meta in list(self._hearing):
            if wants(TASKS, ident):
                await send({"jsonrpc": "2.0", "method": TASKS, "params": state | meta})

    @contextmanager
    def hearing(self, send: Send, wants: Wants, meta: Json | None = None) -> Iterator[None]:
        """Be told as long as the block runs."""
        one = (send, wants, meta or {})
        self._hearing.append(one)
        try:
            yield
        finally:
            self._hearing.remove(one)


def filtered(asked: Json) -> tuple[Json, Wants]:
    """The part of a modern filter that is honoured, and the judge that goes with it."""
    honoured: Json = {word: True for word in _LISTS.values() if asked.get(word) is True}
    uris = asked.get("resourceSubscriptions")
    if isinstance(uris, list):
        honoured["resourceSubscriptions"] = uris

    if isinstance(asked.get("taskIds"), list):
        honoured["taskIds"] = asked["taskIds"]

    def wants(method: str, uri: str | None) -> bool:
        if method == TASKS:
            return uri in honoured.get("taskIds", ())
        if uri is not None:
            return uri in honoured.get("resourceSubscriptions", ())
        return _LISTS[method] in honoured

    return honoured, wants


def tagged(ident: object) -> Json:
    """The mark every message of one listen stream carries."""
    return {"_meta": {META + "subscriptionId": ident}}

"""A plugin that lives at a URL: session and transport joined into one connection.

Streamable HTTP is tried first; a server that refuses the handshake as one of 2024-11-05 does is tried by the older
transport (specification, transports, backwards compatibility). There is no process of ours to end: to kill is to drop
the session. The plugin server reaches the URL itself; it holds no code of the plugin.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.authoriser import Authoriser, StaticHeaders
from sekisho.plugin_server.old_sse import OldSse
from sekisho.plugin_server.session import PluginSession
from sekisho.plugin_server.site import Site, trusting
from sekisho.plugin_server.unfinished import Unfinished
from sekisho.plugin_server.upstream import Upstream
from sekisho.protocol import JsonLimits

__all__ = ["Reach", "Remote", "connect_url"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How a URL is reached: whom TLS trusts, what is sent along, and whether its name may lead to a private network.

    `trace` names what of a call's trace goes along as headers (`protocol.TRACE_NAMES`). `unfinished` counts for all
    sessions with it.
    """

    ca_path: Path | None = None
    authoriser: Authoriser = field(default_factory=StaticHeaders)
    may_be_private: bool = False
    trace: tuple[str, ...] = ()
    unfinished: Unfinished = field(default_factory=Unfinished)


class _Hello(msgspec.Struct):
    id: int


class Remote:
    """A server at a URL."""

    def __init__(self, session: PluginSession, site: Site, reach: Reach) -> None:
        self.session = session
        self._reach = reach
        self._site = site
        self._context: ssl.SSLContext | None = trusting(reach.ca_path) if site.scheme == "https" else None
        self._ended: asyncio.Future[SekishoError] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._upstream = Upstream(
            site,
            hearer=session,
            max_body_bytes=session.limits.max_bytes,
            authoriser=reach.authoriser,
            context=self._context,
            may_be_private=reach.may_be_private,
            trace=reach.trace,
            unfinished=reach.unfinished,
            on_session_lost=self._reopened,
            on_end=self._end,
            fall_back=self._fall_back,
        )
        self._old: OldSse | None = None
        session.attach(self._upstream)

    async def ended(self) -> SekishoError:
        """Return when it cannot be talked to any more, or somebody ended it."""
        return await asyncio.shield(self._ended)

    async def kill(self) -> None:
        """Drop the session; a new one is opened."""
        self._end(Unavailable("plugin_exited", "the session was dropped"))

    async def close(self) -> None:
        """Leave."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._old is not None:
            await self._old.close()
        await self._upstream.close()

    def _reopened(self) -> None:
        self.session.on_reopened()
        self.session.on_list_changed()  # a server that forgot us may be another one by now

    def _end(self, error: SekishoError) -> None:
        if not self._ended.done():
            self._ended.set_result(error)

    def _fall_back(self, hello: bytes, refusal: SekishoError) -> None:
        self._spawn(self._try_old(hello, refusal))

    async def _try_old(self, hello: bytes, refusal: SekishoError) -> None:
        old = self._old = OldSse(
            self._site,
            hearer=self.session,
            authoriser=self._reach.authoriser,
            context=self._context,
            may_be_private=self._reach.may_be_private,
            trace=self._reach.trace,
            max_body_bytes=self.session.limits.max_bytes,
            on_end=self._end,
        )
        try:
            await old.open()
        except SekishoError:
            self.session.fail_one(msgspec.json.decode(hello, type=_Hello).id, refusal)
            return
        self.session.attach(old)
        old.send(hello)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def connect_url(
    *,
    url: str,
    limits: JsonLimits,
    on_list_changed: Callable[[], None],
    roots: Sequence[tuple[str, str]] = (),
    may_ask: tuple[str, ...] = (),
    reach: Reach | None = None,
) -> AsyncIterator[Remote]:
    """Open a session with an MCP server that already listens at `url`."""
    reach = reach or Reach()
    session = PluginSession(limits=limits, roots=roots, may_ask=may_ask, on_list_changed=on_list_changed)
    await reach.authoriser.prepare()
    remote = Remote(session, Site.parse(url), reach)
    try:
        yield remote
    finally:
        await remote.close()

"""An MCP server in this process, and an HTTP server on a real socket: fakes that keep their promises."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
import pytest

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.desk import Desk
from sekisho.plugin_server.opening import EraMemory, open_session
from sekisho.plugin_server.session import PluginSession
from sekisho.protocol import HttpRequest, JsonLimits, RequestReader
from sekisho.wire import (
    AnswerFrame,
    CallContext,
    CallFrame,
    DenialFrame,
    Inbound,
    StateFrame,
    SurfaceFrame,
    encode_context,
)
from sekisho.wire.frames import Kind

LIMITS = JsonLimits(max_bytes=1 << 16)
WAIT_S = 5.0  # a bound, not a delay

Json = dict[str, Any]
Answer = Callable[[Json], Json | None]


class Plugin:
    """Answers as an MCP server must, one loop turn later; what a method answers can be replaced."""

    def __init__(self, **changes: Any) -> None:
        self.heard: list[Json] = []
        self.arrivals: asyncio.Queue[Json] = asyncio.Queue()
        self.is_dead = False
        self.answers: dict[str, Answer] = {
            "initialize": lambda params: {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "fake", "version": "1"},
            },
            "tools/list": lambda params: {"tools": [{"name": "echo", "inputSchema": {}}]},
            "tools/call": lambda params: {"content": [], "structuredContent": params["arguments"]},
        }
        self.versions: list[str] = []
        self.tools: list[bytes] = []
        self.withdrawn: list[int] = []
        self.has_streams = False
        self.is_full = False
        self.session = PluginSession(limits=LIMITS, **changes)
        self.session.attach(self)

    def has_room(self) -> bool:
        return not self.is_full

    def withdraw(self, ident: int) -> None:
        self.withdrawn.append(ident)

    def use_version(self, version: str) -> None:
        self.versions.append(version)

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        self.tools = [bytes(tool) for tool in tools]

    def send(self, message: bytes, ident: int = 0, words: bytes = b"") -> None:
        """One message of ours; the plugin is its own transport."""
        self.hear(message)

    def offer(self, **capabilities: Json) -> None:
        """Promise this in the handshake."""
        self.answers["initialize"] = lambda params: {
            "protocolVersion": "2025-11-25",
            "capabilities": capabilities,
            "serverInfo": {"name": "fake", "version": "1"},
        }
        for method in ("logging/setLevel", "resources/subscribe", "resources/unsubscribe"):
            self.answers[method] = lambda params: {}

    def become_modern(self, capabilities: Json | None = None) -> None:
        """Speak 2026-07-28 and nothing else."""
        del self.answers["initialize"]
        self.answers["server/discover"] = lambda params: {
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}} if capabilities is None else capabilities,
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "version": "2"}},
            "ttlMs": 0,
            "cacheScope": "private",
        }

    def hear(self, message: bytes) -> None:
        """One message of ours."""
        read = json.loads(message)
        self.heard.append(read)
        self.arrivals.put_nowait(read)
        if self.is_dead or "id" not in read or "method" not in read:
            return
        answer = self.answers.get(read["method"])
        if answer is None:
            self.say({"id": read["id"], "error": {"code": -32601, "message": "unknown"}})
            return
        result = answer(read.get("params", {}))
        if result is not None:
            self.say({"id": read["id"], "result": result})

    def say(self, members: Json, of: int | None = None) -> None:
        """Send one message, in the next loop turn as a pipe would."""
        line = json.dumps({"jsonrpc": "2.0"} | members).encode()
        asyncio.get_running_loop().call_soon(self.session.receive, line, of)

    async def wait_for_response(self) -> Json:
        """The next answer to a request of its own."""
        async with asyncio.timeout(WAIT_S):
            while "method" in (message := await self.arrivals.get()):
                pass
        return message

    async def wait_for(self, method: str) -> Json:
        """The next message with this method."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self.arrivals.get()
                if message.get("method") == method:
                    return message


class Caller:
    """One call at a desk, and all it hears. A context makes it one of a known client."""

    def __init__(
        self,
        tool: str = "echo",
        arguments: Json | None = None,
        context: CallContext | None = None,
        *,
        timeout_s: float = WAIT_S,
        wants_progress: bool = False,
    ) -> None:
        self.heard: asyncio.Queue[tuple[Kind, Any]] = asyncio.Queue()
        frame = CallFrame(
            tool=tool,
            arguments=json.dumps({"x": 1} if arguments is None else arguments).encode(),
            digest="",
            timeout_s=timeout_s,
            wants_progress=wants_progress,
            context=b"" if context is None else encode_context(context),
        )
        self.inbound = Inbound(1, frame, self._hear)

    async def next(self) -> tuple[Kind, Any]:
        """What it hears next."""
        return await asyncio.wait_for(self.heard.get(), WAIT_S)

    async def take(self, kind: Kind) -> Any:
        """What it hears next, which is of this kind."""
        found, payload = await self.next()
        assert found is kind, (found, payload)
        return payload

    async def code(self) -> str:
        """The code of the failure it hears next."""
        code: str = (await self.take(Kind.FAILURE))["code"]
        return code

    def _hear(self, call: int, kind: Kind, payload: bytes | memoryview) -> None:
        for line in bytes(payload).split(b"\n") if kind is Kind.NOTE else [bytes(payload)]:
            self.heard.put_nowait((kind, json.loads(line)))


class Counter:
    """A desk in front of one plugin."""

    def __init__(self, plugin: Plugin, execution_timeout_s: float = WAIT_S) -> None:
        self.plugin = plugin
        self.hangs: asyncio.Queue[None] = asyncio.Queue()
        self.desk = Desk(execution_timeout_s=execution_timeout_s, on_hang=lambda: self.hangs.put_nowait(None))

    async def open(self) -> Counter:
        """Find out the plugin's era and take calls."""
        surface = await open_session(self.plugin.session, EraMemory(), WAIT_S)
        self.desk.opened(self.plugin.session, surface.capabilities)
        self.forget()
        return self

    def forget(self) -> None:
        """Of the arrivals so far nothing is waited for."""
        while not self.plugin.arrivals.empty():
            self.plugin.arrivals.get_nowait()

    def call(self, caller: Caller) -> Caller:
        """Let it call."""
        self.desk.call(caller.inbound)
        return caller

    async def arrival(self, method: str = "tools/call") -> Json:
        """The next request of this method that the plugin gets."""
        return await self.plugin.wait_for(method)

    async def response(self) -> Json:
        """The next response that the plugin gets."""
        return await self.plugin.wait_for_response()

    def answer(self, scope: str, ask: str, **members: Any) -> None:
        """A client answers a question with `result` or `error`."""
        self.desk.answer(
            AnswerFrame(
                scope,
                ask,
                **{name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items()},
            )
        )


class Life:
    """One life of a plugin, as the warden holds it."""

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.session = plugin.session
        self.was_killed = asyncio.Event()
        self.is_over = asyncio.Event()
        self._end: asyncio.Future[SekishoError] = asyncio.get_running_loop().create_future()

    async def ended(self) -> SekishoError:
        return await asyncio.shield(self._end)

    async def kill(self) -> None:
        self.was_killed.set()
        self.end(Unavailable("plugin_exited", "killed"))

    def end(self, error: SekishoError) -> None:
        """The plugin is gone."""
        self.plugin.is_dead = True
        if not self._end.done():
            self._end.set_result(error)


class Incubator:
    """Starts plugins; a connector for the warden. `prepared` plugins live first."""

    def __init__(self) -> None:
        self.prepared: deque[Callable[[Plugin], None]] = deque()
        self.lives: asyncio.Queue[Life] = asyncio.Queue()

    @asynccontextmanager
    async def connect(self, on_list_changed: Callable[[], None]) -> AsyncIterator[Life]:
        plugin = Plugin(on_list_changed=on_list_changed)
        if self.prepared:
            self.prepared.popleft()(plugin)
        life = Life(plugin)
        self.lives.put_nowait(life)
        try:
            yield life
        finally:
            life.is_over.set()

    async def next_life(self) -> Life:
        """The next plugin that was started."""
        return await asyncio.wait_for(self.lives.get(), WAIT_S)


class Board:
    """Where the warden publishes."""

    def __init__(self) -> None:
        self.surfaces: asyncio.Queue[SurfaceFrame] = asyncio.Queue()
        self.states: asyncio.Queue[StateFrame] = asyncio.Queue()
        self.denials: list[DenialFrame] = []

    def publish_denial(self, denial: DenialFrame) -> None:
        self.denials.append(denial)

    def publish_surface(self, frame: SurfaceFrame) -> None:
        self.surfaces.put_nowait(frame)

    def publish_state(self, frame: StateFrame) -> None:
        self.states.put_nowait(frame)

    async def until(self, state: str) -> StateFrame:
        """The next state of this name."""
        async with asyncio.timeout(WAIT_S):
            while True:
                frame = await self.states.get()
                if frame.state == state:
                    return frame

    async def surface(self) -> SurfaceFrame:
        """The next surface."""
        return await asyncio.wait_for(self.surfaces.get(), WAIT_S)


class Site:
    """An HTTP server. `reply` gives the bytes to write for a request; `None` closes the connection at once."""

    def __init__(self, reply: Callable[[HttpRequest], bytes | None]) -> None:
        self.reply = reply
        self.requests: list[HttpRequest] = []
        self.arrivals: asyncio.Queue[HttpRequest] = asyncio.Queue()
        self.connections = 0
        self.closes_after_reply = False
        self.url = ""
        self.all_closed = asyncio.Event()
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self._open += 1
        self.all_closed.clear()
        requests = RequestReader()
        try:
            while data := await reader.read(1 << 16):
                for request in requests.feed(data):
                    self.requests.append(request)
                    self.arrivals.put_nowait(request)
                    answer = self.reply(request)
                    if answer is None:
                        return
                    writer.write(answer)
                    if self.closes_after_reply:
                        return
        except ConnectionError:
            pass
        finally:
            writer.close()
            self._open -= 1
            if not self._open:
                self.all_closed.set()


@asynccontextmanager
async def open_site(reply: Callable[[HttpRequest], bytes | None]) -> AsyncIterator[Site]:
    """A site on a free port of loopback."""
    site = Site(reply)
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield site
        if site.connections:
            await asyncio.wait_for(site.all_closed.wait(), WAIT_S)
    finally:
        server.close()


SiteOpener = Callable[[Callable[[HttpRequest], bytes | None]], AbstractAsyncContextManager[Site]]


@pytest.fixture
def site() -> SiteOpener:
    """Opens sites."""
    return open_site


@pytest.fixture
def new_caller() -> type[Caller]:
    """Makes calls."""
    return Caller


@pytest.fixture
def silent() -> Plugin:
    """A legacy plugin that answers no call by itself."""
    plugin = Plugin(may_ask=("elicitation", "elicitation/url", "sampling"))
    plugin.answers["tools/call"] = lambda params: None
    return plugin


@pytest.fixture
async def legacy(silent: Plugin) -> AsyncIterator[Counter]:
    """A desk in front of a legacy plugin that answers nothing by itself."""
    silent.offer(logging={}, resources={"subscribe": True}, tools={})
    counter = await Counter(silent).open()
    yield counter
    counter.desk.close()


@pytest.fixture
async def modern(silent: Plugin) -> AsyncIterator[Counter]:
    """A desk in front of a modern plugin that answers nothing by itself."""
    silent.become_modern({"tools": {"listChanged": True}, "resources": {"subscribe": True}})
    silent.answers["subscriptions/listen"] = lambda params: None
    counter = await Counter(silent).open()
    yield counter
    counter.desk.close()


@pytest.fixture
def new_counter() -> type[Counter]:
    """Makes desks."""
    return Counter


@pytest.fixture
def new_plugin() -> type[Plugin]:
    """Makes plugins."""
    return Plugin


@pytest.fixture
def incubator() -> Incubator:
    """Starts plugins for a warden."""
    return Incubator()


@pytest.fixture
def board() -> Board:
    """Hears a warden."""
    return Board()

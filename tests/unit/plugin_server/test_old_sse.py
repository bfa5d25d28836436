"""The transport of 2024-11-05; `test_remote` shows how it is found."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from sekisho.errors import SekishoError
from sekisho.plugin_server.authoriser import StaticHeaders
from sekisho.plugin_server.old_sse import OldSse
from sekisho.plugin_server.site import Site
from sekisho.protocol import response_bytes

WAIT_S = 5.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
ENDPOINT = b"event: endpoint\ndata: /messages\n\n"
MESSAGE = b'{"jsonrpc":"2.0","id":1,"result":{}}'
REQUEST = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


class Hearer:
    """What came."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes | str] = asyncio.Queue()

    def receive_all(self, lines: Sequence[bytes], of: int | None = None) -> None:
        for line in lines:
            self.receive(line, of)

    def receive(self, line: bytes, of: int | None = None) -> None:
        assert of is None
        self.said.put_nowait(line)

    def receive_large(self, place: memoryview, size: int) -> bool:
        return False

    def is_waiting(self, ident: int | str) -> bool:
        return True

    def fail_one(self, ident: int | str, error: SekishoError) -> None:
        self.said.put_nowait(error.code)

    def fail_all(self, error: SekishoError) -> None:
        self.said.put_nowait(error.code)

    async def next(self) -> bytes | str:
        return await asyncio.wait_for(self.said.get(), WAIT_S)


@asynccontextmanager
async def _old(
    stream: bytes,
    *later: bytes,
    answer: bytes = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n",
    ends: bool = False,
) -> AsyncIterator[tuple[OldSse, Hearer, list[bytes]]]:
    """A server that writes `stream` to a GET, and at a POST its answer, then `later` on the stream."""
    heads: list[bytes] = []
    streams: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                heads.append(data)
                if data.startswith(b"GET"):
                    streams.append(writer)
                    writer.write(stream)
                    if ends:
                        break
                    continue
                writer.write(answer)
                for piece in later:
                    streams[0].write(piece)
                    await streams[0].drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    hearer = Hearer()
    old = OldSse(
        Site.parse(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/sse"),
        hearer=hearer,
        authoriser=StaticHeaders({"Authorization": "Bearer mine"}),
        context=None,
        may_be_private=False,
        trace=("traceparent",),
        max_body_bytes=4096,
        on_end=lambda error: hearer.said.put_nowait(f"end {error.code}"),
    )
    try:
        yield old, hearer, heads
    finally:
        await old.close()
        server.close()


async def test_messages_go_to_the_address_it_names_and_answers_come_on_the_stream() -> None:
    async with _old(HEAD + ENDPOINT, b"data: " + MESSAGE + b"\n\n: alive\n\n") as (old, hearer, heads):
        await old.open()
        old.send(REQUEST)
        assert await hearer.next() == MESSAGE
        assert heads[0].startswith(b"GET /sse HTTP/1.1\r\n")
        assert heads[1].startswith(b"POST /messages HTTP/1.1\r\n")
        assert all(b"Authorization: Bearer mine\r\n" in head for head in heads)
        assert not old.has_streams
        assert old.has_room()


async def test_a_message_that_says_a_trace_says_it_in_its_head() -> None:
    parent = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    meta = b'"_meta":{"traceparent":"%b","baggage":"a=1"}' % parent
    traced = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{%b}}' % meta
    async with _old(HEAD + ENDPOINT, b"data: " + MESSAGE + b"\n\n") as (old, hearer, heads):
        await old.open()
        old.send(traced)
        assert await hearer.next() == MESSAGE
        assert b"\r\ntraceparent: " + parent + b"\r\n" in heads[1]
        assert b"baggage: " not in heads[1]
        assert b"trace" not in heads[0]


async def test_split_utf8_is_joined_again() -> None:
    text = b'data: {"jsonrpc":"2.0","method":"m","params":{"x":"\xc3\xa9\xf0\x9f\x8e\x8c"}}\n\n'
    pieces = [text[at : at + 1] for at in range(len(text))]
    async with _old(HEAD + ENDPOINT, *pieces) as (old, hearer, _):
        await old.open()
        old.send(REQUEST)
        assert await hearer.next() == text[6:-2]


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "stream",
    [
        response_bytes(200, b"{}"),
        response_bytes(404, b""),
        response_bytes(302, b"", headers=[("Location", "/other")]),
        HEAD + b"event: endpoint\ndata: http://evil.example.org/\n\n",
        HEAD + b"data: " + b"x" * 5000,
    ],
)
async def test_what_is_no_such_server_is_not_used(stream: bytes) -> None:
    async with _old(stream) as (old, hearer, heads):
        with pytest.raises(SekishoError):
            await old.open()
        assert len(heads) == 1
        assert hearer.said.empty()


@pytest.mark.threat("T-GARBAGE")
async def test_an_event_without_end_ends_the_session() -> None:
    async with _old(HEAD + ENDPOINT, b"data: " + b"x" * 5000) as (old, hearer, _):
        await old.open()
        old.send(REQUEST)
        assert await hearer.next() == "result_too_large"
        assert await hearer.next() == "end result_too_large"


async def test_the_end_of_the_stream_is_the_end_of_the_session() -> None:
    async with _old(HEAD + ENDPOINT, ends=True) as (old, hearer, _):
        await old.open()
        assert await hearer.next() == "plugin_exited"
        assert await hearer.next() == "end plugin_exited"


@pytest.mark.parametrize("status", [400, 401, 503])
async def test_a_message_that_is_refused_fails_its_request(status: int) -> None:
    async with _old(HEAD + ENDPOINT, answer=response_bytes(status, b"")) as (old, hearer, _):
        await old.open()
        old.send(REQUEST)
        assert await hearer.next() in {"plugin_protocol", "plugin_unavailable"}

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from sekisho.credentials.fetch import MAX_ANSWER_BYTES, Fetcher
from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.protocol import HttpRequest, response_bytes

if TYPE_CHECKING:
    from tests.unit.credentials.conftest import Town


@asynccontextmanager
async def _saying(answer: bytes, *, then_closes: bool = True) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if then_closes:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def test_a_document_is_fetched_with_no_headers_of_our_own(serving: object) -> None:
    heads: list[HttpRequest] = []

    def reply(request: HttpRequest) -> bytes:
        heads.append(request)
        return response_bytes(200, b"{}")

    async with serving(reply) as origin:  # type: ignore[operator]  # the fixture gives the function
        answer = await Fetcher(origin).get(f"{origin}/a?b=c")
    assert (answer.status, answer.body) == (200, b"{}")
    assert set(heads[0].headers) == {"host", "accept", "connection"}
    assert heads[0].target == "/a?b=c"


async def test_a_redirect_is_an_answer_and_is_not_followed(town: Town) -> None:
    said = response_bytes(307, b"", headers=(("Location", town.url),))
    async with _saying(said) as url:
        answer = await Fetcher(url).post(url, b"client_secret=s", "application/x-www-form-urlencoded")
    assert answer.status == 307
    assert town.asked == []


async def test_a_large_answer_is_refused_and_one_at_the_limit_is_taken() -> None:
    for size, is_taken in ((MAX_ANSWER_BYTES, True), (MAX_ANSWER_BYTES + 1, False)):
        async with _saying(response_bytes(200, b"x" * size)) as url:
            if is_taken:
                assert len((await Fetcher(url).get(url)).body) == size
            else:
                with pytest.raises(Refused):
                    await Fetcher(url).get(url)


async def test_an_endless_stream_is_refused() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    async with _saying(head + b": x\n" * MAX_ANSWER_BYTES) as url:
        with pytest.raises(Refused, match="too large"):
            await Fetcher(url).get(url)


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n"],
)
async def test_half_an_answer_is_refused(answer: bytes) -> None:
    async with _saying(answer) as url:
        with pytest.raises(SekishoError):
            await Fetcher(url).get(url)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    async with _saying(b"") as url:
        pass
    with pytest.raises(Unavailable):
        await Fetcher(url).get(url)


async def test_plain_http_to_another_machine_is_refused() -> None:
    with pytest.raises(Refused, match="HTTPS"):
        await Fetcher("https://93.184.215.14/").get("http://93.184.215.14/")


@pytest.mark.threat("T-MIXUP")
@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "https://10.1.2.3/", "https://[::1]/", "https://169.254.169.254/"]
)
async def test_a_public_server_cannot_lead_us_inside(url: str) -> None:
    with pytest.raises(Refused, match="inside this network"):
        await Fetcher("https://93.184.215.14/mcp").get(url)


async def test_an_address_the_operator_wrote_down_may_lie_inside(town: Town) -> None:
    fetcher = Fetcher("https://93.184.215.14/mcp", named=(town.issuer,))
    answer = await fetcher.get(f"{town.issuer}/.well-known/oauth-authorization-server")
    assert answer.status == 200


async def test_a_server_of_this_machine_may_lead_to_another_of_this_machine(town: Town) -> None:
    answer = await Fetcher(town.url).get(f"{town.issuer}/.well-known/oauth-authorization-server")
    assert answer.status == 200

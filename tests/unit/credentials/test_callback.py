from __future__ import annotations

import asyncio

import pytest

from sekisho.credentials.callback import CALLBACK_PATH, MAX_VISITS, Callback, open_callback
from sekisho.errors import Misconfigured, Unavailable

WAIT_S = 5.0


def _is_ours(query: str) -> bool:
    return query == "state=ours"


async def _visit(callback: Callback, target: str, host: str = "", method: str = "GET") -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", callback.port)
    writer.write(
        f"{method} {target} HTTP/1.1\r\nHost: {host or f'127.0.0.1:{callback.port}'}\r\n\r\n".encode()
    )
    try:
        return await asyncio.wait_for(reader.read(), WAIT_S)
    finally:
        writer.close()


async def test_the_answer_is_handed_on_and_the_person_thanked() -> None:
    async with open_callback() as callback:
        callback.expect(_is_ours)
        page = await _visit(callback, f"{CALLBACK_PATH}?state=ours")
        assert await callback.answer(WAIT_S) == "state=ours"
    assert page.startswith(b"HTTP/1.1 200")
    assert b"Thank you" in page
    assert b"default-src 'none'" in page


@pytest.mark.parametrize(
    ("target", "host", "method"),
    [
        (f"{CALLBACK_PATH}?state=theirs", "", "GET"),
        ("/other?state=ours", "", "GET"),
        (f"{CALLBACK_PATH}?state=ours", "evil.example", "GET"),
        (f"{CALLBACK_PATH}?state=ours", "", "DELETE"),
        (f"{CALLBACK_PATH}?state=<script>&next=https://evil.example", "", "GET"),
    ],
)
async def test_a_strange_visit_is_answered_and_forgotten(target: str, host: str, method: str) -> None:
    async with open_callback() as callback:
        callback.expect(_is_ours)
        page = await _visit(callback, target, host, method)
        assert page.startswith(b"HTTP/1.1 400")
        assert b"Location" not in page
        assert b"evil" not in page
        await _visit(callback, f"{CALLBACK_PATH}?state=ours")
        assert await callback.answer(WAIT_S) == "state=ours"


async def test_garbage_does_not_end_a_login() -> None:
    async with open_callback() as callback:
        callback.expect(_is_ours)
        _, writer = await asyncio.open_connection("127.0.0.1", callback.port)
        writer.write(b"\x16\x03\x01 no http\r\n\r\n")
        writer.close()
        await _visit(callback, f"{CALLBACK_PATH}?state=ours")
        assert await callback.answer(WAIT_S) == "state=ours"


async def test_a_login_nobody_finishes_ends() -> None:
    async with open_callback() as callback:
        callback.expect(_is_ours)
        with pytest.raises(Unavailable, match="nobody"):
            await callback.answer(0.01)


async def test_knocking_without_end_ends_the_login() -> None:
    async with open_callback() as callback:
        callback.expect(_is_ours)
        for _ in range(MAX_VISITS + 1):
            await _visit(callback, "/")
        with pytest.raises(Unavailable, match="knocks"):
            await callback.answer(WAIT_S)


async def test_a_port_that_is_taken_is_said_to_be() -> None:
    async with open_callback() as callback:
        with pytest.raises(Misconfigured, match="taken"):
            async with open_callback(callback.port):
                pass

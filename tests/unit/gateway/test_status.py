"""The status page: health for operators on this machine, one request per connection, no names."""

from __future__ import annotations

import asyncio
import json

import pytest

from sekisho.gateway import StatusPage


async def ask(request: bytes, problems: dict[str, str] | None = None) -> tuple[int, bytes, bytes]:
    """Status, head and body of the answer, over a real socket."""
    server = await asyncio.get_running_loop().create_server(
        lambda: StatusPage(
            readiness=lambda: problems or {}, metrics=lambda: ("text/plain", b"sekisho_up 1\n")
        ),
        "127.0.0.1",
        0,
    )
    async with server, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(request)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
    return int(head.split()[1]), head, body


def get(path: str, host: str = "127.0.0.1") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


async def test_it_is_alive_and_ready_and_counts() -> None:
    assert (await ask(get("/healthz")))[0] == 200
    assert (await ask(get("/readyz")))[0] == 200
    assert (await ask(get("/metrics")))[2] == b"sekisho_up 1\n"


async def test_a_problem_makes_it_unready_but_not_dead() -> None:
    problems = {"audit": "no space left"}
    status, _, body = await ask(get("/readyz"), problems)
    assert (status, json.loads(body)) == (503, {"ready": False, "problems": problems})
    assert (await ask(get("/healthz"), problems))[0] == 200


async def test_nothing_else_is_served() -> None:
    assert (await ask(get("/mcp")))[0] == 404
    status, head, _ = await ask(b"DELETE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert status == 405
    assert b"Allow: GET" in head


@pytest.mark.threat("T-REBIND")
async def test_a_web_page_cannot_read_it_through_a_name_of_its_own() -> None:
    assert (await ask(get("/metrics", "evil.example")))[0] == 403
    assert (await ask(get("/metrics", "localhost:1")))[0] == 200


@pytest.mark.threat("T-FLOOD")
async def test_a_body_or_garbage_ends_the_connection() -> None:
    assert (await ask(b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n"))[0] == 413
    assert (await ask(b"\0\r\n\r\n"))[0] == 400

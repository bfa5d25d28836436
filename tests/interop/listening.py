"""The official client in front of the gateway, with what came over the wire kept as it came.

The client's typed results leave out and add fields; the comparison needs the JSON that the gateway sent. Only for
conversations in which the gateway asks nothing back: an answer is read to its end before the client sees it.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

__all__ = ["Ear", "canonical", "connect"]

TIMEOUT_S: Final = 40


class Ear:
    """Keeps the results that came over the wire."""

    def __init__(self) -> None:
        self._heard: list[dict[str, Any]] = []

    def last(self, member: str) -> dict[str, Any]:
        """The last result with this member: the client asks for lists of its own between two calls."""
        return next(one for one in reversed(self._heard) if member in one)

    async def hear(self, response: httpx2.Response) -> None:
        """Called by the HTTP client for each response, before the MCP client reads it."""
        if response.request.method != "POST":
            return  # a stream without an end
        text = (await response.aread()).decode()
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            pieces = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")]
        else:
            pieces = [text]
        for piece in pieces:
            message = json.loads(piece) if piece.strip() else {}
            if "result" in message:
                self._heard.append(message["result"])


@asynccontextmanager
async def connect(url: str, token: str, ca: Path, era: str) -> AsyncIterator[tuple[Client, Ear]]:
    """A connection in this era, and the ear on it."""
    ear = Ear()
    async with (
        httpx2.AsyncClient(
            verify=ssl.create_default_context(cafile=ca),
            headers={"Authorization": f"Bearer {token}"},
            timeout=TIMEOUT_S,
            event_hooks={"response": [ear.hear]},
        ) as http,
        Client(streamable_http_client(url, http_client=http), mode=era, cache=None) as client,
    ):
        yield client, ear


def canonical(value: object) -> str:
    """One text for one JSON value: `1`, `1.0` and `true` differ, the order of members does not."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)

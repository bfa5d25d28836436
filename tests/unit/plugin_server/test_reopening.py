"""Opening a forgotten session once more."""

from __future__ import annotations

import asyncio
import json

import pytest

from sekisho.errors import SekishoError, Unavailable
from sekisho.plugin_server.reopening import Reopening
from sekisho.protocol import request_bytes

HELLO = request_bytes(3, "initialize", b'{"protocolVersion":"2025-11-25"}')


def _answer(version: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 3, "result": {"protocolVersion": version}}).encode()


def test_only_the_handshake_is_remembered() -> None:
    reopening = Reopening()
    reopening.saw(request_bytes(2, "server/discover", b"{}"))
    assert not reopening.is_known
    assert not reopening.is_hello(b"")
    reopening.saw(HELLO)
    assert (reopening.is_known, reopening.ident, reopening.message) == (True, 3, HELLO)
    assert reopening.is_hello(HELLO)


async def test_the_same_version_is_good() -> None:
    hearer, good = Reopening().again("2025-11-25")
    hearer.receive_all([b'{"jsonrpc":"2.0","method":"notifications/message"}', b"garbage"])
    assert hearer.is_waiting(3)
    hearer.receive(_answer("2025-11-25"))
    assert not hearer.is_waiting(3)
    await asyncio.wait_for(good, 20)
    hearer.receive(_answer("2024-11-05"))
    hearer.fail_one(3, Unavailable("plugin_exited", "late"))


@pytest.mark.threat("T-RUGPULL")
async def test_another_version_is_not() -> None:
    hearer, good = Reopening().again("2025-11-25")
    hearer.receive(_answer("2025-06-18"))
    with pytest.raises(SekishoError) as caught:
        await good
    assert caught.value.code == "plugin_protocol"


async def test_a_failure_is_told() -> None:
    hearer, good = Reopening().again("2025-11-25")
    hearer.fail_one(3, Unavailable("plugin_exited", "gone"))
    with pytest.raises(SekishoError):
        await good

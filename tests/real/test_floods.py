"""Clients that want to hurt: each kind is shed, holds a bounded amount of memory, and others are answered meanwhile.

One house with small limits. Before each flood an honest client opens a connection and keeps it; during the flood it
calls on that connection and on new ones. Nothing here measures time; `bench/floods.py` does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.real.conftest import House, common, plugin, until
from tests.real.raw import Raw, call, connected, request
from tests.real.test_limits import MIRROR, other_client, serves

pytestmark = [pytest.mark.real, pytest.mark.threat("T-FLOOD")]

CONNECTIONS = 96
HELD_BYTES = 24_000_000
# A TLS connection that sends costs 0.75 MB in the event loop's own buffers, and there may be 96; and max_held_bytes.
ROOM_BYTES = 112_000_000
# Thirty results of 4 MB come back at one time, each as received and as judged: calls under way are bounded by number.
ROOM_OF_ANSWERS = 30 * 2 * 4_000_000 + ROOM_BYTES
LIMITS = f"""[limits]
max_connections = {CONNECTIONS}
max_connections_per_client = 64
max_held_bytes = {HELD_BYTES}
max_pipelined = 16
handshake_timeout_seconds = 2
receive_timeout_seconds = 3
send_timeout_seconds = 3
max_new_sessions_per_minute = 60
"""


@pytest.fixture(scope="module")
def flooded(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with small limits, and a plugin with large answers."""
    text = LIMITS + common() + plugin("m", MIRROR, operations=("mirror", "big", "slow"))
    house = House(tmp_path_factory.mktemp("flooded"), text)
    yield house
    house.stop()


@pytest.fixture(scope="module")
def honest(flooded: House) -> str:
    """The token of a client that harms nobody."""
    return other_client(flooded, "honest")


def resident(house: House) -> int:
    """Bytes of memory the core holds now."""
    lines = Path(f"/proc/{house.pid('core')}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@contextlib.contextmanager
def others_are_served(house: House, token: str, room: int = ROOM_BYTES) -> Iterator[Callable[[], None]]:
    """Around a flood: gives a function that calls as an honest client does, and watches the core's memory."""
    good = call(house, "m__mirror", token=token, v=1)
    before = resident(house)
    with connected(house) as (kept,):

        def check() -> None:
            for _ in range(5):
                kept.send(good)
                answer = kept.answer()
                assert answer is not None
                assert answer.code == "ok"
            until(lambda: serves(house, good), "a new connection of an honest client is served")
            assert resident(house) - before < room

        check()
        yield check
        check()
    assert resident(house) - before < room


@contextlib.contextmanager
def crowd(house: House, count: int, said: bytes, *, handshake: bool = True) -> Iterator[list[Raw]]:
    """Many connections that say this and then nothing; those that are shed at once are fine."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                raw = stack.enter_context(contextlib.closing(Raw(house, handshake=handshake)))
                raw.sock.settimeout(0.5)  # a house that reads no more is not waited for
                raw.send(said)
                raw.sock.settimeout(20)
                made.append(raw)
        yield made


HEAD = b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("said", "handshake"),
    [
        (b"", False),
        (b"\x16\x03\x01", False),
        (b"", True),
        (b"POST", True),
        (HEAD, True),
        (HEAD + b"X: " + b"a" * 30_000, True),
        (HEAD + b"Content-Length: 9000000\r\n\r\n" + b"x" * 400_000, True),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"61a80\r\n" + b"x" * 400_000, True),
    ],
    ids=[
        "no handshake",
        "half a handshake",
        "nothing",
        "a word",
        "slow head",
        "big head",
        "slow body",
        "chunked body",
    ],
)
def test_strangers_in_a_crowd_shut_nobody_out(
    flooded: House, honest: str, said: bytes, handshake: bool
) -> None:
    with others_are_served(flooded, honest) as check:
        with crowd(flooded, 2 * CONNECTIONS, said, handshake=handshake):
            check()
        until(lambda: _open_connections(flooded) < 10, "the crowd is gone")


def _open_connections(house: House) -> int:
    core = Path(f"/proc/{house.pid('core')}/net/tcp").read_text().splitlines()[1:]
    port = int(house.url.rsplit(":", 1)[1].split("/")[0])
    rows = [line.split() for line in core]
    return sum(int(row[1].split(":")[1], 16) == port and row[3] == "01" for row in rows)


def test_strangers_are_cut_while_they_still_hold_on(flooded: House, honest: str) -> None:
    with others_are_served(flooded, honest), crowd(flooded, 40, HEAD) as strangers:
        assert all(one.is_cut() for one in strangers)


def test_strangers_that_come_together_are_all_told_and_nobody_waits_for_all_of_them(
    flooded: House, honest: str
) -> None:
    wrong = request(flooded, body=b"{}", token="sk-" + "A" * 43)
    with others_are_served(flooded, honest) as check, crowd(flooded, 60, wrong) as strangers:
        for one in strangers:  # once more, while the first is still waiting for its turn
            with contextlib.suppress(OSError):
                one.send(wrong)
        check()
        told = [one.answer() for one in strangers]
    assert {one.code for one in told if one is not None} == {"token_invalid"}  # None: it made room


def test_a_crowd_that_is_refused_in_spite_of_its_token_is_told_and_newcomers_are_served(
    flooded: House, honest: str
) -> None:
    """The check of others also calls on new connections, which stand in the same line."""
    whole = request(flooded, body=b"x" * 9000)
    bad = whole.replace(b"Type: application/json", b"Type: text/plain", 1)[:-8000]
    with others_are_served(flooded, honest) as check, crowd(flooded, 60, bad) as refused:
        check()
        told = [one.answer() for one in refused]
    assert {one.code for one in told if one is not None} == {"http_media_type"}  # None: it made room


def test_a_slow_but_honest_client_is_heard_in_a_crowd_that_trickles(flooded: House, honest: str) -> None:
    good = call(flooded, "m__mirror", token=honest, v=1)
    size = len(good) // 6 + 1
    with crowd(flooded, 40, HEAD) as strangers, connected(flooded) as (slow,):
        for at in range(0, len(good), size):
            for one in strangers:
                with contextlib.suppress(OSError):
                    one.send(b"X: a\r\n")
            slow.send(good[at : at + size])
        answer = slow.answer()
    assert answer is not None
    assert answer.code == "ok"


def test_a_client_with_a_token_cannot_fill_memory_with_bodies(flooded: House, honest: str) -> None:
    start = request(flooded, body=b"x" * 9_000_000)[:-8_000_000]
    with others_are_served(flooded, honest) as check, crowd(flooded, 50, start):
        check()


def test_a_client_that_does_not_read_cannot_fill_memory_with_answers(flooded: House, honest: str) -> None:
    big = call(flooded, "m__big", bytes=4_000_000)
    with others_are_served(flooded, honest, ROOM_OF_ANSWERS) as check, contextlib.ExitStack() as stack:
        for _ in range(30):
            raw = stack.enter_context(contextlib.closing(Raw(flooded, receive_buffer=4096)))
            raw.send(big)
        check()


def test_a_client_that_opens_sessions_without_end_is_slowed(flooded: House, honest: str) -> None:
    hello = b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}'
    head = (
        HEAD + b"Authorization: Bearer " + flooded.token.encode() + b"\r\nContent-Type: application/json\r\n"
    )
    whole = (
        head
        + b"Accept: application/json, text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(hello)
        + hello
    )
    codes = []
    with others_are_served(flooded, honest) as check, connected(flooded) as (raw,):
        for _ in range(300):
            raw.send(whole)
            answer = raw.answer()
            assert answer is not None
            codes.append(answer.code)
        check()
    assert 60 <= codes.count("ok") < 120
    assert set(codes) == {"ok", "rate_limited"}


def test_a_client_that_sends_without_waiting_is_shed(flooded: House, honest: str) -> None:
    many = b"".join(call(flooded, "m__slow", seconds=0.2, ident=number) for number in range(500))
    with others_are_served(flooded, honest) as check, crowd(flooded, 20, many) as pushers:
        check()
        for one in pushers:
            codes = []
            while (answer := one.answer()) is not None:
                codes.append(answer.code)
            assert len(codes) <= 18
            assert codes == [] or codes[-1] == "busy"


def test_calls_that_are_given_up_at_once_leave_nothing_behind(flooded: House, honest: str) -> None:
    good = call(flooded, "m__slow", seconds=0.2)
    with others_are_served(flooded, honest) as check:
        for _ in range(100):
            with connected(flooded) as (raw,):
                raw.send(good)
        check()
    until(lambda: "sekisho_in_flight 0.0" in flooded.status("/metrics").text, "nothing is under way")

"""The line: every refusal in order, a bounded rate with a count, and nothing that could be taken for another."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.event import EgressEvent
from sekisho.egress.line import KIND_RATE, EgressRefusal, GateLine, LineEnd, decode, encode
from sekisho.policy import RateRule

HOSTS = st.from_regex(r"([a-z0-9]{1,20}\.){0,5}[a-z]{2,10}", fullmatch=True)
REFUSALS = st.builds(
    EgressRefusal,
    kind=st.sampled_from(("dns", "http", "tls", "tunnel", "proxy", "connection", "host", "rate")),
    host=st.one_of(st.just(""), HOSTS),
    port=st.integers(0, 65535),
    reason=st.text("abc XYZ,.-()", max_size=200),
    left_out=st.integers(0, 1 << 40),
    is_observation=st.booleans(),
)


def refused(host: str = "evil.example", *, allowed: bool = False, is_learned: bool = False) -> EgressEvent:
    return EgressEvent(
        plugin="a", kind="tls", host=host, port=443, allowed=allowed, reason="no", is_learned=is_learned
    )


@pytest.fixture
def pair() -> Iterator[tuple[LineEnd, GateLine]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with LineEnd(ours, rate=RateRule(per_minute=1, burst=2)) as end, GateLine(theirs) as line:
        yield end, line


@given(REFUSALS)
def test_a_refusal_comes_out_as_it_went_in(refusal: EgressRefusal) -> None:
    assert decode(encode(refusal)) == refusal


@given(st.binary(max_size=200))
def test_no_packet_raises(packet: bytes) -> None:
    decode(packet)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "else"},
        {"kind": ["dns"]},
        {"host": "EVIL.example"},
        {"host": "127.0.0.1"},
        {"host": "a\nb"},
        {"port": -1},
        {"port": 70000},
        {"port": True},
        {"port": "80"},
        {"reason": "two\nlines"},
        {"reason": "x" * 201},
        {"left_out": -1},
        {"left_out": 1.5},
        {"is_observation": 1},
        {"more": 1},
    ],
)
def test_anything_else_is_dropped(change: dict[str, object]) -> None:
    good = asdict(EgressRefusal(kind="dns", host="a.example", port=53, reason="no"))
    assert decode(json.dumps(good).encode()) is not None
    assert decode(json.dumps({**good, **change}).encode()) is None


async def test_a_flood_is_told_at_its_rate_and_then_counted(pair: tuple[LineEnd, GateLine]) -> None:
    end, line = pair
    told: asyncio.Queue[EgressRefusal] = asyncio.Queue()
    for number in range(10):
        end.tell(refused(f"h{number}.example"))
    task = asyncio.get_running_loop().create_task(line.follow(told.put_nowait))
    found = [await told.get() for _ in range(3)]
    assert [(one.host, one.left_out) for one in found] == [
        ("h0.example", 0),
        ("h1.example", 0),
        ("h9.example", 7),
    ]
    end.say_replaced()
    assert await task is True


@pytest.mark.threat("T-FLOOD")
async def test_a_flood_of_one_kind_does_not_hide_another() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    told: list[EgressRefusal] = []
    with LineEnd(ours) as end, GateLine(theirs) as line:
        for _ in range(500):
            end.tell(refused())
        end.tell(replace(refused("api.example"), kind="secret"))
        end.close()
        await line.follow(told.append)
    assert [one.kind for one in told] == ["tls"] * KIND_RATE.capacity + ["secret"]
    assert told[-1].left_out == 500 - KIND_RATE.capacity


async def test_what_went_through_is_not_told_but_what_was_learned_is(pair: tuple[LineEnd, GateLine]) -> None:
    end, line = pair
    told: list[EgressRefusal] = []
    end.tell(refused(allowed=True))
    end.tell(refused(allowed=True, is_learned=True))
    end.close()
    assert await line.follow(told.append) is False
    assert [one.is_observation for one in told] == [True]


async def test_a_reader_that_never_reads_is_not_waited_for() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    plenty = RateRule(per_minute=10**6, burst=10**5)
    with LineEnd(ours, rate=plenty, kind_rate=plenty) as end, theirs:
        for _ in range(5000):
            end.tell(refused())
        first = decode(theirs.recv(1024))
    assert first is not None
    assert first.left_out == 0


async def test_a_word_from_the_other_side_ends_the_line(pair: tuple[LineEnd, GateLine]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    with LineEnd(ours) as end, theirs:
        theirs.send(b'{"kind":"dns"}')
        await asyncio.wait_for(end.wait_closed(), 5)

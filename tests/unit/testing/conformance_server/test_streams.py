"""A stream that is left and taken up again loses nothing and repeats nothing."""

from __future__ import annotations

import json

from sekisho.testing.conformance_server.streams import Stream


def numbers(events: list[bytes]) -> list[int]:
    lines = [line for event in events for line in event.splitlines() if line.startswith(b"data: {")]
    return [json.loads(line[6:])["n"] for line in lines]


async def test_a_follower_from_before_leaves_and_one_that_comes_back_gets_the_rest() -> None:
    stream = Stream("s")
    stream.prime()
    await stream.send({"n": 1})
    stream.hang_up()
    before = [event async for event in stream.follow()]
    await stream.send({"n": 2})
    stream.close()
    after = [event async for event in stream.follow(len(before))]
    assert numbers(before) == [1]
    assert numbers(after) == [2]
    assert b"retry: " in before[0]


async def test_a_stream_without_a_name_has_no_ids_and_no_priming_event() -> None:
    stream = Stream()
    stream.prime()
    await stream.send({"n": 1})
    stream.close()
    assert [event async for event in stream.follow()] == [b'event: message\ndata: {"n":1}\n\n']

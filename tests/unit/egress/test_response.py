"""The end of an answer is found however it is cut, and a doubt means there is no other request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.response import MAX_ANSWER_HEAD_BYTES, MAX_LINE_BYTES, ResponseReader
from sekisho.egress.tunnel import ProxyRequest, Target
from sekisho.errors import Refused


def reader(method: bytes = b"GET", *, is_last: bool = False, is_upgrade: bool = False) -> ResponseReader:
    return ResponseReader(
        ProxyRequest(
            target=Target(host="api.example.com", port=80),
            is_tunnel=False,
            method=method,
            is_last=is_last,
            is_upgrade=is_upgrade,
        )
    )


def fed(answer: bytes, size: int, follower: ResponseReader) -> int:
    """Feed it in pieces; how many bytes it took for its own."""
    taken = 0
    for at in range(0, len(answer), size):
        piece = answer[at : at + size]
        count = follower.feed(piece)
        taken += count
        if count < len(piece):
            break
    return taken


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX-Trailer: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
COMPLETE = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    INTERIM + b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!",
    CHUNKED,
]


@pytest.mark.parametrize("answer", COMPLETE)
@given(size=st.integers(1, 60), rest=st.binary(max_size=20))
def test_the_end_is_found_and_what_follows_is_left(answer: bytes, size: int, rest: bytes) -> None:
    follower = reader()
    assert fed(answer + rest, size, follower) == len(answer)
    assert follower.is_done
    assert follower.is_kept


def test_the_answer_to_head_has_no_body() -> None:
    follower = reader(b"HEAD")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
    assert fed(head + b"x", 7, follower) == len(head)
    assert (follower.is_kept, follower.status) == (True, 200)


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nto the end",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx and more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n",
        b"HTTP/2 200\r\n\r\nx",
        b"SSH-2.0-x\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_ANSWER_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * MAX_LINE_BYTES,
    ],
    ids=range(13),
)
def test_a_doubt_lasts_until_the_host_closes(answer: bytes) -> None:
    follower = reader()
    assert fed(answer + b"more", 1000, follower) == len(answer) + 4
    assert not follower.is_done
    assert not follower.is_kept


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
)
def test_a_host_that_closes_is_not_asked_again(answer: bytes) -> None:
    follower = reader()
    follower.feed(answer)
    assert (follower.is_done, follower.is_kept) == (True, False)


def test_a_client_that_wanted_one_answer_gets_one() -> None:
    follower = reader(is_last=True)
    follower.feed(COMPLETE[0])
    assert (follower.is_done, follower.is_kept) == (True, False)


def test_a_switch_of_protocols_counts_only_when_it_was_asked_for() -> None:
    switching = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
    follower = reader(is_upgrade=True)
    assert follower.feed(switching + b"frame") == len(switching)
    assert (follower.is_switched, follower.is_kept) == (True, False)
    with pytest.raises(Refused):
        reader().feed(switching)


@given(answer=st.binary(max_size=300), size=st.integers(1, 50))
def test_no_answer_raises_or_is_taken_twice(answer: bytes, size: int) -> None:
    follower = reader(is_upgrade=True)
    assert fed(b"HTTP/1.1 200 OK\r\n" + answer, size, follower) <= len(answer) + 17

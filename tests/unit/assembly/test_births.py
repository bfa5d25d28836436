"""Messages between `up` and the nursery: whole or an error, and no descriptor that outlives an exec."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.assembly.births import Born, Ended, Failed, Job, Message, receive, send

MESSAGES = st.one_of(
    st.builds(Born, st.integers(0, 1 << 40), st.integers(1, 1 << 22)),
    st.builds(Failed, st.integers(0, 1 << 40), st.text(max_size=100)),
    st.builds(Ended, st.integers(0, 1 << 40), st.integers(-64, 255)),
)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


@given(MESSAGES)
def test_what_is_sent_arrives(message: Message) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send(ours, message)
        data, fds = receive(theirs)
    assert (msgspec.json.decode(data, type=Message), fds) == (message, [])


def test_descriptors_come_along_and_close_on_exec(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with Path(os.devnull).open("rb") as file:
        send(ours, Job(1, ("plugin", "a", "b")), (file.fileno(), file.fileno()))
    data, fds = receive(theirs)
    assert msgspec.json.decode(data, type=Job) == Job(1, ("plugin", "a", "b"))
    assert [os.get_inheritable(fd) for fd in fds] == [False, False]
    for fd in fds:
        os.close(fd)


def test_an_end_that_is_gone_says_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    ours.close()
    assert receive(theirs) == (b"", [])


@given(st.binary(max_size=200))
def test_anything_else_is_an_error(data: bytes) -> None:
    try:
        message: object = msgspec.json.decode(data, type=Message)
    except msgspec.MsgspecError:
        return
    assert isinstance(message, Born | Ended | Failed)

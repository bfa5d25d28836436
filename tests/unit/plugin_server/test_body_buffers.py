"""Buffers are used again, one body at a time, and not kept for long."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.body_buffers import MAX_KEPT, MAX_KEPT_BYTES, BodyBuffers


def made() -> tuple[BodyBuffers, asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    return BodyBuffers(loop), loop


@given(st.lists(st.integers(-3, 5000), max_size=60))
def test_no_two_bodies_share_a_buffer_and_each_is_large_enough(steps: list[int]) -> None:
    """A positive step borrows so many bytes, another one gives back what was borrowed first."""
    buffers, loop = made()
    lent: list[bytearray] = []
    for step in steps:
        if step > 0:
            one = buffers.borrow(step)
            assert len(one) >= step
            assert all(one is not other for other in lent)
            lent.append(one)
        elif lent:
            buffers.give_back(lent.pop(0))
    loop.close()


def test_a_buffer_is_used_again_until_it_is_dropped() -> None:
    buffers, loop = made()
    first = buffers.borrow(100)
    buffers.give_back(first)
    assert buffers.borrow(80) is first
    buffers.give_back(first)
    assert buffers.kept_bytes == 100
    buffers.drop()
    assert buffers.kept_bytes == 0
    assert buffers.borrow(80) is not first
    loop.close()


def test_neither_many_nor_huge_ones_are_kept() -> None:
    buffers, loop = made()
    for _ in range(2 * MAX_KEPT):
        buffers.give_back(bytearray(10))
    assert buffers.kept_bytes == MAX_KEPT * 10
    buffers.drop()
    buffers.give_back(bytearray(MAX_KEPT_BYTES + 1))
    assert buffers.kept_bytes == 0
    loop.close()

"""What stands in a redo file: an entry is whole or none, its place stays its own, and it fits to one log only."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from sekisho.audit.redo import (
    BLOCK_BYTES,
    HEAD_BYTES,
    MAX_ENTRY_BLOCKS,
    OVERLAP_BYTES,
    Entry,
    Ring,
    blocks_of,
    lacking,
    read_entries,
    seal,
)
from sekisho.errors import Tampered

MOST_BYTES = MAX_ENTRY_BLOCKS * BLOCK_BYTES - HEAD_BYTES
LINES = st.lists(st.binary(min_size=1, max_size=90).map(bytes.hex), min_size=2, max_size=12)


def sealed(entry: Entry) -> bytes:
    """The blocks of an entry, as they stand in the file."""
    piece = bytearray(HEAD_BYTES) + entry.data
    seal(memoryview(piece), entry.start, entry.fresh, entry.end)
    return bytes(piece).ljust(blocks_of(len(entry.data)) * BLOCK_BYTES, b"\x00")


def log_and_entries(lines: list[str]) -> tuple[bytes, list[Entry], list[int]]:
    """A log, an entry for each of its lines, and where each begins."""
    log, entries, begins = b"", [], []
    for line in lines:
        begins.append(len(log))
        start = max(0, len(log) - OVERLAP_BYTES)
        log += line.encode() + b"\n"
        entries.append(Entry(start, begins[-1], log[start:]))
    return log, entries, begins


def lacks(entries: list[Entry], there: bytes) -> bytes:
    return lacking(entries, len(there), lambda start, end: there[start:end])


@given(st.binary(min_size=1, max_size=3 * BLOCK_BYTES), st.integers(0, 1 << 60), st.data())
def test_an_entry_is_read_as_it_was_written(data: bytes, start: int, draw: st.DataObject) -> None:
    fresh = start + draw.draw(st.integers(0, len(data) - 1))
    entry = Entry(start, fresh, data)
    assert list(read_entries(sealed(entry))) == [entry]
    assert list(read_entries(bytes(BLOCK_BYTES) + sealed(entry) * 2)) == [entry, entry]


@given(st.binary(min_size=1, max_size=2 * BLOCK_BYTES), st.data())
def test_one_flipped_byte_makes_it_none(data: bytes, draw: st.DataObject) -> None:
    whole = bytearray(sealed(Entry(7, 7, data)))
    whole[draw.draw(st.integers(0, HEAD_BYTES + len(data) - 1))] ^= draw.draw(st.integers(1, 255))
    assert list(read_entries(bytes(whole))) == []


@given(st.binary(max_size=2000), st.integers(0, 4))
def test_any_bytes_are_read_as_no_entry(data: bytes, blocks: int) -> None:
    assert list(read_entries(data)) == []
    assert list(read_entries(sealed(Entry(0, 0, b"x" * 9000))[: blocks * BLOCK_BYTES // 2])) == []


def test_what_is_left_of_an_overwritten_entry_is_none() -> None:
    """Its later blocks are lines of the log, at a place where an entry could begin."""
    inner = sealed(Entry(0, 0, b"forged\n")).replace(b"\x00", b" ")  # no line has a NUL
    entry = Entry(0, 0, b"x" * (BLOCK_BYTES - HEAD_BYTES) + inner)
    assert list(read_entries(bytes(BLOCK_BYTES) + sealed(entry)[BLOCK_BYTES:])) == []


@pytest.mark.threat("T-LOG")
@given(LINES, st.data())
def test_a_log_gets_what_it_lacks_once(lines: list[str], draw: st.DataObject) -> None:
    log, entries, begins = log_and_entries(lines)
    first = draw.draw(st.integers(0, len(lines) - 1))  # entries before it were written over: the log has them
    there = log[: draw.draw(st.integers(begins[first], len(log)))]
    shuffled = draw.draw(st.permutations(entries[first:]))
    assert there + lacks(shuffled, there) == log
    assert lacks(shuffled, log) == b""


@pytest.mark.threat("T-LOG")
@given(LINES, st.data())
def test_a_missing_entry_is_noticed_unless_it_was_the_last(lines: list[str], draw: st.DataObject) -> None:
    _, entries, begins = log_and_entries(lines)
    gone = draw.draw(st.integers(0, len(entries) - 1))
    left = entries[:gone] + entries[gone + 1 :]
    if gone == len(entries) - 1:
        assert len(lacks(left, b"")) == begins[gone]
    else:
        with pytest.raises(Tampered, match="lacks bytes"):
            lacks(left, b"")


@pytest.mark.threat("T-LOG")
@given(LINES, LINES, st.integers(1, 11))
def test_entries_of_another_log_are_refused(lines: list[str], others: list[str], at: int) -> None:
    _, entries, begins = log_and_entries(lines)
    assume(at < len(lines))
    other = "\n".join(others).encode().ljust(begins[at], b"x")[: begins[at]]
    assume(other[-OVERLAP_BYTES:] != entries[at].data[: entries[at].fresh - entries[at].start])
    with pytest.raises(Tampered, match="differ"):
        lacks(entries[at:], other)


@given(st.lists(st.tuples(st.integers(1, 16), st.integers(0, 5)), max_size=200), st.integers(16, 64))
def test_no_place_is_taken_twice_before_the_log_is_on_disk(steps: list[tuple[int, int]], size: int) -> None:
    ring = Ring(size)
    live: list[tuple[int, int, int]] = []  # first block, blocks, end in the log
    for end, (blocks, released) in enumerate(steps, 1):
        at = ring.place(blocks)
        if at is not None:
            assert 0 <= at <= size - blocks
            assert all(at + blocks <= first or first + taken <= at for first, taken, _ in live)
            ring.take(at, blocks, end)
            live.append((at, blocks, end))
        elif not live:
            raise AssertionError("an empty ring has room for every entry")
        done = end - released
        ring.release(done)
        live = [one for one in live if one[2] > done]

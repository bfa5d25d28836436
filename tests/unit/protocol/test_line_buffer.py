"""Lines that stay where they were read to."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.protocol import LineBuffer, LineReader
from sekisho.protocol.places import place_of

READ = 8  # so that a line is large from 6 bytes on, and a place has 256
LIMIT = 700
LINES = st.lists(
    st.tuples(st.sampled_from(b"abcdef \r"), st.sampled_from([0, 1, 5, 6, 7, 31, 40, 255, 256, 300]))
)


def put(reader: LineBuffer, piece: bytes) -> tuple[tuple[memoryview, int] | None, list[bytes]]:
    """As a loop does: into the buffer it is shown."""
    reader.get_buffer()[: len(piece)] = piece
    return reader.filled(len(piece))


def lines_of(found: tuple[tuple[memoryview, int] | None, list[bytes]]) -> list[bytes]:
    large, behind = found
    return behind if large is None else [bytes(large[0][: large[1]]), *behind]


def outcome(feed: Callable[[bytes], list[bytes]], piece: bytes) -> list[bytes] | str:
    try:
        return feed(piece)
    except RemoteProtocolError as error:
        return error.code


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.threat("T-FLOOD")
@given(LINES, st.lists(st.integers(1, 60), min_size=1), st.integers(0, LIMIT + 100), st.integers(1, LIMIT))
def test_for_every_split_it_gives_and_refuses_what_a_plain_reader_does(
    lines: list[tuple[int, int]], sizes: list[int], rest: int, limit: int
) -> None:
    """Piece by piece: the same lines, as much held, and the refusal with the very piece that is too much."""
    stream = b"".join(bytes([byte]) * size + b"\n" for byte, size in lines) + b"z" * rest
    plain, kept = LineReader(limit), LineBuffer(limit, read_bytes=READ)
    at = number = 0
    while at < len(stream):
        piece = stream[at : at + min(sizes[number % len(sizes)], len(kept.get_buffer()))]
        expected = outcome(plain.feed, piece)
        assert outcome(lambda piece: lines_of(put(kept, piece)), piece) == expected
        if expected == "result_too_large":
            break
        assert kept.held_bytes == plain.held_bytes <= limit
        at += len(piece)
        number += 1


@pytest.mark.threat("T-CROSS")
@given(LINES, st.lists(st.integers(1, 40), min_size=1), st.lists(st.integers(0, 3), min_size=1))
def test_what_somebody_looks_at_is_never_read_over(
    lines: list[tuple[int, int]], sizes: list[int], keeps: list[int]
) -> None:
    """Everybody who is given a line keeps it, or a part of it, for a few lines more, and still finds what was said."""
    expected = [bytes([byte]) * size for byte, size in lines if (bytes([byte]) * size).strip()]
    stream = b"".join(bytes([byte]) * size + b"\n" for byte, size in lines)
    reader = LineBuffer(read_bytes=READ)
    held: list[tuple[memoryview, bytes, int]] = []
    found: list[bytes] = []
    at = number = 0
    while at < len(stream):
        piece = stream[at : at + min(sizes[number % len(sizes)], len(reader.get_buffer()))]
        large, behind = put(reader, piece)
        held = [(view, said, left - 1) for view, said, left in held if left]
        if large is not None:
            said = bytes(large[0][: large[1]])
            found.append(said)
            held.append((large[0][1 : large[1]].toreadonly(), said[1:], keeps[len(found) % len(keeps)]))
        found += behind
        assert all(bytes(view) == said for view, said, _ in held)
        at += len(piece)
        number += 1
    assert found == expected


def test_a_large_line_lies_at_the_beginning_of_a_place_of_its_own_and_what_follows_elsewhere() -> None:
    reader = LineBuffer(read_bytes=READ)
    assert put(reader, b"ab\ncdef") == (None, [b"ab"])
    assert put(reader, b"ghi") == (None, [])
    place = reader.get_buffer().obj
    large, behind = put(reader, b"jk\nl\nm")
    assert large is not None
    assert place_of(large[0]) is place, "nobody copied it"
    assert (bytes(large[0][: large[1]]), behind, reader.held_bytes) == (b"cdefghijk", [b"l"], 1)
    assert reader.get_buffer().obj is not place


def test_a_place_is_used_again_once_nobody_looks_and_nothing_of_it_is_shown() -> None:
    reader = LineBuffer(read_bytes=READ)

    def read(line: bytes) -> tuple[memoryview, int]:
        assert put(reader, line[:READ]) == (None, [])
        large, behind = put(reader, line[READ:] + b"\n")
        assert large is not None
        assert behind == []
        return large

    first = read(b"secret" * 4)
    was = first[0].obj
    second = read(b"longer than that")
    assert second[0].obj is not was
    del first
    third = read(b"short one")
    assert third[0].obj is was
    assert bytes(third[0][: third[1]]) == b"short one"
    kept = reader.kept_bytes
    reader.trim()
    assert (kept, reader.kept_bytes) == (2 * 32 * READ, 0)
    assert bytes(second[0][: second[1]]) == b"longer than that", "who looks at one keeps it"


def test_a_line_that_outgrows_its_place_is_moved_to_one_twice_as_large() -> None:
    reader = LineBuffer(read_bytes=READ)
    line = bytes(range(32, 127)) * 100
    at, places = 0, set[int]()
    while at < len(line):
        size = min(len(reader.get_buffer()), len(line) - at)
        assert put(reader, line[at : at + size]) == (None, [])
        at += size
        places.add(id(reader.get_buffer().obj))
    large, _ = put(reader, b"\n")
    assert large is not None
    assert bytes(large[0][: large[1]]) == line
    assert len(large[0]) <= 2 * len(line)
    assert len(places) <= 7, "moving is linear: the first buffer, and 256 to 16,384 bytes"
    assert reader.kept_bytes <= 2 << 20


def test_blank_lines_are_dropped_however_long() -> None:
    reader = LineBuffer(read_bytes=READ)
    assert put(reader, b" " * READ) == (None, [])
    assert put(reader, b"\t" * READ + b"\r\na\n") == (None, [b"a"])
    assert put(reader, b" " * READ) == (None, [])
    large, _ = put(reader, b"x\n")
    assert large is not None
    assert bytes(large[0][: large[1]]) == b" " * READ + b"x"


@pytest.mark.threat("T-FLOOD")
def test_a_line_is_refused_as_soon_as_it_is_too_long_and_as_long_as_the_limit_it_passes() -> None:
    for end in (b"\n", b"x"):
        reader = LineBuffer(20, read_bytes=READ)
        for piece in (b"y" * READ, b"y" * READ, b"y" * 4):
            assert put(reader, piece) == (None, [])
        if end == b"\n":
            large, _ = put(reader, end)
            assert large is not None
            assert large[1] == 20
            continue
        with pytest.raises(RemoteProtocolError, match="longer than 20 bytes") as caught:
            put(reader, end)
        assert caught.value.code == "result_too_large"
        assert reader.held_bytes == 0

"""Lines, events and frames: the pieces change nothing, a plain reading of the whole agrees, nothing is hoarded.

The first two bytes of an input choose the pieces; the rest is the stream.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fuzz.values import hold, pieces
from sekisho.errors import SekishoError
from sekisho.protocol import LineBuffer, LineReader, SseReader
from sekisho.wire.frames import FrameReader, cut, frame_head, length_prefix

__all__ = ["events", "frames", "lines"]

LIMIT = 512
READ_BYTES = 8  # so that a line of six bytes is large, and a place has 256
_SEED_BYTES = 2


def lines(data: bytes) -> None:
    """Lines on stdio, also as they are read from a plugin: to where they lie."""
    stream, seed = data[_SEED_BYTES:], int.from_bytes(data[:_SEED_BYTES])
    reader = LineReader(LIMIT)

    def feed(piece: bytes) -> list[bytes]:
        found = reader.feed(piece)
        hold(reader.held_bytes <= LIMIT, "more is held than the limit allows")
        return found

    expected = [line for line in stream.split(b"\n")[:-1] if line.strip()]
    is_too_long = any(len(line) > LIMIT for line in stream.split(b"\n"))
    _compare(feed, LineReader(LIMIT).feed, stream, seed, expected, is_refused=is_too_long)
    _compare(_put(), _put(), stream, seed, expected, is_refused=is_too_long)


def _put() -> Callable[[bytes], list[bytes]]:
    """A reader that is read into; whoever is given a large line keeps it for a while."""
    reader = LineBuffer(LIMIT, read_bytes=READ_BYTES)
    kept: list[tuple[memoryview, bytes]] = []

    def feed(piece: bytes) -> list[bytes]:
        found: list[bytes] = []
        while piece:
            buffer = reader.get_buffer()
            count = min(len(buffer), len(piece))
            buffer[:count] = piece[:count]
            piece = piece[count:]
            large, behind = reader.filled(count)
            hold(reader.held_bytes <= LIMIT, "more is held than the limit allows")
            if large is not None:
                line = large[0][: large[1]]
                found.append(bytes(line))
                kept.append((line, found[-1]))
            found += behind
            hold(
                all(bytes(line) == said for line, said in kept),
                "a line was read over while somebody looked at it",
            )
            del kept[:-3]
        return found

    return feed


def events(data: bytes) -> None:
    """Server-sent events, beside a plain reading of the specification."""
    stream, seed = data[_SEED_BYTES:], int.from_bytes(data[:_SEED_BYTES])
    expected = _plain_events(stream)
    cut, whole = SseReader(LIMIT), SseReader(LIMIT)
    longest = max((len(line) for line in re.split(rb"\r\n|\r|\n", stream)), default=0)
    is_small = longest <= LIMIT and len(stream) <= LIMIT
    _compare(cut.feed, whole.feed, stream, seed, expected, is_refused=False if is_small else None)


def frames(data: bytes) -> None:
    """Records of the channel, and the frames inside them."""
    stream, seed = data[_SEED_BYTES:], int.from_bytes(data[:_SEED_BYTES])
    found = _run(_records(FrameReader(LIMIT)), list(pieces(stream, seed)))
    whole = _run(_records(FrameReader(LIMIT)), [stream])
    hold((found is None) == (whole is None), "accepted in some pieces only")
    if found is None or whole is None:
        return
    hold(found == whole, "other records in other pieces")
    hold(stream.startswith(b"".join(length_prefix(one) + one for one in found)), "a record holds other bytes")
    for record in found:
        hold(0 < len(record) <= LIMIT, "a record breaks the limit")
        _cut_and_join(record)


def _records(reader: FrameReader) -> Callable[[bytes], list[bytes]]:
    return lambda piece: [bytes(one) for one in reader.feed(piece)]


def _cut_and_join(record: bytes) -> None:
    try:
        inside, follows = cut(record)
    except SekishoError:
        return
    written = b"".join(frame_head(kind, call, len(payload)) + payload for kind, call, payload in inside)
    if follows is not None:
        written += frame_head(*follows, None)
    hold(written == record, "the frames of a record do not make it up")


def _compare(
    cut: Callable[[bytes], list[bytes]],
    whole: Callable[[bytes], list[bytes]],
    stream: bytes,
    seed: int,
    expected: list[bytes],
    *,
    is_refused: bool | None,
) -> None:
    in_pieces, at_once = _run(cut, list(pieces(stream, seed))), _run(whole, [stream])
    if is_refused is not None:
        hold((in_pieces is None) == is_refused, "refused or accepted wrongly in pieces")
        hold((at_once is None) == is_refused, "refused or accepted wrongly at once")
    if in_pieces is not None:
        hold(in_pieces == expected, "pieces give other data than a plain reading")
    if at_once is not None:
        hold(at_once == expected, "the whole gives other data than a plain reading")


def _run(feed: Callable[[bytes], list[bytes]], stream: list[bytes]) -> list[bytes] | None:
    found: list[bytes] = []
    try:
        for piece in stream:
            found += feed(piece)
    except SekishoError:
        return None
    return found


def _plain_events(stream: bytes) -> list[bytes]:
    """WHATWG HTML section 9.2.6, as it is written there, for the data of messages alone."""
    text = stream.removeprefix(b"\xef\xbb\xbf")
    *whole, _rest = re.split(rb"\r\n|\r|\n", text)
    found: list[bytes] = []
    collected: list[bytes] = []
    kind = b""
    for line in whole:
        if not line:
            if (joined := b"\n".join(collected)) and kind in (b"", b"message"):
                found.append(joined)
            collected, kind = [], b""
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            collected.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    return found

"""A body ends where it said, in one way only, and nothing is lost after it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.body import BodyReader
from sekisho.errors import Refused

CHUNKED = b"4\r\nWiki\r\n6\r\npedia \r\n0\r\n\r\n"


def feed_all(reader: BodyReader, data: bytes, size: int) -> bytes:
    return b"".join(reader.feed(data[at : at + size]) for at in range(0, len(data), size))


@given(length=st.integers(0, 50), data=st.binary(max_size=80), size=st.integers(1, 20))
def test_a_counted_body_ends_where_it_said(length: int, data: bytes, size: int) -> None:
    reader = BodyReader(length)
    assert feed_all(reader, data, size) == data[:length]
    assert reader.is_done is (len(data) >= length)
    assert reader.surplus == data[length:]


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=30), max_size=5),
    rest=st.binary(max_size=20),
    size=st.integers(1, 40),
)
def test_a_chunked_body_keeps_its_bytes_and_drops_what_follows(
    chunks: list[bytes], rest: bytes, size: int
) -> None:
    wire = b"".join(b"%X\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    reader, again = BodyReader(None), BodyReader(None)
    passed = feed_all(reader, wire + rest, size)
    assert reader.is_done
    assert passed.endswith(b"0\r\n\r\n")
    assert reader.surplus == rest
    assert payload(passed) == payload(feed_all(again, passed, 7)) == b"".join(chunks)


def payload(chunked: bytes) -> bytes:
    out = b""
    while True:
        size, _, chunked = chunked.partition(b"\r\n")
        if int(size, 16) == 0:
            return out
        out, chunked = out + chunked[: int(size, 16)], chunked[int(size, 16) + 2 :]


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "wire",
    [
        b"4;x=y\r\nWiki",
        b"-1\r\n",
        b"0x4\r\nWiki",
        b"4\nWiki\r\n",
        b"4\r\nWikiX\r\n",
        b"0\r\nHost: b\r\n\r\n",
        b"4" * 40,
    ],
)
def test_a_malformed_chunk_is_refused(wire: bytes) -> None:
    with pytest.raises(Refused):
        BodyReader(None).feed(wire)


@given(size=st.integers(1, 5))
def test_the_example_of_the_specification_passes(size: int) -> None:
    assert payload(feed_all(BodyReader(None), CHUNKED, size)) == b"Wikipedia "

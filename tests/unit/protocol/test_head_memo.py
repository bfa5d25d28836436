"""A head that was read before is read the same way again, and never takes part of a body for a head."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.protocol import HeadMemo, HttpRequest, RequestReader

HOST = b"Host: gate\r\n"
tokens = st.text("abcXYZ09-", min_size=1, max_size=8)
headers = st.dictionaries(
    tokens.map(lambda name: f"x-{name}".lower()), st.text(" abc;=,", max_size=12), max_size=4
)


def post(body: bytes, extra: bytes = b"", target: bytes = b"/mcp") -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (target, HOST, extra, len(body), body)


def parts(requests: list[HttpRequest]) -> list[tuple[object, ...]]:
    return [(one.method, one.target, dict(one.headers), one.body, one.keep_alive) for one in requests]


def taught(*messages: bytes) -> HeadMemo:
    """A memo that was asked to keep the heads of these requests."""
    memo = HeadMemo()
    for message in messages:
        for request in RequestReader(heads=memo).feed(message):
            memo.keep(request, "note")
    return memo


def outcome(reader: RequestReader, pieces: list[bytes]) -> tuple[list[tuple[object, ...]], str]:
    """What a reader makes of a stream, and the code it ends with."""
    seen: list[tuple[object, ...]] = []
    for piece in pieces:
        try:
            seen += parts(reader.feed(piece))
        except SekishoError as error:
            return seen, error.code
    return seen, "ok"


@given(headers, st.binary(max_size=30))
def test_a_known_head_reads_as_on_a_fresh_connection(extra: dict[str, str], body: bytes) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items()).encode()
    message = post(body, lines)
    memo = taught(message)
    assert len(memo) == 1
    reader = RequestReader(heads=memo)
    known = reader.feed(message)
    assert known[0].note == "note"
    assert parts(known) == parts(RequestReader().feed(message))


@pytest.mark.threat("T-PARSER")
@given(st.data())
def test_a_memo_changes_nothing_whatever_arrives_in_whatever_pieces(data: st.DataObject) -> None:
    """Bodies that look like heads, pipelining and any split: with and without memo a stream reads the same."""
    inner = post(b"inner")
    bodies = st.sampled_from([b"", b"{}", inner, b"\r\n\r\n", HOST, inner[:20], b"POST / HTTP/1.1\r\n\r\n"])
    stream = b"".join(post(body) for body in data.draw(st.lists(bodies, min_size=1, max_size=4)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    pieces = [stream[low:high] for low, high in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    memo = taught(*(post(body) for body in (b"", b"{}", inner, b"\r\n\r\n", HOST)))
    assert outcome(RequestReader(heads=memo), pieces) == outcome(RequestReader(), pieces)


@pytest.mark.threat("T-PARSER")
@given(st.lists(st.tuples(headers, st.binary(max_size=30)), min_size=1, max_size=6))
def test_kept_heads_of_any_length_are_told_apart(said: list[tuple[dict[str, str], bytes]]) -> None:
    """How long the head before was is tried first, and decides nothing."""
    messages = [
        post(body, "".join(f"{name}: {value}\r\n" for name, value in extra.items()).encode())
        for extra, body in said
    ]
    memo = taught(*messages)
    again = [*messages, *reversed(messages)]
    assert outcome(RequestReader(heads=memo), again) == outcome(RequestReader(), again)


@pytest.mark.threat("T-PARSER")
@given(st.data())
def test_one_flipped_bit_in_a_known_head_is_another_head(data: st.DataObject) -> None:
    message = post(b"{}", b"Authorization: Bearer x\r\n")
    memo = taught(message)
    raw = bytearray(message)
    raw[data.draw(st.integers(0, len(raw) - 3))] ^= 1 << data.draw(st.integers(0, 7))
    assert outcome(RequestReader(heads=memo), [bytes(raw)]) == outcome(RequestReader(), [bytes(raw)])


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize(
    "message",
    [
        post(b"{}", b"Connection: close\r\n"),
        post(b"{}", b"Expect: 100-continue\r\n"),
        b"POST /mcp HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"POST /mcp HTTP/1.0\r\n" + HOST + b"Content-Length: 2\r\n\r\n{}",
        b"POST /mcp HTTP/1.1\r\n" + HOST + b"Content-Length: 02\r\n\r\n{}",
        b"GET /mcp HTTP/1.1\r\n" + HOST + b"\r\n",
        post(b"{}", b"X-Long: " + b"x" * 5000 + b"\r\n"),
    ],
)
def test_only_heads_that_nobody_can_dispute_are_kept(message: bytes) -> None:
    assert len(taught(message)) == 0
    assert len(taught(post(b"{}"))) == 1


def test_a_head_is_kept_only_when_its_judge_asks_for_it() -> None:
    memo = HeadMemo()
    assert RequestReader(heads=memo).feed(post(b"{}"))
    assert len(memo) == 0


@pytest.mark.threat("T-FLOOD")
def test_the_memo_is_bounded_and_forgets_the_oldest() -> None:
    memo = HeadMemo(max_heads=2)
    messages = [post(b"{}", target=b"/%d" % number) for number in range(3)]
    for message in messages:
        memo.keep(RequestReader(heads=memo).feed(message)[0], None)
    assert len(memo) == 2
    assert memo.recall(messages[0]) is None
    assert memo.recall(messages[2]) is not None


@pytest.mark.threat("T-FLOOD")
def test_heads_that_never_come_again_do_not_drive_out_those_that_do() -> None:
    """As with a client that sends another X-Request-Id with each request, and one that does not."""
    memo = HeadMemo(max_heads=8)
    usual = [post(b"{}", target=b"/usual-%d" % number) for number in range(4)]
    for message in usual:
        memo.keep(RequestReader(heads=memo).feed(message)[0], "note")
        assert memo.recall(message) is not None
    for number in range(100):
        memo.keep(RequestReader(heads=memo).feed(post(b"{}", target=b"/%d" % number))[0], "note")
    assert len(memo) == 8
    assert all(memo.recall(message) is not None for message in usual)


@pytest.mark.threat("T-FLOOD")
def test_heads_that_came_again_once_leave_room_for_new_ones() -> None:
    """Tokens end, and what was sent with them never comes again."""
    memo = HeadMemo(max_heads=8)
    for number in range(100):
        message = post(b"{}", target=b"/%d" % number)
        memo.keep(RequestReader(heads=memo).feed(message)[0], "note")
        assert memo.recall(message) is not None
    fresh = [post(b"{}", target=b"/fresh-%d" % number) for number in range(2)]
    for message in fresh:
        memo.keep(RequestReader(heads=memo).feed(message)[0], "note")
    assert all(memo.recall(message) is not None for message in fresh)
    assert len(memo) <= 8


def test_a_head_that_is_judged_again_means_what_it_was_found_to_be_last() -> None:
    memo, message = taught(post(b"{}")), post(b"{}")
    for note in ("second", "third"):
        request = RequestReader(heads=memo).feed(message)[0]
        memo.keep(request, note)
        assert [one.note for one in RequestReader(heads=memo).feed(message)] == [note]
    assert len(memo) == 1


@pytest.mark.threat("T-PARSER")
def test_after_a_request_that_ends_the_connection_nothing_is_recalled() -> None:
    memo = taught(post(b"{}"))
    reader = RequestReader(heads=memo)
    reader.feed(post(b"{}", b"Connection: close\r\n"))
    with pytest.raises(SekishoError):
        reader.feed(post(b"{}"))

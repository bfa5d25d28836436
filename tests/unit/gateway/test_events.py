"""Server-sent events: whatever a message says, a reader finds that message and nothing else."""

from __future__ import annotations

import json

import h11
from hypothesis import given
from hypothesis import strategies as st

from sekisho.gateway.events import COMMENT, LAST_STREAM_HEAD, STREAM_HEAD, event, last_event, progress_events


def read(stream: bytes) -> tuple[dict[bytes, bytes], list[str]]:
    """Headers and data fields, as an HTTP library takes the chunks apart and a reader of events the lines."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "gate")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(piece := connection.next_event(), h11.Data):
        body += bytes(piece.data)
    assert isinstance(piece, h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
    data: list[str] = []
    for block in body.decode().split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        if lines:
            assert lines[0] == "event: message"
            assert len(lines) == 2
            data.append(lines[1].removeprefix("data: "))
    return dict(head.headers), data


messages = st.dictionaries(st.text(max_size=4), st.text() | st.integers(), max_size=4)


@given(st.lists(messages, max_size=4), messages)
def test_every_message_arrives_whole_and_alone(
    before: list[dict[str, object]], last: dict[str, object]
) -> None:
    texts = [json.dumps(one, ensure_ascii=False).encode() for one in [*before, last]]
    stream = STREAM_HEAD + b"".join(map(event, texts[:-1])) + COMMENT + last_event(texts[-1])
    _, data = read(stream)
    assert [json.loads(one) for one in data] == [*before, last]


@given(st.lists(st.text(), min_size=1, max_size=3), st.integers() | st.text())
def test_progress_carries_the_clients_token(says: list[str], token: int | str) -> None:
    notes = [json.dumps({"progress": 1, "message": one}).encode() for one in says]
    stream = STREAM_HEAD + progress_events(json.dumps(token).encode(), b"\n".join(notes)) + last_event(b"{}")
    told = [json.loads(one) for one in read(stream)[1][:-1]]
    assert [one["method"] for one in told] == ["notifications/progress"] * len(says)
    assert [one["params"] for one in told] == [
        {"progressToken": token, "progress": 1, "message": one} for one in says
    ]


def test_a_stream_is_kept_by_nobody_on_the_way() -> None:
    headers, _ = read(STREAM_HEAD + last_event(b"{}"))
    assert headers[b"content-type"] == b"text/event-stream"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"
    assert b"connection" not in headers
    assert read(LAST_STREAM_HEAD + last_event(b"{}"))[0][b"connection"] == b"close"

from __future__ import annotations

import pytest

from sekisho.protocol import ResponseHead


@pytest.mark.parametrize(
    ("stated", "is_stream", "is_json"),
    [
        ("text/event-stream", True, False),
        ("Text/Event-Stream; charset=utf-8", True, False),
        ("application/json", False, True),
        (" application/json ;x", False, True),
        ("application/json-seq", False, False),
        ("text/event-stream, application/json", False, False),
        ("", False, False),
    ],
)
def test_a_head_says_of_which_kind_its_body_is(stated: str, is_stream: bool, is_json: bool) -> None:
    head = ResponseHead(status=200, headers={"content-type": stated}, keep_alive=True)
    assert (head.is_event_stream, head.is_json) == (is_stream, is_json)


def test_a_head_without_a_type_has_neither_kind() -> None:
    head = ResponseHead(status=200, headers={}, keep_alive=True)
    assert not head.is_event_stream
    assert not head.is_json

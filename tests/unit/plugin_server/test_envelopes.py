from __future__ import annotations

import msgspec
import pytest

from sekisho.plugin_server.envelopes import read_ident, read_line, read_progress


def test_an_answer_and_a_notification_are_read_as_lines() -> None:
    answer = read_line(b'{"jsonrpc":"2.0","id":3,"result":{"a":1}}')
    assert (answer.id, bytes(answer.result), answer.method) == (3, b'{"a":1}', "")
    told = read_line(b'{"jsonrpc":"2.0","method":"m","params":{}}')
    assert (told.id, told.method, bytes(told.params), bytes(told.result)) == (-1, "m", b"{}", b"")


@pytest.mark.parametrize(
    "line",
    [b'{"id":3,"result":{}}', b'{"jsonrpc":"1.0","id":3}', b'{"jsonrpc":"2.0","id":3,"error":{}}', b"[]"],
)
def test_what_is_neither_is_no_line(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_line(line)


def test_progress_is_read_a_line_each() -> None:
    first, second = read_progress(b'{"progress":1,"total":2.5,"message":"on"}\n{"progress":2}')
    assert (first.progress, first.total, first.message) == (1, 2.5, "on")
    assert (second.progress, second.total, second.message) == (2, None, None)


def test_progress_with_another_member_is_not_of_the_usual_form() -> None:
    with pytest.raises(msgspec.DecodeError):
        read_progress(b'{"progress":1,"x":0}')


def test_a_message_of_ours_says_whether_it_is_a_request() -> None:
    assert (read_ident(b'{"id":"a","method":"m"}').id, read_ident(b'{"id":1,"result":{}}').method) == (
        "a",
        "",
    )

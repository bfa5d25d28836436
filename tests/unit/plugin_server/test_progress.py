from __future__ import annotations

import pytest

from sekisho.plugin_server.answers import Counters
from sekisho.plugin_server.progress import MAX_NOTES, Progress


def test_a_note_reaches_the_call_whose_token_it_names_without_the_token() -> None:
    progress, heard, others = Progress(Counters()), list[bytes](), list[bytes]()
    progress.expect(1, heard.append)
    progress.expect(2, others.append)
    progress.read(b'{"progress":1,"progressToken":1}')
    assert (heard, others) == ([b'{"progress":1}'], [])


@pytest.mark.parametrize("params", [b'{"progressToken":true}', b'{"progressToken":"1"}', b"{}", b"[]", b"{"])
def test_a_note_that_names_no_token_of_ours_is_dropped_and_counted(params: bytes) -> None:
    counters, heard = Counters(), list[bytes]()
    progress = Progress(counters)
    progress.expect(1, heard.append)
    progress.read(params)
    assert heard == []
    assert counters.dropped_notes == 1


def test_after_its_call_has_ended_a_note_is_dropped() -> None:
    counters, heard = Counters(), list[bytes]()
    progress = Progress(counters)
    progress.expect(1, heard.append)
    progress.drop(1)
    progress.drop(2)
    progress.pass_on(1, b"{}", 1)
    progress.expect(3, heard.append)
    progress.clear()
    progress.pass_on(3, b"{}\n{}", 2)
    assert heard == []
    assert counters.dropped_notes == 3


def test_whoever_takes_a_call_over_hears_what_was_still_to_be_heard() -> None:
    counters, first, second = Counters(), list[bytes](), list[bytes]()
    progress = Progress(counters)
    progress.expect(1, first.append)
    progress.pass_on(1, b"\n".join([b"{}"] * (MAX_NOTES - 1)), MAX_NOTES - 1)
    progress.hand_over(1, second.append)
    progress.hand_over(2, second.append)  # nobody wanted to hear of this one
    progress.pass_on(1, b"{}\n{}\n{}", 3)
    progress.pass_on(2, b"{}", 1)
    assert (len(first[0].split()), second, counters.dropped_notes) == (MAX_NOTES - 1, [b"{}"], 3)

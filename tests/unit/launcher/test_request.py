"""The words of a launch: each reader finds its own line, whole."""

from __future__ import annotations

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from sekisho.launcher.kernel import memory_file
from sekisho.launcher.request import FOR_CHILD, FOR_WATCHER, read_request

words = st.dictionaries(st.text(), st.text() | st.lists(st.integers()))


def test_a_request_is_read_whole() -> None:
    fd = memory_file(json.dumps({"a": "x" * 100_000}).encode())
    assert len(read_request(fd)["a"]) == 100_000
    os.close(fd)


@given(words, words)
def test_whatever_stands_in_them_no_line_runs_into_the_other(
    child: dict[str, object], watcher: dict[str, object]
) -> None:
    fd = memory_file(f"{json.dumps(child)}\n{json.dumps(watcher)}".encode())
    assert read_request(fd, FOR_CHILD) == child
    assert read_request(fd, FOR_WATCHER) == watcher
    os.close(fd)

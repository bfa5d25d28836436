"""The parts of the launcher that can be shown without a namespace; its walls are shown in tests/real."""

from __future__ import annotations

import os

from sekisho.launcher import serving


def test_a_status_counts_only_when_its_line_is_complete() -> None:
    assert serving.status_member(b'{ "child-pid": 12 }', "child-pid") is None
    assert serving.status_member(b'{ "child-pid": 12 }\n{ "exit-c', "child-pid") == 12
    assert serving.status_member(b'{ "child-pid": 12 }\n{ "exit-code": 0 }\n', "exit-code") == 0
    assert serving.status_member(b"", "child-pid") is None


def test_a_failure_is_read_to_its_end() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"no mount")
    os.close(writing)
    assert serving.read_failure(reading) == "no mount"

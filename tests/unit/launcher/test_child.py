"""The parts of a child's way to its walls that need no namespace; the rest is shown in tests/real."""

from __future__ import annotations

from sekisho.launcher import child


def test_a_mark_becomes_its_number_and_other_words_stay() -> None:
    numbers = {"gate": 7, "/etc/passwd": 9}
    words = ("{fd:gate}", "{fd:/etc/passwd}", "{fd:other}", "gate", "x{fd:gate}")
    assert [child.fill(word, numbers) for word in words] == ["7", "9", "{fd:other}", "gate", "x{fd:gate}"]

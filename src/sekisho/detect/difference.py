"""How one text became another, line by line, for somebody who has to judge it.

Guarantees that every line of both is in the difference or within the context that was left out, and that it is found at a
bounded cost, whoever wrote the two: where lines that stand in both many times would make the search take minutes, all
between the common beginning and the common end is shown as taken out and put in. Judgement only; makes nothing visible.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final, Literal, TypeAlias

__all__ = ["difference"]

MAX_WORK: Final = 2_000_000  # pairs of lines that are looked at: about half a second

_Opcode: TypeAlias = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]


class _TooMuch(Exception):
    """The search would take too long."""


class _Matcher(difflib.SequenceMatcher[str]):
    """Counts beforehand what each search for the longest common block would look at."""

    b2j: dict[str, list[int]]  # where each line stands in the new text; the stubs leave it out

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new)
        self._both = old, new
        self._left = MAX_WORK
        # what stands there so often that it says nothing (`autojunk`) is not among these
        self._before = [0, *accumulate(1 + len(self.b2j.get(line, ())) for line in old)]

    def get_opcodes(self) -> list[_Opcode]:
        try:
            return super().get_opcodes()
        except _TooMuch:
            return _ends(*self._both)

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        self._left -= self._before[len(self._both[0]) if ahi is None else ahi] - self._before[alo]
        if self._left < 0:
            raise _TooMuch
        return super().find_longest_match(alo, ahi, blo, bhi)


def difference(old: Sequence[str], new: Sequence[str], *, context: int = 3) -> Iterator[str]:
    """Lines of a unified difference, without its two lines of names; nothing where the texts are the same."""
    if old == new:
        return
    for group in _Matcher(old, new).get_grouped_opcodes(context):
        (_, a, _, b, _), (_, _, a_end, _, b_end) = group[0], group[-1]
        yield f"@@ -{_range(a, a_end)} +{_range(b, b_end)} @@"
        for tag, start, end, new_start, new_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in old[start:end])
                continue
            yield from (f"-{line}" for line in old[start:end])
            yield from (f"+{line}" for line in new[new_start:new_end])


def _ends(old: Sequence[str], new: Sequence[str]) -> list[_Opcode]:
    """What they begin and end with is the same, and all between is not."""
    head = _same(old, new)
    tail = _same(old[head:][::-1], new[head:][::-1])
    a, b = len(old) - tail, len(new) - tail
    return [
        ("equal", 0, head, 0, head),
        ("replace", head, a, head, b),
        ("equal", a, len(old), b, len(new)),
    ]


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines they begin with are the same."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _range(start: int, end: int) -> str:
    """A place in a text as `diff -u` writes it: lines count from 1, and an empty place is named by the one before."""
    length = end - start
    if length == 1:
        return str(start + 1)
    return f"{start + 1 if length else start},{length}"

"""The content scan: bytes in, the rules they break out.

- A text without a key of any rule costs one pass and returns one shared value.
- Otherwise each rule is judged by its own pattern around its own keys, and nowhere else; by the promises of
  `Rule` the verdict is that of the whole text.
- Work is bounded: a text packed with keys so densely that judging would cost more than `MAX_PASSES` readings of it
  is reported as `hidden.key_flood` instead, because it can only have been made to hide something or to stall us.
- The text must be our own emission (see `rule`). It is read, never changed, and no part of it is in a verdict.

Knows nothing of what happens to a text that breaks a rule; `inspection` decides that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Final

import msgspec

from sekisho.detect.engines import Hit, KeyFinder, Pattern, TooManyKeys, best_finder, compiled
from sekisho.detect.rule import Place, Rule, Severity
from sekisho.detect.verdicts import CLEAN, Verdict

__all__ = ["KEY_FLOOD", "Scanner"]

MakeFinder = Callable[[Sequence[bytes], bytes], KeyFinder]

KEY_FLOOD: Final = "hidden.key_flood"
MAX_PASSES: Final = 16  # real text stays below 4; see tests
FREE_BYTES: Final = 1 << 16  # small texts may be judged as often as there are rules
_SEVERAL: Final = 3
_BETWEEN: Final = b"\xff"  # in no UTF-8 text, and no letter to an engine that reads bytes
_BY_END: Final = itemgetter(1)
_CLEAN: Final = CLEAN  # compiled code looks an imported name up for each call, and a constant not


class Scanner:
    """The rules of one rule book, compiled; for one thread."""

    __slots__ = ("_books",)

    def __init__(
        self, rules: Iterable[Rule], *, finder: MakeFinder = best_finder, stored: bytes = b""
    ) -> None:
        """`stored` is what an earlier scanner had in `stored`; anything else is ignored."""
        every = tuple(rules)
        parts = _parts(stored)
        self._books = {
            place: _Book(
                tuple(rule for rule in every if place in rule.where), finder, parts.get(place.value, b"")
            )
            for place in Place
        }

    @property
    def stored(self) -> bytes:
        """The compiled keys, to be kept beside the keys of the house and handed to the next start."""
        return msgspec.msgpack.encode({place.value: book.stored for place, book in self._books.items()})

    def scan(self, data: bytes | memoryview, where: Place) -> Verdict:
        """Which rules of that place the text breaks."""
        return self._books[where].scan(data)

    def at(self, where: Place) -> Callable[[bytes | memoryview], Verdict]:
        """`scan` for one place, without looking the place up each time."""
        return self._books[where].scan


class _Book:
    """The rules of one place: their keys in one finder, their patterns compiled when first asked for."""

    __slots__ = ("_asks", "_find", "_patterns", "_rules", "stored")

    def __init__(self, rules: tuple[Rule, ...], finder: MakeFinder, stored: bytes) -> None:
        keys: dict[bytes, list[tuple[int, int]]] = {}
        for number, rule in enumerate(rules):
            for key in dict.fromkeys(rule.wire_keys):
                keys.setdefault(key, []).append((number, rule.reach))
        self._rules = rules
        self._asks = [tuple(asking) for asking in keys.values()]
        self.stored = b""
        self._find: Callable[[bytes | memoryview], Sequence[Hit]] = _nothing
        if keys:
            made = finder(tuple(keys), stored)
            self._find, self.stored = made.find, made.stored
        self._patterns: list[Pattern | None] = [None] * len(rules)

    def scan(self, data: bytes | memoryview) -> Verdict:
        try:
            hits = self._find(data)
        except TooManyKeys:
            return Verdict((KEY_FLOOD,), Severity.REFUSE)
        return self._judge(data, hits) if hits else _CLEAN

    def _judge(self, data: bytes | memoryview, hits: Sequence[Hit]) -> Verdict:
        spans = self._spans(hits)
        left = MAX_PASSES * len(data) + FREE_BYTES
        broken: list[int] = []
        for number in sorted(spans):
            is_met, read = _search(self._pattern(number), data, spans[number])
            left -= read
            if is_met:
                broken.append(number)
            if left < 0:
                return self._verdict(broken, flooded=True)
        return self._verdict(broken, flooded=False)

    def _spans(self, hits: Sequence[Hit]) -> dict[int, list[int]]:
        """For each rule the stretches around its keys, merged: start, stop, start, stop, ..."""
        spans: dict[int, list[int]] = {}
        for key, end in sorted(hits, key=_BY_END):
            for number, reach in self._asks[key]:
                known = spans.get(number)
                if known is None:
                    spans[number] = [end - reach, end + reach]
                elif end - reach <= known[-1]:
                    known[-1] = end + reach
                else:
                    known += (end - reach, end + reach)
        return spans

    def _pattern(self, number: int) -> Pattern:
        pattern = self._patterns[number]
        if pattern is None:
            pattern = self._patterns[number] = compiled(self._rules[number].wire)
        return pattern

    def _verdict(self, broken: list[int], *, flooded: bool) -> Verdict:
        rules = [self._rules[number] for number in broken]
        ids = tuple(rule.id for rule in rules)
        if flooded:
            return Verdict((*ids, KEY_FLOOD), Severity.REFUSE)
        if not rules:
            return _CLEAN
        refuses = any(rule.severity is Severity.REFUSE for rule in rules)
        return Verdict(ids, Severity.REFUSE if refuses else Severity.NOTE)


def _search(pattern: Pattern, data: bytes | memoryview, bounds: Sequence[int]) -> tuple[bool, int]:
    """Does the pattern occur within one of these stretches, and how many bytes were read to know it?

    Calling an engine costs more than a stretch. Several are first searched at once, with a byte between them that is no
    letter, as the end of a text is none; no rule asks for the beginning or end of a text (`rule` refuses it). So what is
    not in all of them together is in none of them. What is there may reach over a joint, and is looked for again.
    """
    pairs = iter(bounds)
    windows = [data[max(start, 0) : stop] for start, stop in zip(pairs, pairs, strict=True)]
    if len(windows) > _SEVERAL and not pattern.search(_BETWEEN.join(windows)):
        return False, sum(map(len, windows))
    read = 0
    for window in windows:
        read += len(window)
        if pattern.search(window):
            return True, read
    return False, read


def _parts(stored: bytes) -> dict[str, bytes]:
    try:
        return msgspec.msgpack.decode(stored, type=dict[str, bytes])
    except msgspec.DecodeError:
        return {}


def _nothing(_text: bytes | memoryview) -> Sequence[Hit]:
    return ()

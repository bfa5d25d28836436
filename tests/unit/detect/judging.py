"""One scanner for the tests of the rule tables, and texts as they travel."""

from __future__ import annotations

import msgspec

from sekisho.detect import RULES, Place, Rule, Scanner

__all__ = ["SCANNER", "argument", "found", "nested", "result"]

SCANNER = Scanner(RULES)


def argument(text: str) -> bytes:
    """Arguments that hold the text as one value."""
    return msgspec.json.encode({"value": text})


def result(text: str) -> bytes:
    """A tool result that holds the text."""
    return msgspec.json.encode({"content": [{"type": "text", "text": text}], "isError": False})


def nested(text: str) -> bytes:
    """A tool result whose text is JSON that holds the text."""
    return result(msgspec.json.encode({"page": text}).decode())


def found(text: str, rule: Rule) -> bool:
    """Whether the rule meets the text everywhere it applies."""
    met = {
        rule.id in SCANNER.scan(wrap(text), place).rule_ids
        for place, wrap in ((Place.ARGUMENTS, argument), (Place.RESULTS, result))
        if place in rule.where
    }
    assert len(met) == 1
    return met.pop()

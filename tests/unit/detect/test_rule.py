"""A rule keeps its promises: its keys are in every match, no match exceeds its reach, both engines read it."""

from __future__ import annotations

import re
from random import Random

import pytest
from tests.unit.detect.drawing import draw_match, widest

from sekisho.detect import RULES, Group, Place, Rule, Severity
from sekisho.detect.rule import GAP, near, starts, wire_pattern

EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
MARGIN = 2  # a word boundary looks one byte further than the match
DRAWS = 200


def made(**changes: object) -> Rule:
    """A rule that can be built, with changes."""
    values: dict[str, object] = {
        "id": "injection.x",
        "group": Group.INJECTION,
        "where": frozenset(Place),
        "severity": Severity.NOTE,
        "finds": "x",
        "pattern": "(?i)xyz+",
        "keys": ("xyz",),
        "harmless": "abc",
        "harmful": "xyz",
    }
    return Rule(**(values | changes))  # type: ignore[arg-type]  # one wrong value at a time is the point


@EVERY_RULE
def test_no_match_is_longer_than_the_reach(rule: Rule) -> None:
    assert widest(rule.wire) + MARGIN <= rule.reach


@EVERY_RULE
def test_every_match_holds_a_key(rule: Rule) -> None:
    random = Random(rule.id)
    pattern, keys = re.compile(rule.wire), [re.compile(key) for key in rule.wire_keys]
    drawn = [draw_match(rule.wire, random) for _ in range(DRAWS)]
    matches = [text for text in drawn if pattern.search(text)]
    assert matches
    assert not [text for text in matches if not any(key.search(text) for key in keys)]


def test_beyond_ascii_stands_as_its_bytes_and_is_not_folded() -> None:
    assert wire_pattern("(?i)für?") == rb"(?i)f(?-i:\xC3\xBC)r?"


@pytest.mark.parametrize(
    "pattern", [r"a\s", r"\d", "^a", "a$", "a.b", "(?=a)", "(?<!a)b", r"(a)\1", "[é]", r"\p{L}", r"a\Z"]
)
def test_syntax_that_engines_read_differently_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"shared|class"):
        made(pattern=pattern)


@pytest.mark.parametrize("pattern", [r"a\\s", "[^a]", "[$.]", r"\$\^\.", r"(?-i:a)\b", "(?:a|b)"])
def test_syntax_that_engines_share_is_taken(pattern: str) -> None:
    assert made(pattern=pattern).wire == pattern.encode()


def test_a_rule_without_a_key_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no key"):
        made(keys=())


def test_keys_fold_letters_when_their_pattern_does() -> None:
    assert made().wire_keys == (b"(?i)xyz",)
    assert made(pattern="xyz").wire_keys == (b"xyz",)


@pytest.mark.parametrize("between", [" ", "\\n", " **", "\u200b", "\u00a0", '\\" ', " \\\\n- "])
def test_a_gap_is_what_may_stand_between_two_words(between: str) -> None:
    assert re.fullmatch(GAP.encode(), between.encode())


def test_near_ends_with_the_string() -> None:
    assert re.fullmatch(f"a{near(9)}b", "a, then b")
    assert not re.search(f"a{near(9)}b", 'a","b')


def test_a_start_is_an_opening_quotation_mark_only() -> None:
    keys = [re.compile(key) for key in starts("x")]
    assert all(any(key.search(text) for key in keys) for text in ('{"a":"x"}', '["x"]', '["y","x"]'))
    assert not any(key.search(r'{"a":"\"x\""}') for key in keys)

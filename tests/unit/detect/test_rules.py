"""The rule book: every row finds its harmful text and leaves its harmless one; ids are unique and documented."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.detect.judging import found

from sekisho.detect import KEY_FLOOD, RULES, Rule, check_rule_id, rules_without
from sekisho.errors import Misconfigured

EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "content-scan.md"


@EVERY_RULE
def test_the_harmful_text_is_found(rule: Rule) -> None:
    assert found(rule.harmful, rule)


@EVERY_RULE
def test_the_harmless_text_is_left_alone(rule: Rule) -> None:
    assert not found(rule.harmless, rule)


def test_ids_are_unique_and_begin_with_their_group() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(rule.id.startswith(f"{rule.group.value}.") for rule in RULES)
    assert KEY_FLOOD not in ids


def test_the_page_lists_every_rule_as_it_is() -> None:
    where = {rule.id: " and ".join(sorted(place.value for place in rule.where)) for rule in RULES}
    rows = [f"| `{rule.id}` | {where[rule.id]} | {rule.severity.value} | {rule.finds} |" for rule in RULES]
    listed = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert listed == rows


def test_a_rule_is_switched_off_by_its_id_and_alone() -> None:
    assert [rule.id for rule in RULES if rule not in rules_without(["secrets.jwt"])] == ["secrets.jwt"]


@pytest.mark.parametrize(("wrong", "remedy"), [("secrets.jwx", "secrets.jwt"), ("nonsense", "content-scan")])
def test_an_id_that_no_rule_has_is_refused_with_the_ones_there_are(wrong: str, remedy: str) -> None:
    with pytest.raises(Misconfigured, match="no content rule") as caught:
        check_rule_id(wrong)
    assert remedy in caught.value.remedy

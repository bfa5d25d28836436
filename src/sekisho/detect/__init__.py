"""Findings in text. Judgement only: values in, values out."""

from sekisho.detect.hidden import HiddenCharacter, hidden_characters, visible, visible_json
from sekisho.detect.inspection import Inspection, Mode, refusal
from sekisho.detect.rule import Group, Place, Rule, Severity
from sekisho.detect.rules import RULES, check_rule_id, rules_without
from sekisho.detect.scanner import KEY_FLOOD, Scanner
from sekisho.detect.verdicts import CLEAN, NOTHING_FOUND, Findings, Verdict

__all__ = [
    "CLEAN",
    "KEY_FLOOD",
    "NOTHING_FOUND",
    "RULES",
    "Findings",
    "Group",
    "HiddenCharacter",
    "Inspection",
    "Mode",
    "Place",
    "Rule",
    "Scanner",
    "Severity",
    "Verdict",
    "check_rule_id",
    "hidden_characters",
    "refusal",
    "rules_without",
    "visible",
    "visible_json",
]

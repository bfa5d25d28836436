"""The rule book: every rule of the content scan, in the order verdicts name them.

Guarantees that ids are unique and that a rule can be switched off by its id and by nothing else. The tables stand in
`secrets`, `smuggling`, `injection`, `tongues`, `paths` and `code`; each row carries a text it must find and a text it
must leave alone, and the tests hold it to both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sekisho.detect.code import CODE
from sekisho.detect.injection import INJECTION
from sekisho.detect.paths import PATHS
from sekisho.detect.rule import Rule
from sekisho.detect.secrets import SECRETS
from sekisho.detect.smuggling import SMUGGLING
from sekisho.detect.tongues import TONGUES
from sekisho.errors import Misconfigured

__all__ = ["RULES", "check_rule_id", "rules_without"]

RULES: Final[tuple[Rule, ...]] = (*SECRETS, *SMUGGLING, *INJECTION, *TONGUES, *PATHS, *CODE)
_IDS: Final = frozenset(rule.id for rule in RULES)


def check_rule_id(rule_id: str) -> str:
    """The id itself when a rule has it; raises Misconfigured."""
    if rule_id not in _IDS:
        group = rule_id.partition(".")[0]
        near = ", ".join(rule.id for rule in RULES if rule.group.value == group)
        raise Misconfigured(
            "config_invalid",
            f"there is no content rule {rule_id!r}",
            remedy=f"use one of: {near}" if near else "docs/concepts/content-scan.md lists the rules",
        )
    return rule_id


def rules_without(disabled: Iterable[str] = ()) -> tuple[Rule, ...]:
    """The rule book without the disabled rules; raises Misconfigured for an id no rule has."""
    without = {check_rule_id(one) for one in disabled}
    return tuple(rule for rule in RULES if rule.id not in without)

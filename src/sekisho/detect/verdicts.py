"""What a scan found, as values: the verdict of a rule book, and what the gate makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekisho.detect.rule import Severity

__all__ = ["CLEAN", "NOTHING_FOUND", "Findings", "Verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ids of the rules a text breaks, in the order of the rule book, and the worst they ask for."""

    rule_ids: tuple[str, ...]
    severity: Severity | None


@dataclass(frozen=True, slots=True)
class Findings:
    """Whether the text may not pass, and the ids of the rules it met, in the order of the rule book."""

    refused: bool
    rule_ids: tuple[str, ...]


CLEAN: Final = Verdict((), None)
NOTHING_FOUND: Final = Findings(refused=False, rule_ids=())

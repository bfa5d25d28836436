"""What the gate asks: may these arguments go out, may this result come back, and which rules were met?

Guarantees
- `judge_arguments` and `judge_result` are pure: same bytes, same answer; nothing is kept and nothing waits.
- A mode says what a finding does. `refuse` ends the call when a rule of severity *refuse* is met and remembers the
  others; `record` remembers all; `off` does not look.
- Findings hold ids of rules, never text, so they may stand in logs, records and answers.

The bytes must be our own emission of the value that is sent (see `rule`): what was judged is then what the reader
gets. Knows neither the call nor who made it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from sekisho.detect.rule import Place, Severity
from sekisho.detect.rules import rules_without
from sekisho.detect.scanner import KEY_FLOOD, Scanner
from sekisho.detect.verdicts import CLEAN, NOTHING_FOUND, Findings, Verdict
from sekisho.errors import Refused

__all__ = ["Inspection", "Mode", "refusal"]

Mode = Literal["refuse", "record", "off"]

_CLEAN: Final = CLEAN  # compiled code looks an imported name up for each call, and a constant not
_NOTHING_FOUND: Final = NOTHING_FOUND


class Inspection:
    """The content scan as one site wants it; for one thread."""

    __slots__ = ("_arguments", "_results", "_scan_arguments", "_scan_result", "_scanner")

    def __init__(
        self,
        *,
        arguments: Mode = "refuse",
        results: Mode = "record",
        disabled_rules: Iterable[str] = (),
        scanner: Scanner | None = None,
        stored: bytes = b"",
    ) -> None:
        """`scanner` shares what another Inspection of the same rules compiled, `stored` what an earlier start did."""
        self._arguments = arguments
        self._results = results
        self._scanner = scanner or Scanner(rules_without(disabled_rules), stored=stored)
        self._scan_arguments = self._scanner.at(Place.ARGUMENTS)
        self._scan_result = self._scanner.at(Place.RESULTS)

    @property
    def scanner(self) -> Scanner:
        """What was compiled, for another Inspection with other modes and the same rules."""
        return self._scanner

    @property
    def reads_results(self) -> bool:
        """Whether what a plugin says is looked at: what only prepares for that may be left out where it is not."""
        return self._results != "off"

    def judge_arguments(self, data: bytes) -> Findings:
        """The arguments of a call, as JSON text of our own emission."""
        if self._arguments == "off":
            return _NOTHING_FOUND
        verdict = self._scan_arguments(data)
        return _NOTHING_FOUND if verdict is _CLEAN else _findings(verdict, self._arguments)

    def judge_result(self, data: bytes | memoryview) -> Findings:
        """What a plugin says, as JSON text of our own emission: a result, a notification, a definition."""
        if self._results == "off":
            return _NOTHING_FOUND
        verdict = self._scan_result(data)
        return _NOTHING_FOUND if verdict is _CLEAN else _findings(verdict, self._results)


def _findings(verdict: Verdict, mode: Mode) -> Findings:
    refused = mode == "refuse" and verdict.severity is Severity.REFUSE
    return Findings(refused=refused, rule_ids=verdict.rule_ids)


def refusal(findings: Findings, what: Literal["arguments", "result"]) -> Refused:
    """The refusal that names the rules and the way to switch them off."""
    named = ", ".join(findings.rule_ids)
    listed = ", ".join(f'"{one}"' for one in findings.rule_ids if one != KEY_FLOOD)
    switch = f"sets inspection.disabled_rules = [{listed}]" if listed else 'sets inspection to "record"'
    return Refused(
        "content_refused",
        f"the {what} met the content rules {named}",
        remedy=f"if this is a false alarm, the operator {switch}",
    )

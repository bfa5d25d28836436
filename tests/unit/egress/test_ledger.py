"""One line an event, bounded in size and in rate."""

import json
import logging
from pathlib import Path

import pytest

from sekisho.egress.event import EgressEvent
from sekisho.egress.ledger import Ledger
from sekisho.policy import RateRule

NOW = 1_900_000_000.5


def event(host: str = "evil.example", *, allowed: bool = False) -> EgressEvent:
    reason = "" if allowed else "the name is not on the allow-list"
    return EgressEvent(plugin="a", kind="dns", host=host, port=53, allowed=allowed, reason=reason, bytes=7)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.requirement("B4.6")
def test_an_event_is_one_line_with_its_rule(tmp_path: Path) -> None:
    path = tmp_path / "egress" / "a.jsonl"
    Ledger(path, lambda: NOW).write(event())
    assert lines(path) == [
        {
            "time": "2030-03-17T17:46:40.500000+00:00",
            "plugin": "a",
            "kind": "dns",
            "host": "evil.example",
            "port": 53,
            "allowed": False,
            "reason": "the name is not on the allow-list",
            "bytes": 7,
        }
    ]


@pytest.mark.threat("T-FLOOD")
def test_the_files_stay_within_their_bound(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    ledger = Ledger(path, lambda: NOW, max_bytes=1000)
    for _ in range(50):
        ledger.write(event(allowed=True))
        ledger.write(event())
    names = ["a.jsonl", "a.jsonl.1", "a.passed.jsonl", "a.passed.jsonl.1"]
    assert sorted(found.name for found in tmp_path.iterdir()) == names
    assert all(found.stat().st_size <= 1000 for found in tmp_path.iterdir())


@pytest.mark.threat("T-FLOOD")
def test_a_flood_of_refusals_is_counted_instead_of_written(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    now = [NOW]
    ledger = Ledger(path, lambda: now[0], rate=RateRule(per_minute=60, burst=2))
    for _ in range(10):
        ledger.write(event())
    ledger.write(event("api.example.com", allowed=True))
    now[0] += 60
    ledger.write(event())
    assert [line.get("left_out") for line in lines(path)] == [None, None, 8]


@pytest.mark.threat("T-FLOOD")
def test_a_flood_of_what_is_allowed_pushes_no_refusal_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl", lambda: NOW, max_bytes=1000)
    ledger.write(event())
    for _ in range(50):
        ledger.write(event("api.example.com", allowed=True))
    assert [line["host"] for line in lines(tmp_path / "a.jsonl")] == ["evil.example"]


def test_whoever_writes_hears_what_was_left_out(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl", lambda: NOW, rate=RateRule(per_minute=1, burst=2))
    assert [ledger.write(event()) for _ in range(4)] == [True, True, False, False]
    assert ledger.write(event("api.example.com", allowed=True))


def test_a_file_that_cannot_be_written_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    ledger = Ledger(tmp_path / "file" / "a.jsonl", lambda: NOW)
    with caplog.at_level(logging.ERROR, logger="sekisho.egress"):
        ledger.write(event())
        ledger.write(event())
    assert [record.message for record in caplog.records] == ["egress_ledger_failed"]

"""A ledger is followed line by line, across rotations, and nothing is told twice or lost."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.egress import EgressEvent
from sekisho.egress.following import LedgerFollower
from sekisho.egress.ledger import Ledger


def event(host: str, *, allowed: bool = True) -> EgressEvent:
    return EgressEvent(plugin="a", kind="tls", host=host, port=443, allowed=allowed, reason="", bytes=7)


def hosts(follower: LedgerFollower) -> list[str]:
    return [one.host for one in follower.new()]


def test_what_is_there_comes_first_and_then_what_is_written(tmp_path: Path) -> None:
    now = [1.9e9]
    ledger = Ledger(tmp_path / "a.jsonl", lambda: now[0])
    ledger.write(event("first.example"))
    with LedgerFollower(tmp_path, "a") as follower:
        assert hosts(follower) == ["first.example"]
        assert hosts(follower) == []
        ledger.write(event("refused.example", allowed=False))
        now[0] += 1
        ledger.write(event("passed.example"))
        assert hosts(follower) == ["refused.example", "passed.example"]


def test_a_ledger_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with LedgerFollower(tmp_path, "a") as follower:
        assert hosts(follower) == []
        Ledger(tmp_path / "a.jsonl", lambda: 1.9e9).write(event("first.example"))
        assert hosts(follower) == ["first.example"]


def test_half_a_line_is_told_once_it_is_whole(tmp_path: Path) -> None:
    Ledger(tmp_path / "a.jsonl", lambda: 1.9e9).write(event("first.example", allowed=False))
    path = tmp_path / "a.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:20])
    with LedgerFollower(tmp_path, "a") as follower:
        assert hosts(follower) == []
        with path.open("ab") as file:
            file.write(whole[20:] + b"no line of ours\n" + b"x" * 200_000 + b"\n" + whole)
        assert hosts(follower) == ["first.example", "first.example"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_event_is_told_once_in_order_whenever_somebody_looks(
    tmp_path: Path, batches: list[int]
) -> None:
    for old in tmp_path.iterdir():
        old.unlink()
    ledger = Ledger(tmp_path / "a.jsonl", lambda: 1.9e9, max_bytes=600)  # three or four lines
    wanted: list[str] = []
    found: list[str] = []
    with LedgerFollower(tmp_path, "a") as follower:
        for size in batches:
            for _ in range(size):
                wanted.append(f"h{len(wanted)}.example")
                ledger.write(event(wanted[-1]))
            found += hosts(follower)
    assert found == wanted


def test_who_comes_late_finds_what_was_moved_aside_too(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl", lambda: 1.9e9, max_bytes=600)
    for number in range(6):
        ledger.write(event(f"h{number}.example"))
    assert (tmp_path / "a.passed.jsonl.1").exists()
    with LedgerFollower(tmp_path, "a") as follower:
        assert hosts(follower)[-1] == "h5.example"
        assert len(hosts(follower)) == 0

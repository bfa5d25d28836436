"""What was written is read back, in order, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress import EgressEvent
from sekisho.egress.ledger import Ledger
from sekisho.egress.record import read_entries


def event(host: str, *, allowed: bool = True, is_learned: bool = False) -> EgressEvent:
    return EgressEvent(
        plugin="a",
        kind="tls",
        host=host,
        port=443,
        allowed=allowed,
        reason="",
        bytes=7,
        is_learned=is_learned,
    )


def test_events_come_back_as_they_were_also_across_a_rotation(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "a.jsonl", lambda: 1.9e9, max_bytes=600)
    for number in range(7):
        ledger.write(event(f"h{number}.example", is_learned=number == 6))
    assert (tmp_path / "a.passed.jsonl.1").exists()
    found = list(read_entries(tmp_path, "a"))
    assert [one.host for one in found][-2:] == ["h5.example", "h6.example"]
    assert [one.learned for one in found][-2:] == [False, True]
    assert (found[0].kind, found[0].port, found[0].bytes, found[0].allowed) == ("tls", 443, 7, True)


def test_what_passed_and_what_was_refused_come_back_in_the_order_of_time(tmp_path: Path) -> None:
    now = [1.9e9]
    ledger = Ledger(tmp_path / "a.jsonl", lambda: now[0])
    for number in range(6):
        now[0] += 1
        ledger.write(event(f"h{number}.example", allowed=number % 2 == 0))
    assert [one.host for one in read_entries(tmp_path, "a")] == [f"h{number}.example" for number in range(6)]


def test_a_plugin_without_a_ledger_has_no_events(tmp_path: Path) -> None:
    assert list(read_entries(tmp_path, "a")) == []


def test_what_was_left_out_is_known(tmp_path: Path) -> None:
    now = [1.9e9]
    ledger = Ledger(tmp_path / "a.jsonl", lambda: now[0])
    for _ in range(310):
        ledger.write(event("evil.example", allowed=False))
    now[0] += 60
    ledger.write(event("evil.example", allowed=False))
    assert list(read_entries(tmp_path, "a"))[-1].left_out == 10


@given(damage=st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"{}", b"[]", b"1"])), max_size=5))
def test_a_damaged_ledger_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, damage: list[bytes]
) -> None:
    folder = tmp_path_factory.mktemp("ledger")
    Ledger(folder / "a.jsonl", lambda: 1.9e9).write(event("good.example"))
    with (folder / "a.jsonl").open("ab") as file:
        file.write(b"\n".join(damage) + b"\n")
    assert [one.host for one in read_entries(folder, "a")] == ["good.example"]

"""Each refusal is told once and then counted; floods neither grow it nor hide one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sekisho.launcher.ledger import (
    BURST,
    BURST_CPU_S,
    CPU_SHARE,
    FLUSH_S,
    MAX_TOLD,
    MAX_WAITING,
    PER_S,
    REPEAT_S,
    Ledger,
    Purse,
)
from sekisho.launcher.places import Refusal


def refusal(name: object) -> Refusal:
    return Refusal("read", f"/{name}", "unlisted")


def ledger(*, has: bool = True) -> Ledger:
    return Ledger(lambda one: has, 0.0)


def test_nothing_is_due_before_anything_was_noted() -> None:
    one = ledger()
    assert one.due_at is None
    one.note(refusal("a"), 5.0)
    assert one.is_waiting
    assert not ledger().is_waiting
    assert one.due_at == 5.0 + FLUSH_S


def test_the_same_again_is_counted_and_told_later() -> None:
    one = ledger()
    one.note(refusal("a"), 0.0)
    one.note(refusal("a"), 0.0)
    assert one.due(0.1) == ([(refusal("a"), 2)], 0)
    one.note(refusal("a"), 0.2)
    assert one.due(0.3) == ([], 0)
    assert one.due(REPEAT_S) == ([(refusal("a"), 1)], 0)
    assert one.due(3 * REPEAT_S) == ([], 0)


def test_what_has_not_been_told_is_told_at_the_end() -> None:
    one = ledger()
    one.note(refusal("a"), 0.0)
    one.due(0.1)
    one.note(refusal("a"), 0.2)
    one.note(refusal("b"), 0.2)
    assert one.due(0.3, is_last=True) == ([(refusal("b"), 1), (refusal("a"), 1)], 0)


def test_what_the_host_has_not_is_not_told() -> None:
    one = ledger(has=False)
    one.note(refusal("a"), 0.0)
    assert one.due(0.1) == ([], 0)


def test_a_flood_is_told_at_a_rate_and_the_rest_counted() -> None:
    one = ledger()
    for number in range(BURST + 10):
        one.note(refusal(number), 0.0)
    told, left_out = one.due(0.0)
    assert (len(told), left_out) == (BURST, 10)
    for number in range(10):
        one.note(refusal(f"b{number}"), 1.0)
    told, left_out = one.due(1.0)
    assert (len(told), left_out) == (PER_S, 10 - PER_S)


def test_a_flood_of_what_nobody_has_hides_nothing() -> None:
    one = Ledger(lambda refusal: refusal.path == "/key", 0.0)
    for number in range(MAX_WAITING - 1):
        one.note(refusal(number), 0.0)
    assert one.due_at == FLUSH_S
    one.note(refusal("key"), 0.0)
    assert one.due_at == 0.0, "it is looked at before it grows"
    assert one.due(0.0) == ([(refusal("key"), 1)], 0)


def test_it_does_not_grow() -> None:
    one = ledger()
    now = 0.0
    for number in range(2 * MAX_TOLD):
        now += 1 / PER_S
        one.note(refusal(number), now)
        assert len(one.due(now)[0]) == 1
    one.note(refusal(0), now)
    told, _ = one.due(now + 1, is_last=True)
    assert told == [(refusal(0), 1)], "it was forgotten, and is told anew"


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 2)), max_size=200))
def test_everything_noted_is_told_or_counted(noted: list[tuple[int, float]]) -> None:
    one = ledger()
    now, heard = 0.0, 0
    for name, later in noted:
        now += later
        one.note(refusal(name), now)
        if one.due_at is not None and now >= one.due_at:
            told, left_out = one.due(now)
            heard += sum(times for _, times in told) + left_out
    told, left_out = one.due(now, is_last=True)
    assert heard + sum(times for _, times in told) + left_out == len(noted)


def test_a_burst_of_work_is_done_without_a_pause_and_then_a_share() -> None:
    purse = Purse(0.0, 0.0)
    assert purse.pause_s(0.0, BURST_CPU_S) == 0.0
    pause_s = purse.pause_s(0.0, BURST_CPU_S + 0.01)
    assert abs(pause_s - 0.01 / CPU_SHARE) < 1e-9
    assert purse.pause_s(pause_s, BURST_CPU_S + 0.01) < 1e-9


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=50))
def test_in_the_long_run_it_takes_its_share_and_one_burst(works: list[float]) -> None:
    purse = Purse(0.0, 0.0)
    now = used = 0.0
    for work in works:
        used += work
        now += work + purse.pause_s(now + work, used)
    assert used <= now * CPU_SHARE + BURST_CPU_S + 1e-6


def test_time_without_work_is_not_saved_up() -> None:
    purse = Purse(0.0, 0.0)
    purse.pause_s(1e6, 0.0)
    assert purse.pause_s(1e6, 2 * BURST_CPU_S) > 0

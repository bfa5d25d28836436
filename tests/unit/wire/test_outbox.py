"""Denials on their way: one core each, none lost, none without bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.policy import RateRule
from sekisho.wire.frames import Kind
from sekisho.wire.messages import DenialFrame, decode_payload
from sekisho.wire.outbox import HEARD_RATE, KIND_RATE, MAX_WAITING, Hearing, Outbox

DENIAL = DenialFrame("dns", "network_policy", "the name is not on the allow-list", "a.example:53")
PLENTY = RateRule(per_minute=60_000_000)


@dataclass
class Core:
    """A channel that remembers."""

    is_open: bool = True
    heard: dict[int, DenialFrame] = field(default_factory=dict)

    def send(self, kind: Kind, payload: bytes, number: int = 0) -> None:
        assert kind is Kind.DENIAL
        self.heard[number] = decode_payload(payload, DenialFrame)


def outbox(cores: list[Core], rate: RateRule = PLENTY) -> Outbox:
    return Outbox(lambda: cores, lambda: 1_000.0, rate=rate, kind_rate=rate)


def test_one_core_hears_it_as_it_was_said() -> None:
    cores = [Core(), Core()]
    outbox(cores).put(DENIAL)
    assert [one.heard for one in cores] == [{1: DENIAL}, {}]


def test_without_a_core_it_waits_for_one() -> None:
    cores: list[Core] = []
    box = outbox(cores)
    box.put(DENIAL)
    cores.append(Core())
    box.send_again()
    assert cores[0].heard == {1: DENIAL}


def test_what_was_not_recorded_goes_to_another_core_when_the_first_is_gone() -> None:
    first, second = Core(), Core()
    box = outbox([first, second])
    box.put(DENIAL)
    box.put(DENIAL)
    box.recorded(1)
    box.send_again()
    assert not second.heard  # the first one is still there, and may be about to say so
    first.is_open = False
    box.send_again()
    assert set(second.heard) == {2}


def test_a_record_that_nobody_waits_for_changes_nothing() -> None:
    core = Core()
    box = outbox([core])
    box.recorded(9)
    box.put(DENIAL)
    assert set(core.heard) == {1}


def test_a_flood_is_told_at_a_bounded_rate_and_its_size_is_told_with_the_next() -> None:
    core, now = Core(), [1_000.0]
    box = Outbox(lambda: [core], lambda: now[0], rate=RateRule(per_minute=60, burst=2))
    for _ in range(10):
        box.put(DENIAL)
    assert len(core.heard) == 2
    now[0] += 60
    box.put(DENIAL)
    assert core.heard[3].left_out == 8


@pytest.mark.threat("T-FLOOD")
def test_a_flood_of_one_kind_does_not_hide_another() -> None:
    core = Core()
    box = Outbox(lambda: [core], lambda: 1_000.0)
    for _ in range(1_000):
        box.put(DENIAL)
    box.put(DenialFrame("secret", "secrets", "a placeholder was sent to a host that is not its secret's"))
    told = [one.kind for one in core.heard.values()]
    assert told == ["dns"] * KIND_RATE.capacity + ["secret"]
    assert core.heard[len(told)].left_out == 1_000 - KIND_RATE.capacity


def test_what_waits_is_bounded_and_what_did_not_fit_is_counted() -> None:
    cores: list[Core] = []
    box = outbox(cores)
    for _ in range(MAX_WAITING + 7):
        box.put(DENIAL)
    cores.append(Core())
    box.send_again()
    for number in tuple(cores[0].heard):
        box.recorded(number)
    box.put(DENIAL)
    assert len(cores[0].heard) == MAX_WAITING + 1
    assert cores[0].heard[MAX_WAITING + 1].left_out == 7


@pytest.mark.parametrize("size", [400, 100_000])
def test_words_that_a_plugin_chose_are_cut(size: int) -> None:
    core = Core()
    outbox([core]).put(DenialFrame("connect", "network_policy", "r" * size, "t" * size))
    assert len(core.heard[1].target) == len(core.heard[1].reason) == 400


@given(steps=st.lists(st.sampled_from(["put", "record", "die", "join"]), max_size=60))
def test_no_denial_is_lost_and_none_waits_that_was_recorded(steps: list[str]) -> None:
    cores = [Core()]
    box = outbox(cores)
    put, recorded = 0, set[int]()
    for step in steps:
        match step:
            case "put":
                put += 1
                box.put(DENIAL)
            case "record":
                for core in cores:
                    if core.is_open:
                        recorded |= set(core.heard)
                        for number in core.heard:
                            box.recorded(number)
            case "die":
                for core in cores:
                    core.is_open = False
                box.send_again()
            case "join":
                cores.append(Core())
                box.send_again()
    last = Core()
    for core in cores:
        core.is_open = False
    cores.append(last)
    box.send_again()
    assert recorded | set(last.heard) == set(range(1, put + 1))
    assert not recorded & set(last.heard)


@pytest.mark.threat("T-FLOOD")
def test_a_server_that_tells_more_than_ours_would_is_heard_at_a_bounded_rate() -> None:
    heard: list[Callable[[], None]] = []
    now = [1_000.0]
    hearing = Hearing(lambda _denial, recorded: heard.append(recorded), lambda: now[0])
    said: list[int] = []
    for number in range(HEARD_RATE.capacity + 50):
        hearing.hear(DENIAL, partial(said.append, number))
    assert len(heard) == HEARD_RATE.capacity
    now[0] += 60
    hearing.hear(DENIAL, partial(said.append, -1))
    heard[-1]()
    assert said == [-1]

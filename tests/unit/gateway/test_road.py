"""The road: the intent before the effect, the outcome before the answer, and no answer without a record."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from sekisho.errors import Refused, SekishoError, Unavailable
from sekisho.gateway.freight import FreightLimits
from sekisho.gateway.road import Outcome, Trip
from sekisho.gateway.stages import Refusal
from sekisho.protocol import JsonLimits

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit


def travel(kit: Kit, heard: list[Outcome], tool: str = "add", token: str | None = None) -> Trip:
    arguments = b'{"a":1}' if tool == "add" else b"{}"
    arrived = kit.arrived(tool=tool, arguments=arguments, token=token or kit.aya)
    return kit.road.travel(arrived, heard.append, kit.listener())


def codes(kit: Kit, heard: list[Outcome]) -> list[str]:
    return [kit.code(outcome) for outcome in heard]


@pytest.mark.requirement("A2.3")
def test_the_intent_is_on_record_before_the_call_leaves_and_the_outcome_before_it_is_heard(kit: Kit) -> None:
    heard: list[Outcome] = []
    travel(kit, heard)
    assert (kit.line.frames, kit.line.expected, kit.road.in_flight) == ([], 1, 1)
    kit.log.settle()
    assert (kit.log.kinds, len(kit.line.frames), heard) == (["intent"], 1, [])
    kit.line.reply()
    assert heard == []
    kit.log.settle()
    assert kit.log.kinds == ["intent", "outcome"]
    assert (codes(kit, heard), kit.road.in_flight) == (["ok"], 0)


@pytest.mark.parametrize(("tool", "effect"), [("add", False), ("erase", True)])
def test_only_an_operation_with_effects_waits_for_the_disk(kit: Kit, tool: str, effect: bool) -> None:
    heard: list[Outcome] = []
    travel(kit, heard, tool)
    kit.log.settle()
    kit.line.reply()
    kit.log.settle()
    assert kit.log.effects[-1] is effect


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-OPERATION")
def test_a_refusal_is_recorded_and_never_forwarded(kit: Kit) -> None:
    heard: list[Outcome] = []
    travel(kit, heard, "erase", kit.ben)
    assert heard == []
    kit.log.settle()
    assert (kit.log.kinds, kit.line.frames, kit.line.expected) == (["refusal"], [], 0)
    assert kit.log.entries[0]["code"] == "operation_not_allowed"
    assert (kit.log.entries[0]["client"], kit.log.entries[0]["tool"]) == ("ben", "erase")
    assert codes(kit, heard) == ["operation_not_allowed"]


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-FULLDISK")
def test_a_call_whose_intent_cannot_be_written_is_not_forwarded(kit: Kit) -> None:
    heard: list[Outcome] = []
    kit.log.fill_up()
    travel(kit, heard)
    kit.log.settle()
    assert (kit.line.frames, codes(kit, heard), kit.road.in_flight) == ([], ["log_unavailable"], 0)
    kit.log.problem = None
    travel(kit, heard)
    kit.log.settle()
    assert len(kit.line.frames) == 1


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-FULLDISK")
def test_a_result_whose_outcome_cannot_be_written_is_not_handed_out(kit: Kit) -> None:
    heard: list[Outcome] = []
    travel(kit, heard)
    kit.log.settle()
    kit.log.fill_up()
    kit.line.reply()
    kit.log.settle()
    assert (codes(kit, heard), kit.road.in_flight) == (["log_unavailable"], 0)


@pytest.mark.threat("T-FULLDISK")
def test_a_refusal_is_given_even_when_the_log_is_down(kit: Kit) -> None:
    heard: list[Outcome] = []
    kit.log.fill_up()
    travel(kit, heard, "erase", kit.ben)
    kit.log.settle()
    assert codes(kit, heard) == ["operation_not_allowed"]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b'{"content":[],"structuredContent":{"sum":"x"}}', "result_invalid"),
        (b"[]", "plugin_protocol"),
        (b'{"content":["' + b"x" * 512 + b'"]}', "result_too_large"),
        (Unavailable("plugin_exited", "test"), "plugin_exited"),
    ],
)
def test_a_bad_answer_is_recorded_under_its_code(kit: Kit, answer: bytes | SekishoError, code: str) -> None:
    heard: list[Outcome] = []
    travel(kit, heard)
    kit.log.settle()
    kit.line.reply(answer)
    kit.log.settle()
    assert codes(kit, heard) == [code]
    assert kit.log.entries[-1]["code"] == code
    assert "result" not in kit.log.entries[-1]


@pytest.mark.threat("T-FLOOD")
def test_beyond_the_calls_in_flight_the_gateway_is_busy(kit: Kit) -> None:
    kit.road = kit.new_road(max_in_flight=1)
    first: list[Outcome] = []
    second: list[Outcome] = []
    travel(kit, first)
    travel(kit, second)
    kit.log.settle()
    assert codes(kit, second) == ["busy"]
    kit.line.reply()
    kit.log.settle()
    travel(kit, second)
    kit.log.settle()
    kit.line.reply()
    kit.log.settle()
    assert codes(kit, second) == ["busy", "ok"]


def test_a_withdrawn_call_is_cancelled_settled_once_and_recorded(kit: Kit) -> None:
    heard: list[Outcome] = []
    trip = travel(kit, heard)
    kit.log.settle()
    late = kit.line.waiting[1]
    trip.withdraw(Refused("cancelled", "test"))
    late(kit.sum)
    trip.withdraw(Refused("cancelled", "again"))
    kit.log.settle()
    assert (codes(kit, heard), kit.log.kinds) == (["cancelled"], ["intent", "outcome"])
    assert 1 in kit.line.cancelled


def test_a_call_withdrawn_before_its_intent_is_on_record_never_leaves(kit: Kit) -> None:
    heard: list[Outcome] = []
    travel(kit, heard).withdraw(Refused("cancelled", "test"))
    kit.log.settle()
    assert (kit.line.frames, codes(kit, heard), kit.road.in_flight) == ([], ["cancelled"], 0)
    assert kit.log.kinds == ["intent", "outcome"]


def test_a_plugin_without_a_line_is_unavailable(kit: Kit) -> None:
    heard: list[Outcome] = []
    kit.road.travel(
        kit.arrived(plugin=kit.other, tool="erase", arguments=b"{}"), heard.append, kit.listener()
    )
    kit.log.settle()
    assert codes(kit, heard) == ["plugin_unavailable"]


# large calls and results


@pytest.fixture
def roomy(kit: Kit) -> Kit:
    """A house that lets large calls and results through, three of them at a time for one client."""
    kit.change(max_argument_bytes=1 << 20, result_limits=JsonLimits(max_bytes=1 << 20))
    kit.road = kit.new_road(freight=FreightLimits(total=1 << 20, of_client=300_000))
    return kit


def travel_large(kit: Kit, heard: list[Outcome]) -> Trip:
    arrived = kit.arrived(tool="erase", arguments=b'{"x":"%b"}' % (b"x" * 90_000))
    return kit.road.travel(arrived, heard.append, kit.listener())


@pytest.mark.threat("T-FLOOD")
def test_a_client_has_so_many_bytes_of_calls_under_way_and_small_calls_go_on(roomy: Kit) -> None:
    kit, heard = roomy, list[Outcome]()
    for _ in range(5):
        travel_large(kit, heard)
    kit.log.settle()
    assert codes(kit, heard) == ["busy", "busy"]
    assert isinstance(heard[0], Refusal)
    assert "max_in_flight_bytes_per_client" in heard[0].error.remedy
    assert (len(kit.line.frames), kit.road.in_flight) == (3, 3)
    for _ in range(4):
        travel(kit, heard, "erase")
    kit.log.settle()
    assert len(kit.line.frames) == 7
    kit.line.reply(b'{"content":[]}')
    kit.log.settle()
    travel_large(kit, heard)  # one of them is over
    kit.log.settle()
    assert len(kit.line.frames) == 8
    assert codes(kit, heard) == ["busy", "busy", "ok"]


@pytest.mark.threat("T-FLOOD")
def test_a_call_without_a_berth_leaves_no_bytes_behind(roomy: Kit) -> None:
    kit, heard = roomy, list[Outcome]()
    kit.road = kit.new_road(max_in_flight=1, freight=FreightLimits(total=1 << 20, of_client=200_000))
    travel(kit, heard)
    for _ in range(5):
        travel_large(kit, heard)
    kit.log.settle()
    assert codes(kit, heard) == ["busy"] * 5
    assert kit.road.freight.has_room("aya", 190_000)


@pytest.mark.parametrize("ends", ["withdrawn", "failed", "answered"])
def test_the_bytes_of_a_call_are_free_however_it_ends(roomy: Kit, ends: str) -> None:
    kit, heard = roomy, list[Outcome]()
    trip = travel_large(kit, heard)
    kit.log.settle()
    assert not kit.road.freight.has_room("aya", 250_000)
    if ends == "withdrawn":
        trip.withdraw(Refused("cancelled", "test"))
    else:
        kit.line.reply(b'{"content":[]}' if ends == "answered" else Unavailable("plugin_exited", "test"))
    kit.log.settle()
    assert len(heard) == 1
    assert kit.road.freight.has_room("aya", 250_000)


def large_result(size: int = 90_000) -> bytes:
    return b'{"content":[{"type":"text","text":"%b"}]}' % (b"x" * size)


@pytest.mark.threat("T-FLOOD")
def test_results_that_wait_for_the_log_have_so_many_bytes_and_the_record_says_what_was_done(
    roomy: Kit,
) -> None:
    kit, heard = roomy, list[Outcome]()
    for _ in range(5):
        travel(kit, heard, "erase")
    kit.log.settle()
    for _ in range(5):
        kit.line.reply(large_result())
    kit.log.settle()
    assert codes(kit, heard) == ["ok", "ok", "ok", "busy", "busy"]
    refused = [entry for entry in kit.log.entries if entry.get("code") == "busy"]
    assert len(refused) == 2
    assert all("carried the call out" in str(entry["reason"]) for entry in refused)
    assert kit.road.freight.has_room("aya", 290_000)
    for _ in range(5):  # one after the other they are no matter
        travel(kit, heard, "erase")
        kit.log.settle()
        kit.line.reply(large_result())
        kit.log.settle()
    assert codes(kit, heard)[5:] == ["ok"] * 5


@pytest.mark.threat("T-FLOOD")
def test_the_value_of_a_call_is_not_kept_while_it_is_under_way(kit: Kit) -> None:
    """Eighteen thousand empty lists are 54 KB of text, and more than a megabyte of values."""
    kit.change(max_argument_bytes=1 << 20)
    heard: list[Outcome] = []
    arguments = b'{"x":[%b[]]}' % (b"[]," * 18_000)
    tracemalloc.start()
    try:
        kit.road.travel(kit.arrived(tool="erase", arguments=arguments), heard.append, kit.listener())
        kit.log.settle()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kit.line.frames) == 1
    assert kept < 4 * len(arguments)
    assert bytes(kit.line.frames[0].arguments) == arguments

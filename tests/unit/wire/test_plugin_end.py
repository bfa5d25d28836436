from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.errors import SekishoError, Unavailable
from sekisho.keys import sign_channel_token
from sekisho.wire import AskFrame, CallFrame, EventFrame, Inbound
from sekisho.wire.frames import MAX_PAYLOAD_BYTES, Kind
from sekisho.wire.notes import MAX_NOTE_BYTES
from sekisho.wire.pipe import SealedPipe
from sekisho.wire.plugin_end import MAX_UNREAD_BYTES

if TYPE_CHECKING:
    from tests.unit.wire.conftest import House

Settle = Callable[[], Awaitable[None]]


def code(answer: bytes | memoryview | SekishoError) -> str:
    return answer.code if isinstance(answer, SekishoError) else "answered"


@pytest.mark.requirement("A2.2")
@pytest.mark.requirement("A4.2")
@pytest.mark.threat("T-OPERATION")
@pytest.mark.parametrize("side", ["token", "own list"])
async def test_an_operation_must_be_in_the_token_and_in_our_own_list(
    house: House, echo: CallFrame, hold: CallFrame, settle: Settle, side: str
) -> None:
    only_hold = frozenset({"hold"})
    if side == "token":
        joined = house.join(core_terms=house.core_terms(ops=only_hold))
    else:
        joined = house.join(plugin_terms=house.plugin_terms(ops=only_hold))
    await joined.opened()
    joined.core.call(1, echo, house.answers.append)
    joined.core.call(2, hold, house.answers.append)
    await settle()
    assert [code(answer) for answer in house.answers] == ["operation_not_allowed"]
    assert [inbound.frame.tool for inbound in house.inbound] == ["hold"]
    assert [error.code for error in house.refused] == ["operation_not_allowed"]


@pytest.mark.requirement("A4.2")
async def test_a_call_after_the_tokens_end_is_refused(house: House, echo: CallFrame, settle: Settle) -> None:
    frozen = house.now
    terms = dataclasses.replace(house.core_terms(), clock=lambda: frozen)  # a core that does not renew
    joined = house.join(core_terms=terms)
    await joined.opened()
    house.now += 60
    joined.core.call(1, echo, house.answers.append)
    await settle()
    assert [code(answer) for answer in house.answers] == ["token_not_accepted"]
    assert house.inbound == []


@pytest.mark.threat("T-REPLAY")
async def test_a_replayed_token_opens_no_second_channel(house: House, settle: Settle) -> None:
    first = house.join()
    await first.opened()
    second = house.join()
    second.near.writes.clear()
    second.far.arrive(first.near.writes[0])
    await settle()
    assert [error.code for error in house.refused] == ["token_not_accepted"]


@pytest.mark.threat("T-REPLAY")
async def test_a_token_of_another_certificate_is_refused(house: House) -> None:
    renewed = house.folder.renew_if_half_life(house.core.spiffe, house.now + 1800)
    joined = house.join(core_terms=dataclasses.replace(house.core_terms(), identity=renewed))
    error = await joined.opened()
    assert error is not None
    assert error.code == "token_not_accepted"


@pytest.mark.threat("T-REPLAY")
async def test_a_replayed_record_ends_the_channel_and_runs_nothing_twice(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.near.tamper = lambda data: data * 2
    joined.core.call(1, echo, house.answers.append)
    await joined.lost()
    await settle()
    assert len(house.inbound) == 1
    assert [error.code for error in house.refused] == ["seal_broken"]


async def test_a_call_number_used_twice_ends_the_channel(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    joined.core.call(1, hold, house.answers.append)
    await joined.lost()
    assert [error.code for error in house.refused] == ["plugin_protocol"]
    assert len(house.cancelled) == 1


@pytest.mark.threat("T-REPLAY")
async def test_a_token_that_one_worker_used_is_refused_from_another(house: House, settle: Settle) -> None:
    one, other = house.join(), house.join()
    await one.opened()
    await other.opened()
    token = sign_channel_token(
        house.core, house.plugin.spiffe, ["echo"], cert_x5t=house.core.x5t_s256, now=house.now, jti="once"
    )
    for worker in (one, other):
        pipe: SealedPipe | None = worker.core._pipe
        assert pipe is not None
        pipe.send(Kind.TOKEN, 0, token.encode())
        await settle()
    await other.lost()
    assert [error.code for error in house.refused] == ["token_not_accepted"]
    assert one.plugin.is_open


async def test_a_bad_token_in_band_ends_the_channel(house: House, settle: Settle) -> None:
    joined = house.join()
    await joined.opened()
    pipe: SealedPipe | None = joined.core._pipe
    assert pipe is not None
    stale = sign_channel_token(
        house.core, house.plugin.spiffe, ["echo"], cert_x5t="x" * 43, now=house.now, jti="other"
    )
    pipe.send(Kind.TOKEN, 0, stale.encode())
    await joined.lost()
    assert [error.code for error in house.refused] == ["token_not_accepted"]


@pytest.mark.threat("T-MITM")
async def test_a_revoked_core_is_cut_at_its_next_call(house: House, echo: CallFrame, settle: Settle) -> None:
    joined = house.join()
    await joined.opened()
    house.revoked.revoke(house.core.serial)
    joined.core.call(1, echo, house.answers.append)
    await joined.lost()
    assert house.inbound == []
    assert [error.code for error in house.refused] == ["peer_untrusted"]


@pytest.mark.threat("T-MITM")
async def test_trap_four_a_revoked_core_that_is_silent_is_cut_within_a_second(house: House) -> None:
    joined = house.join()
    await joined.opened()
    house.revoked.revoke(house.core.serial)
    started = asyncio.get_running_loop().time()
    await joined.lost()
    assert asyncio.get_running_loop().time() - started < 1.0


async def test_an_answer_is_given_once_and_an_oversized_one_becomes_a_failure(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    for number in (1, 2):
        joined.core.call(number, hold, house.answers.append)
    await settle()
    one, two = house.inbound
    open_before = one.is_open
    one.reply(b"x" * (MAX_PAYLOAD_BYTES + 1))
    one.reply(b"again")
    one.fail("internal", "again")
    assert (open_before, one.is_open) == (True, False)
    two.fail("plugin_exited", "it stopped")
    await settle()
    assert [code(answer) for answer in house.answers] == ["result_too_large", "plugin_exited"]


@pytest.mark.threat("T-FLOOD")
async def test_large_answers_are_not_piled_up_for_a_core_that_does_not_read_and_small_ones_leave(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    for number in (1, 2, 3, 4):
        joined.core.call(number, hold, house.answers.append)
    await settle()
    one, two, three, four = house.inbound
    one.reply(b"x" * 100_000)
    await settle()
    joined.far.queued = MAX_UNREAD_BYTES + 1
    two.reply(b"x" * 100_000)
    three.reply(b"{}")
    await settle()
    joined.far.queued = 0  # it has read
    four.reply(b"x" * 100_000)
    await settle()
    assert [code(answer) for answer in house.answers] == ["answered", "busy", "answered", "answered"]
    assert isinstance(house.answers[1], SekishoError)
    assert "carried the call out" in house.answers[1].message
    assert not two.is_open


async def test_reading_pauses_while_the_core_does_not_read(house: House) -> None:
    joined = house.join()
    await joined.opened()
    joined.plugin.pause_writing()
    assert not joined.far.reading
    joined.plugin.resume_writing()
    assert joined.far.reading


@pytest.mark.threat("T-FLOOD")
async def test_notes_wait_while_the_core_does_not_read_and_answers_do_not(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    notes: list[bytes] = []
    for number in (1, 2):
        joined.core.call(number, hold, house.answers.append, notes.append)
    await settle()
    one, two = house.inbound
    joined.plugin.pause_writing()
    one.note(b"one")
    two.note(b"two")
    one.reply(b"{}")
    await settle()
    assert (notes, house.answers) == ([], [b"{}"])
    joined.plugin.resume_writing()
    two.note(b"three")
    await settle()
    assert notes == [b"two", b"three"]
    assert joined.plugin.dropped_notes == 1


@pytest.mark.threat("T-FLOOD")
async def test_a_note_that_is_none_is_dropped_and_counted(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    notes: list[bytes] = []
    joined.core.call(1, hold, house.answers.append, notes.append)
    await settle()
    house.inbound[0].note(b"x" * (MAX_NOTE_BYTES + 1))
    house.inbound[0].note(b"x" * MAX_NOTE_BYTES)
    await settle()
    assert [len(note) for note in notes] == [MAX_NOTE_BYTES]
    assert joined.plugin.dropped_notes == 1


@pytest.mark.threat("T-FLOOD")
async def test_notes_that_came_together_are_told_apart(house: House, hold: CallFrame, settle: Settle) -> None:
    joined = house.join()
    await joined.opened()
    notes: list[bytes] = []
    joined.core.call(1, hold, house.answers.append, lambda said: notes.extend(said.split(b"\n")))
    await settle()
    [inbound] = house.inbound
    inbound.note(b"1\n2")
    await settle()
    assert notes == [b"1", b"2"]
    inbound.note(b"\n".join([b"x" * MAX_NOTE_BYTES, b"3", b"x" * (MAX_NOTE_BYTES + 1), b"4"]))
    await settle()
    assert notes[3:] == [b"3", b"4"]
    assert joined.plugin.dropped_notes == 1
    joined.plugin.pause_writing()
    inbound.note(b"5\n6")
    await settle()
    assert len(notes) == 5
    joined.plugin.resume_writing()
    await settle()
    assert notes[5:] == [b"5", b"6"]


@pytest.mark.threat("T-MITM")
async def test_a_core_revoked_while_its_calls_are_being_read_runs_no_further_one(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    def revoke_at_the_second(inbound: Inbound) -> None:
        house.inbound.append(inbound)
        if len(house.inbound) == 2:
            house.revoked.revoke(house.core.serial)

    joined = house.join(plugin_terms=dataclasses.replace(house.plugin_terms(), on_call=revoke_at_the_second))
    await joined.opened()
    for number in range(5):
        joined.core.call(number, echo, house.answers.append)
    await joined.lost()
    assert [inbound.call for inbound in house.inbound] == [0, 1]
    assert len(house.cancelled) == 2


async def test_a_channel_that_was_cut_while_it_was_read_runs_no_further_call(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    def cut_at_once(inbound: Inbound) -> None:
        house.inbound.append(inbound)
        joined.plugin.cut()

    joined = house.join(plugin_terms=dataclasses.replace(house.plugin_terms(), on_call=cut_at_once))
    await joined.opened()
    for number in range(3):
        joined.core.call(number, echo, house.answers.append)
    await settle()
    assert [inbound.call for inbound in house.inbound] == [0]


@pytest.mark.threat("T-PARSER")
async def test_another_form_of_opening_is_answered_with_a_refusal(house: House, settle: Settle) -> None:
    joined = house.join()
    joined.near.tamper = lambda data: data.replace(b"GET", b"PUT")
    joined.near.writes.clear()
    joined.far.arrive(b"PUT / HTTP/1.1\r\n\r\n")
    await settle()
    assert joined.far.writes[0].startswith(b"HTTP/1.1 400 ")
    assert [error.code for error in house.refused] == ["http_malformed"]


async def test_two_offers_at_once_are_refused(house: House, settle: Settle) -> None:
    joined = house.join()
    joined.near.tamper = lambda data: b"\0\0\0\x01a\0\0\0\x01b"  # the opening request is already on its way
    await settle()
    assert [error.code for error in house.refused] == ["plugin_protocol"]


steps = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 3) | st.just("event"))
    | st.sampled_from(["turn", "slow", "quick"]),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(steps)
def test_what_is_said_in_a_call_arrives_once_in_its_order_and_before_its_answer(
    house: House, hold: CallFrame, settle: Settle, said: list[tuple[int, int | str] | str]
) -> None:
    """Whatever shares a frame, a record or a write, and whatever was held while the core read slowly."""

    async def main() -> None:
        house.inbound.clear()
        joined = house.join()
        await joined.opened()
        heard: list[list[bytes | memoryview | SekishoError]] = [[], []]
        told: list[list[bytes | memoryview | SekishoError]] = [[], []]

        def listen(number: int) -> None:
            mine = heard[number]

            def hear(frame: EventFrame | AskFrame) -> None:
                mine.append(bytes(frame.params))

            joined.core.call(number, hold, mine.append, lambda notes: mine.extend(notes.split(b"\n")), hear)

        for number in (0, 1):
            listen(number)
        await settle()
        for step in said:
            match step:
                case "turn":
                    await settle()
                case "slow":
                    joined.plugin.pause_writing()
                case "quick":
                    joined.plugin.resume_writing()
                case int(call), what:
                    done = len(told[0]) + len(told[1])
                    texts: list[bytes | memoryview | SekishoError] = [
                        b"%d" % (done + more) for more in range(what if isinstance(what, int) else 1)
                    ]
                    told[call] += texts
                    if what == "event":
                        house.inbound[call].event(
                            EventFrame("notifications/message", msgspec.Raw(b"%d" % done))
                        )
                    else:
                        house.inbound[call].note(
                            b"\n".join([text for text in texts if isinstance(text, bytes)])
                        )
        joined.plugin.resume_writing()
        for call, inbound in enumerate(house.inbound):
            inbound.reply(b"{}")
            told[call].append(b"{}")
        await settle()
        assert heard == told
        assert (joined.plugin.dropped_notes, joined.core.unwanted_notes) == (0, 0)
        joined.core.cut(Unavailable("plugin_unavailable", "the test is over"))
        await settle()

    asyncio.run(main())

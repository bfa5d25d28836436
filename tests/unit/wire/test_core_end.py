from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.framing import another

from sekisho.errors import PluginError, SekishoError, Tampered, Unavailable
from sekisho.wire import AnswerFrame, AskFrame, CallFrame, DenialFrame, EventFrame, StateFrame
from sekisho.wire.frames import MAX_PAYLOAD_BYTES, Kind
from sekisho.wire.messages import encode_payload
from sekisho.wire.notes import MAX_NOTE_BYTES

if TYPE_CHECKING:
    from tests.unit.wire.conftest import House

Settle = Callable[[], Awaitable[None]]


def code(answer: bytes | memoryview | SekishoError) -> str:
    return answer.code if isinstance(answer, SekishoError) else "answered"


async def test_a_call_is_answered_once(house: House, echo: CallFrame, settle: Settle) -> None:
    joined = house.join()
    assert await joined.opened() is None
    joined.core.call(1, echo, house.answers.append)
    assert joined.core.in_flight == 1
    await settle()
    assert house.answers == [b'{"n":1}']
    assert joined.core.in_flight == 0
    joined.core.cut(Unavailable("plugin_unavailable", "test"))
    assert len(house.answers) == 1


async def test_calls_of_one_turn_share_one_write(house: House, echo: CallFrame, settle: Settle) -> None:
    joined = house.join()
    await joined.opened()
    before = len(joined.near.writes), len(joined.far.writes)
    for number in range(50):
        joined.core.call(number, echo, house.answers.append)
    await settle()
    assert len(house.answers) == 50
    assert (len(joined.near.writes), len(joined.far.writes)) == (before[0] + 1, before[1] + 1)


async def test_an_expected_call_leaves_in_the_turn_in_which_it_is_made(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined, loop, writes = house.join(), asyncio.get_running_loop(), list[int]()
    joined.core.expect()  # nothing is open yet: it is only late then
    await joined.opened()
    before = len(joined.near.writes)
    loop.call_soon(joined.core.call, 1, echo, house.answers.append)
    joined.core.expect()
    loop.call_soon(lambda: writes.append(len(joined.near.writes)))
    await settle()
    assert writes == [before + 1]
    assert house.answers == [b'{"n":1}']


async def test_losing_the_channel_answers_every_open_call(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    for number in range(3):
        joined.core.call(number, hold, house.answers.append)
    await settle()
    joined.far.abort()
    assert (await joined.lost()).code == "plugin_unavailable"
    assert [code(answer) for answer in house.answers] == ["plugin_unavailable"] * 3
    assert len(house.cancelled) == 3
    joined.core.call(9, hold, house.answers.append)
    assert len(house.answers) == 3
    await settle()
    assert code(house.answers[3]) == "plugin_unavailable"


async def test_a_cancelled_call_is_withdrawn_at_the_other_end(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    await settle()
    assert joined.core.cancel(1)
    assert not joined.core.cancel(1)
    await settle()
    assert [code(answer) for answer in house.answers] == ["cancelled"]
    assert [inbound.call for inbound in house.cancelled] == [1]


async def test_a_late_answer_is_dropped_and_counted(house: House, hold: CallFrame, settle: Settle) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    await settle()
    joined.plugin.answer(1, Kind.RESULT, b"1")
    joined.plugin.answer(1, Kind.RESULT, b"2")
    await settle()
    assert house.answers == [b"1"]
    assert joined.core.unknown_answers == 1


async def test_notes_of_a_call_come_in_order_and_before_its_answer(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    heard: list[bytes | memoryview | SekishoError] = []
    joined.core.call(1, another(hold, wants_progress=True), heard.append, heard.append)
    await settle()
    [inbound] = house.inbound
    assert inbound.frame.wants_progress
    for number in range(3):
        inbound.note(b'{"progress":%d}' % number)
    inbound.reply(b"{}")
    inbound.note(b"late")
    await settle()
    assert heard == [b'{"progress":0}', b'{"progress":1}', b'{"progress":2}', b"{}"]


async def test_notes_nobody_wants_are_dropped_and_counted(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    await settle()
    house.inbound[0].note(b"{}")
    joined.plugin.answer(77, Kind.NOTE, b"{}")
    await settle()
    assert joined.core.unwanted_notes == 2
    assert house.answers == []


async def test_whoever_hears_a_note_may_withdraw_the_call_and_hears_no_more(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    heard: list[bytes] = []

    def note(params: bytes) -> None:
        heard.append(params)
        joined.core.cancel(1)

    joined.core.call(1, hold, house.answers.append, note)
    await settle()
    for one in (b"1", b"2", b"3"):
        house.inbound[0].note(one)
    await settle()
    assert (heard, joined.core.unwanted_notes) == ([b"1"], 2)


@pytest.mark.threat("T-FLOOD")
async def test_a_frame_of_notes_beyond_the_bound_is_dropped(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    heard: list[bytes] = []
    joined.core.call(1, hold, house.answers.append, heard.append)
    await settle()
    pipe = joined.plugin._pipe
    assert pipe is not None
    for size in (MAX_NOTE_BYTES, MAX_NOTE_BYTES + 1):
        pipe.send(Kind.NOTE, 1, b"x" * size)
    await settle()
    assert ([len(note) for note in heard], joined.core.unwanted_notes) == ([MAX_NOTE_BYTES], 1)


async def test_whoever_is_answered_may_cut_the_channel_and_nothing_more_is_read(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, lambda _: joined.core.cut(Unavailable("plugin_unavailable", "enough")))
    joined.core.call(2, hold, house.answers.append)
    await settle()
    for inbound in house.inbound:
        inbound.reply(b"{}")
    joined.plugin.send(Kind.STATE, encode_payload(StateFrame(state="ready")))
    await settle()
    assert [code(answer) for answer in house.answers] == ["plugin_unavailable"]
    assert house.states == []


@pytest.mark.threat("T-MITM")
async def test_a_revoked_plugin_server_gets_no_further_call(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, echo, house.answers.append)
    await settle()
    house.revoked.revoke(1)  # somebody else
    joined.core.call(2, echo, house.answers.append)
    await settle()
    house.revoked.revoke(house.plugin.serial)
    joined.core.call(3, echo, house.answers.append)
    await settle()
    assert [code(answer) for answer in house.answers] == ["answered", "answered", "plugin_unavailable"]
    assert [inbound.call for inbound in house.inbound] == [1, 2]


@pytest.mark.threat("T-MITM")
async def test_a_plugin_server_whose_certificate_ended_gets_no_further_call(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    house.now = house.plugin.not_after - 1
    joined.core.call(1, echo, house.answers.append)
    await settle()
    house.now += 1
    joined.core.call(2, echo, house.answers.append)
    await settle()
    assert [code(answer) for answer in house.answers] == ["answered", "plugin_unavailable"]
    assert (await joined.lost()).code == "peer_untrusted"


@pytest.mark.parametrize("piece", [1, 2, 3, 17, 100])
async def test_the_pieces_in_which_a_channel_arrives_change_nothing(
    house: House, echo: CallFrame, settle: Settle, piece: int
) -> None:
    joined = house.join()
    for end in (joined.near, joined.far):
        end.piece = piece
    assert await joined.opened() is None
    sizes = (1, 1000, 20_000, 3)
    for number, size in enumerate(sizes):
        arguments = b'"' + b"x" * size + b'"'
        joined.core.call(number, another(echo, arguments=arguments), house.answers.append)
    await settle()
    assert [len(answer) for answer in house.answers if isinstance(answer, bytes)] == [
        size + 2 for size in sizes
    ]


@pytest.mark.requirement("A4.3")
@pytest.mark.threat("T-REPLAY")
@pytest.mark.parametrize("trick", ["replay", "flip"])
async def test_a_touched_record_ends_the_channel(
    house: House, hold: CallFrame, settle: Settle, trick: str
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    await settle()
    joined.far.tamper = (lambda data: data * 2) if trick == "replay" else (lambda data: data[:-1] + b"\0")
    joined.plugin.send(Kind.STATE, encode_payload(StateFrame(state="ready")))
    error = await joined.lost()
    assert isinstance(error, Tampered)
    assert error.code == "seal_broken"
    assert [code(answer) for answer in house.answers] == ["plugin_unavailable"]


async def test_the_token_is_renewed_before_the_first_call_that_needs_it(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    for step in (0, 41, 41, 600):
        house.now += step
        joined.core.call(step, echo, house.answers.append)
        await settle()
    assert house.answers == [b'{"n":1}'] * 4
    assert len(house.replay) == 4


@pytest.mark.threat("T-MITM")
async def test_a_revoked_or_expired_plugin_server_gets_no_more_calls(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    house.revoked.revoke(house.plugin.serial)
    joined.core.call(1, echo, house.answers.append)
    assert (await joined.lost()).code == "peer_untrusted"
    await settle()
    assert house.inbound == []
    assert [code(answer) for answer in house.answers] == ["plugin_unavailable"]


async def test_a_draining_channel_finishes_what_it_carries(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    await settle()
    joined.core.drain()
    await settle()
    assert not joined.core.lost.done()
    house.inbound[0].reply(b"1")
    await joined.lost()
    assert house.answers == [b"1"]


async def test_a_channel_that_is_replaced_does_not_wait_for_those_who_only_listen(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, another(hold, timeout_s=86_400.0), house.answers.append)
    joined.core.call(2, hold, house.answers.append)
    await settle()
    joined.core.drain()
    await settle()
    assert [code(answer) for answer in house.answers] == ["plugin_unavailable"]
    assert [inbound.call for inbound in house.cancelled] == [1]
    house.inbound[1].reply(b"2")
    await joined.lost()
    assert house.answers[1:] == [b"2"]


async def test_a_full_pipe_or_an_oversized_call_is_answered_with_an_error(
    house: House, echo: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.near.queued = 1 << 40
    joined.core.call(1, echo, house.answers.append)
    joined.near.queued = 0
    joined.core.call(4, another(echo, tool="x" * 70_000), house.answers.append)
    huge = b'"' + b"x" * MAX_PAYLOAD_BYTES + b'"'
    joined.core.call(2, another(echo, arguments=huge), house.answers.append)
    joined.core.call(3, echo, house.answers.append)
    await settle()
    assert [code(answer) for answer in house.answers] == [
        "busy",
        "internal",
        "result_too_large",
        "answered",
    ]


async def test_a_plugin_server_without_the_pinned_hpke_key_is_not_believed(house: House) -> None:
    terms = house.core_terms()
    wrong = house.folder.public_identity(house.core.spiffe).hpke_public
    joined = house.join(core_terms=dataclasses.replace(terms, peer_hpke_public=wrong))
    error = await joined.opened()
    assert error is not None
    assert house.refused[0].code == "seal_broken"


async def test_a_hang_up_before_any_answer_names_the_likely_refusal(house: House) -> None:
    joined = house.join()
    joined.near.abort()
    error = await joined.opened()
    assert error is not None
    assert error.code == "peer_untrusted"


async def test_a_call_without_an_answer_ends_in_a_timeout(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    overdue = another(hold, timeout_s=-100.0)
    answered = asyncio.get_running_loop().create_future()
    joined.core.call(1, overdue, answered.set_result)
    assert code(await asyncio.wait_for(answered, 5)) == "plugin_timeout"
    await settle()
    assert [inbound.call for inbound in house.cancelled] == [1]


async def test_a_question_and_its_answer_cross_the_channel_in_the_midst_of_a_call(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    heard: list[EventFrame | AskFrame] = []
    joined.core.call(1, hold, house.answers.append, None, heard.append)
    await settle()
    inbound = house.inbound[0]
    inbound.event(EventFrame("notifications/message", msgspec.Raw(b'{"level":"info","data":1}')))
    inbound.ask(AskFrame("q", "elicitation/create", msgspec.Raw(b'{"message":"?"}')))
    await settle()
    assert [frame.method for frame in heard] == ["notifications/message", "elicitation/create"]
    joined.core.answer(AnswerFrame("s", "q", result=msgspec.Raw(b'{"action":"accept"}')))
    await settle()
    (answer,) = house.client_answers
    assert (answer.scope, answer.ask, bytes(answer.result), bytes(answer.error)) == (
        "s",
        "q",
        b'{"action":"accept"}',
        b"",
    )
    inbound.refer(b'{"code":-32602,"message":"no"}')
    inbound.ask(AskFrame("late", "elicitation/create"))
    await settle()
    (error,) = house.answers
    assert isinstance(error, PluginError)
    assert error.body == b'{"code":-32602,"message":"no"}'
    assert b"no" not in str(error).encode()
    assert len(heard) == 2


async def test_a_question_of_a_call_that_nobody_hears_is_dropped_and_counted(
    house: House, hold: CallFrame, settle: Settle
) -> None:
    joined = house.join()
    await joined.opened()
    joined.core.call(1, hold, house.answers.append)
    await settle()
    house.inbound[0].ask(AskFrame("q", "elicitation/create"))
    await settle()
    assert joined.core.unwanted_notes == 1
    assert joined.core.in_flight == 1


async def test_a_denial_reaches_the_core_and_its_record_is_told_to_the_plugin_server(
    house: House, settle: Settle
) -> None:
    joined = house.join()
    assert await joined.opened() is None
    denial = DenialFrame("memory", "max_memory_mb = 64", "too much")
    joined.plugin.send(Kind.DENIAL, encode_payload(denial), 7)
    await settle()
    heard, recorded = house.denials[0]
    assert heard == denial
    assert house.recorded == []
    recorded()
    await settle()
    assert house.recorded == [7]
    joined.core.cut(Unavailable("plugin_unavailable", "the end of the test"))
    recorded()  # the channel is gone: nothing happens, and nothing fails

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused
from sekisho.gateway import resuming
from sekisho.gateway.events import LAST_CHUNK, event, last_event, progress_events
from sekisho.gateway.guest import CLIENT_GONE
from sekisho.gateway.resuming import (
    MAX_AWAY_OF_CLIENT,
    MAX_ENDED,
    MAX_STREAM_BYTES,
    RESUME_S,
    ResumableStream,
    ResumableStreams,
)

READS = {"accept": "application/json, text/event-stream"}
OPEN = {"accept": "text/event-stream"}
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"
ID = re.compile(rb"id: (\S+)\n")


class Owner:
    def __init__(self) -> None:
        self.stream: ResumableStream | None = None
        self.reasons: list[Any] = []

    def withdraw(self, reason: Any) -> None:
        assert self.stream is not None
        if not self.stream.holds(reason):
            self.reasons.append(reason)


class Desk:
    """Streams, and the time."""

    def __init__(self, kit: Any) -> None:
        self.kit = kit
        self.at = 0.0
        self.ended: set[str] = set()
        self.streams = ResumableStreams(lambda: self.at, self.ended.__contains__)

    def start(self, ear: Any, *, is_call: bool = True, client: str = "aya") -> tuple[ResumableStream, Owner]:
        owner = Owner()
        stream = self.streams.start(ear, client, "s1", owner, is_call=is_call)
        owner.stream = stream
        assert stream.open(HEAD, b"")
        return stream, owner

    def back(self, ear: Any, last: str, *, session: str = "s1") -> None:
        found = self.streams.find(last, "aya", session)
        assert found is not None
        found[0].resume(ear, HEAD, found[1])


@pytest.fixture
def desk(kit: Any) -> Desk:
    return Desk(kit)


def said(ear: Any) -> bytes:
    return b"".join([*ear.pieces, *ear.heard])


def ids(ear: Any) -> list[str]:
    return [found.decode() for found in ID.findall(said(ear))]


def data_of(ear: Any) -> list[bytes]:
    return [one for one in re.findall(rb"\ndata: (.*)\n", said(ear)) if one]


def test_a_stream_begins_with_a_place_to_come_back_to_and_every_event_is_one(desk: Desk) -> None:
    ear = desk.kit.ear()
    stream, _ = desk.start(ear)
    assert stream.begin(event(b"1"))
    stream.answer_in_parts([last_event(b"2")])
    assert b"retry: 500\ndata: \n\n" in ear.pieces[0]
    assert [one.rsplit(".", 1)[1] for one in ids(ear)] == ["0", "1", "2"]
    assert ear.heard[0].endswith(LAST_CHUNK)


def test_the_client_gets_what_came_after_its_last_event_and_the_stream_goes_on(desk: Desk) -> None:
    ear, second = desk.kit.ear(), desk.kit.ear()
    stream, owner = desk.start(ear)
    stream.begin(event(b"1"))
    stream.begin(event(b"2"))
    owner.withdraw(CLIENT_GONE)
    stream.begin(event(b"3"))
    desk.back(second, ids(ear)[1])
    stream.begin(event(b"4"))
    stream.answer(last_event(b"5"))
    assert data_of(second) == [b"2", b"3", b"4", b"5"]
    assert owner.reasons == []


def test_an_answer_that_came_meanwhile_waits(desk: Desk) -> None:
    ear, second = desk.kit.ear(), desk.kit.ear()
    stream, owner = desk.start(ear)
    owner.withdraw(CLIENT_GONE)
    stream.answer(last_event(b"1"))
    desk.back(second, ids(ear)[0])
    assert data_of(second) == [b"1"]
    assert second.heard == [LAST_CHUNK]


def test_an_answer_that_may_not_have_arrived_is_kept_for_a_while(desk: Desk) -> None:
    ear, second = desk.kit.ear(), desk.kit.ear()
    stream, _ = desk.start(ear)
    stream.answer(last_event(b"1"))
    desk.back(second, ids(ear)[0])
    assert data_of(second) == [b"1"]
    desk.at = RESUME_S
    desk.streams.expire(desk.at)
    with pytest.raises(Refused, match="cannot be resumed"):
        desk.streams.find(ids(ear)[0], "aya", "s1")
    assert desk.streams.kept_bytes == 0


def test_nobody_comes_back_to_a_session_that_was_ended(desk: Desk) -> None:
    _, before = desk.start(desk.kit.ear())
    _, after = desk.start(desk.kit.ear())
    before.withdraw(CLIENT_GONE)
    desk.ended.add("s1")
    desk.streams.end("s1")
    after.withdraw(CLIENT_GONE)
    assert [len(owner.reasons) for owner in (before, after)] == [1, 1]


def test_a_client_that_is_quicker_than_its_lost_connection_takes_over(desk: Desk) -> None:
    ear, second = desk.kit.ear(), desk.kit.ear()
    stream, owner = desk.start(ear)
    desk.back(second, ids(ear)[0])
    assert ear.heard == [LAST_CHUNK]
    stream.withdraw(CLIENT_GONE)
    stream.answer(last_event(b"1"))
    assert owner.reasons == []


def test_who_does_not_come_back_in_time_has_withdrawn(desk: Desk) -> None:
    stream, owner = desk.start(desk.kit.ear())
    owner.withdraw(CLIENT_GONE)
    desk.streams.expire(RESUME_S - 1)
    assert owner.reasons == []
    desk.streams.expire(RESUME_S)
    assert [reason.code for reason in owner.reasons] == ["cancelled"]
    stream.answer(last_event(b"1"))
    assert desk.streams.kept_bytes == 0


def test_any_other_reason_withdraws_at_once(desk: Desk) -> None:
    _, owner = desk.start(desk.kit.ear())
    owner.withdraw(Refused("cancelled", "the caller withdrew the request"))
    assert len(owner.reasons) == 1


@pytest.mark.threat("T-CROSS")
def test_a_stream_is_resumed_in_its_own_session_only(desk: Desk) -> None:
    ear = desk.kit.ear()
    desk.start(ear)
    for client, session in (("ben", "s1"), ("aya", "s2")):
        with pytest.raises(Refused, match="cannot be resumed"):
            desk.streams.find(ids(ear)[0], client, session)
    assert desk.streams.find(ids(ear)[0], "aya", "s1") is not None


def test_news_that_nobody_here_knows_begin_anew_and_calls_are_refused(desk: Desk) -> None:
    assert desk.streams.find("n" + "x" * 22 + ".3", "aya", "s1") is None
    for odd in ("c" + "x" * 22 + ".3", "", "7", "n.1"):
        with pytest.raises(Refused) as caught:
            desk.streams.find(odd, "aya", "s1")
        assert caught.value.code == "stream_unknown"


@pytest.mark.threat("T-FLOOD")
def test_what_is_kept_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ear = desk.kit.ear()
    stream, _ = desk.start(ear)
    for _ in range(40):
        stream.begin(event(b"x" * (64 << 10)))
    assert desk.streams.kept_bytes <= MAX_STREAM_BYTES
    stream.begin(event(b"y" * MAX_STREAM_BYTES))
    second = desk.kit.ear()
    desk.back(second, ids(ear)[0])
    assert 0 < len(data_of(second)) < 40
    monkeypatch.setattr(resuming, "MAX_ALL_BYTES", 0)
    stream.begin(event(b"z"))
    assert desk.streams.kept_bytes == 0


@pytest.mark.threat("T-FLOOD")
def test_broken_and_complete_streams_are_bounded_in_number(desk: Desk) -> None:
    owners = [desk.start(desk.kit.ear())[1] for _ in range(MAX_AWAY_OF_CLIENT + 1)]
    for owner in owners:
        owner.withdraw(CLIENT_GONE)
    assert [len(owner.reasons) for owner in owners] == [0] * MAX_AWAY_OF_CLIENT + [1]
    _, other = desk.start(desk.kit.ear(), client="ben")
    other.withdraw(CLIENT_GONE)
    assert other.reasons == []
    ears = [desk.kit.ear() for _ in range(MAX_ENDED + 1)]
    for ear in ears:
        desk.start(ear)[0].answer(last_event(b"1"))
    with pytest.raises(Refused):
        desk.streams.find(ids(ears[0])[0], "aya", "s1")
    assert desk.streams.find(ids(ears[1])[0], "aya", "s1") is not None


def test_news_that_a_lagging_client_did_not_get_are_not_kept_either(desk: Desk) -> None:
    ear = desk.kit.ear()
    stream, _ = desk.start(ear)
    ear.keeps_up = False
    assert not stream.begin(event(b"1"))
    ear.keeps_up = True
    stream.begin(event(b"2"))
    assert [one.rsplit(".", 1)[1] for one in ids(ear)] == ["0", "1"]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=5))
def test_events_that_leave_together_share_one_place(new_kit: Any, numbers: list[int]) -> None:
    kit = new_kit()
    desk, ear = Desk(kit), kit.ear()
    stream, _ = desk.start(ear)
    progress = b"\n".join([b'{"progress":%d}' % number for number in numbers])
    chunk = progress_events(b"7", progress)
    assert stream.begin(chunk)
    assert len(ids(ear)) == 2
    written = ear.pieces[1]
    size, _, payload = written.partition(b"\r\n")
    assert int(size, 16) == len(payload) - 2
    assert ID.sub(b"", payload) == chunk.partition(b"\r\n")[2]
    last = payload[:-2].rsplit(b"\n\n", 2)[-2]
    assert b"id: " in last
    assert [json.loads(one)["params"]["progress"] for one in data_of(ear)] == numbers


# in the house


def legacy(kit: Any, version: str = "2025-11-25") -> str:
    return str(kit.say("initialize", {"protocolVersion": version}).headers["mcp-session-id"])


def call(kit: Any, session: str) -> tuple[Any, Any]:
    """A call that has said something already: its trip and its connection."""
    params = {"name": "calc__add", "arguments": {"a": 1}, "_meta": {"progressToken": "t"}}
    ear = kit.ear()
    trip = kit.door.answer(
        kit.request(kit.message("tools/call", params, 5), session=session, headers=READS), ear
    )
    kit.log.settle()
    kit.line.notes[len(kit.line.frames)](b'{"progress":1}')
    kit.log.settle()
    return trip, ear


def come_back(kit: Any, session: str, last: str) -> Any:
    ear = kit.ear()
    headers = OPEN | {"last-event-id": last}
    kit.door.answer(kit.request(method="GET", session=session, headers=headers), ear)
    kit.log.settle()
    return ear


def test_a_call_outlives_its_stream_and_is_answered_where_its_client_comes_back(kit: Any) -> None:
    session = legacy(kit)
    trip, ear = call(kit, session)
    trip.withdraw(CLIENT_GONE)
    kit.log.settle()
    assert kit.line.cancelled == []
    second = come_back(kit, session, ids(ear)[-1])
    kit.line.reply()
    kit.log.settle()
    [answer] = [json.loads(one) for one in data_of(second)]
    assert answer["id"] == 5
    assert answer["result"]["structuredContent"] == {"sum": 3}


def test_a_call_that_nobody_comes_back_for_is_withdrawn_at_the_plugin(kit: Any) -> None:
    trip, _ = call(kit, legacy(kit))
    trip.withdraw(CLIENT_GONE)
    kit.door.look(kit.now + RESUME_S)
    kit.log.settle()
    assert kit.line.cancelled == [1]


def test_the_end_of_a_session_withdraws_what_waits_for_its_client(kit: Any) -> None:
    session = legacy(kit)
    trip, _ = call(kit, session)
    trip.withdraw(CLIENT_GONE)
    kit.ask(kit.request(method="DELETE", session=session))
    kit.log.settle()
    assert kit.line.cancelled == [1]


def test_a_call_that_its_client_withdrew_ends_though_its_stream_broke(kit: Any) -> None:
    session = legacy(kit)
    trip, _ = call(kit, session)
    trip.withdraw(CLIENT_GONE)
    notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    kit.ask(kit.request(notice, session=session))
    kit.log.settle()
    assert kit.line.cancelled == [1]


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
def test_older_sessions_have_streams_as_before(kit: Any, version: str) -> None:
    trip, ear = call(kit, legacy(kit, version))
    assert ids(ear) == []
    trip.withdraw(CLIENT_GONE)
    kit.log.settle()
    assert kit.line.cancelled == [1]


def test_a_call_that_never_became_a_stream_is_withdrawn_at_once(kit: Any) -> None:
    params = {"name": "calc__add", "arguments": {"a": 1}}
    request = kit.request(kit.message("tools/call", params, 5), session=legacy(kit), headers=READS)
    trip = kit.door.answer(request, kit.ear())
    kit.log.settle()
    trip.withdraw(CLIENT_GONE)
    kit.log.settle()
    assert kit.line.cancelled == [1]


def test_news_are_not_lost_between_two_streams(kit: Any) -> None:
    session = legacy(kit)
    ear = kit.ear()
    trip = kit.door.answer(kit.request(method="GET", session=session, headers=OPEN), ear)
    trip.withdraw(CLIENT_GONE)
    kit.change(standings={kit.calc: kit.standing(kit.definitions(kit.calc, kit.erase))})
    kit.door.house_changed()
    second = come_back(kit, session, ids(ear)[0])
    assert [json.loads(one)["method"] for one in data_of(second)] == ["notifications/tools/list_changed"]


def test_an_unknown_stream_of_news_begins_anew(kit: Any) -> None:
    ear = come_back(kit, legacy(kit), "n" + "x" * 22 + ".3")
    assert len(ids(ear)) == 1


def test_the_rest_of_a_call_that_nobody_knows_is_refused_and_the_session_stays(kit: Any) -> None:
    session = legacy(kit)
    ear = come_back(kit, session, "c" + "x" * 22 + ".3")
    reply = kit.reply.read(ear.heard[0])
    assert (reply.status, reply.code) == (400, "stream_unknown")
    assert kit.say("ping", session=session).status == 200

"""One answer for each request, in the form that the client's era, its connection and what was said before ask for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import (
    LocalProtocolError,
    PluginError,
    RateLimited,
    Refused,
    RemoteProtocolError,
    SekishoError,
)
from sekisho.gateway.remarks import Question
from sekisho.gateway.visit import WORTH_PARTING, Streams, Visit
from sekisho.keys import Challenges
from sekisho.protocol import META_CALL

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Ear, Kit, Reply

NOW: Final = 1_800_000_000.0
RESULT: Final = b'{"content":[]}'
MARK: Final = {"_meta": {META_CALL: "call1"}}  # by which every result of a call names it
PROGRESS: Final = b'{"progress":1,"message":"half"}'


def visit_of(ear: Ear, **fields: Any) -> Visit:
    streams = Streams()
    streams.most = 1
    visit = Visit("call1", NOW, ear, streams, keep_alive=True, challenges=Challenges())
    given: dict[str, Any] = {"client": "aya", "request_id": 7, "takes_streams": True}
    for name, value in (given | fields).items():
        setattr(visit, name, value)
    return visit


def heard(kit: Kit, answer: Callable[[Visit], None], **fields: Any) -> Reply:
    """The one response that a visit writes."""
    ear = kit.ear()
    answer(visit_of(ear, **fields))
    assert len(ear.heard) == 1
    return kit.reply.read(ear.heard[0])


def events(stream: bytes) -> list[dict[str, Any]]:
    """The messages of an event stream, as h11 takes its chunks apart."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "gate")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(stream)
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    assert dict(head.headers)[b"content-type"] == b"text/event-stream"
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
    texts = body.decode().split("\n\n")
    assert texts.pop() == ""
    return [json.loads(text.removeprefix("event: message\ndata: ")) for text in texts]


@pytest.mark.parametrize("modern", [True, False])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_a_result_is_the_same_json_whether_or_not_the_connection_stays(
    kit: Kit, modern: bool, keep_alive: bool
) -> None:
    reply = heard(
        kit, lambda visit: visit.give_call(RESULT, has_meta=False), modern=modern, keep_alive=keep_alive
    )
    assert reply.status == 200
    assert reply.body == {
        "jsonrpc": "2.0",
        "id": 7,
        "result": {"content": []} | MARK | ({"resultType": "complete"} if modern else {}),
    }
    assert reply.headers.get("connection") == (None if keep_alive else "close")


@pytest.mark.parametrize("modern", [True, False])
def test_a_large_result_is_the_same_in_parts(kit: Kit, modern: bool) -> None:
    text = "x" * WORTH_PARTING
    result = json.dumps({"content": [{"type": "text", "text": text}]}).encode()
    reply = heard(kit, lambda visit: visit.give_call(result, has_meta=False), modern=modern, keep_alive=True)
    assert reply.status == 200
    assert reply.body["result"] == json.loads(result) | MARK | ({"resultType": "complete"} if modern else {})
    assert reply.headers["content-type"] == "application/json"
    assert heard(kit, lambda visit: visit.give(result), modern=modern).body["result"] == json.loads(result)


@pytest.mark.parametrize(
    ("answer", "status"), [(Visit.accept, 202), (Visit.end_session, 204)], ids=["accept", "end_session"]
)
def test_what_needs_no_answer_gets_an_empty_one(
    kit: Kit, answer: Callable[[Visit], None], status: int
) -> None:
    reply = heard(kit, answer, keep_alive=False)
    assert (reply.status, reply.body, reply.headers["connection"]) == (status, None, "close")


def test_a_new_session_is_told_its_ticket(kit: Kit) -> None:
    reply = heard(kit, lambda visit: visit.open_session("ticket", b'{"protocolVersion":"2025-11-25"}'))
    assert reply.headers["mcp-session-id"] == "ticket"
    assert reply.body["result"] == {"protocolVersion": "2025-11-25"}


batches = st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=6)


@given(st.one_of(st.integers(), st.text(max_size=20)), batches)
def test_news_come_in_order_under_the_clients_token_and_the_result_ends_the_stream(
    new_kit: Callable[[], Kit], token: int | str, given_news: list[tuple[bool, int]]
) -> None:
    """News for a client that lags behind are dropped, also the first; the answer is whole whatever was dropped."""
    ear = new_kit().ear()
    visit = visit_of(ear, progress_token=token)
    told: list[tuple[int | str, int]] = []
    for number, (keeps_up, count) in enumerate(given_news):
        ear.keeps_up = keeps_up
        visit.note(b"\n".join([b'{"progress":%d}' % number] * count))
        told += [(token, number)] * count if keeps_up else []
    visit.give_call(RESULT, has_meta=False)
    assert len(ear.heard) == 1
    assert visit.is_streaming == bool(told)
    if not told:
        assert new_kit().reply.read(ear.heard[0]).body["result"] == {"content": []} | MARK
        return
    *news, last = events(b"".join(ear.pieces) + ear.heard[0])
    assert [(one["params"]["progressToken"], one["params"]["progress"]) for one in news] == told
    assert (last["id"], last["result"]) == (7, {"content": []} | MARK)


@given(batches, st.booleans())
def test_what_is_said_together_with_the_answer_leaves_with_it(
    new_kit: Callable[[], Kit], before: list[tuple[bool, int]], is_refused: bool
) -> None:
    """In one write if nothing was said before; and in its order behind what was."""
    ear = new_kit().ear()
    visit = visit_of(ear, progress_token="t")
    for _, count in before:
        visit.note(b"\n".join([b'{"progress":0}'] * count))
    visit.note_last(b'{"progress":1}\n{"progress":2}')
    assert bool(ear.pieces) == bool(before)
    if is_refused:
        visit.refuse(Refused("cancelled", "the caller withdrew the request"))
    else:
        visit.give_call(RESULT, has_meta=False)
    *news, last = events(b"".join(ear.pieces) + ear.heard[0])
    told = [0] * sum(count for _, count in before) + [1, 2]
    assert [one["params"]["progress"] for one in news] == told
    assert ("error" in last, "result" in last) == (is_refused, not is_refused)
    visit.note_last(b'{"progress":3}')
    assert len(ear.heard) == 1


def test_what_is_said_together_with_the_answer_counts_as_a_stream_and_comes_before_a_notice(kit: Kit) -> None:
    ear, streams = kit.ear(), Streams()
    streams.most = 1
    first, second = (visit_of(one, streams=streams, progress_token="t") for one in (ear, kit.ear()))
    first.note_last(PROGRESS)
    second.note_last(PROGRESS)
    second.give_call(RESULT, has_meta=False)
    assert kit.reply.read(second.guest.heard[0]).code == "ok"  # type: ignore[attr-defined]  # an ear
    ear.keeps_up = False
    assert not first.tell("notifications/message", b'{"dropped":1}')
    ear.keeps_up = True
    assert first.tell("notifications/message", b"{}")
    first.give_call(RESULT, has_meta=False)
    methods = [one.get("method") for one in events(ear.pieces[0] + ear.heard[0])]
    assert methods == ["notifications/progress", "notifications/message", None]
    assert streams.take("aya")


def test_a_client_that_gave_no_token_hears_no_news(kit: Kit) -> None:
    ear = kit.ear()
    visit = visit_of(ear)
    visit.note(PROGRESS)
    assert (ear.pieces, visit.is_streaming) == ([], False)


def test_a_refusal_after_news_ends_the_stream(kit: Kit) -> None:
    ear = kit.ear()
    visit = visit_of(ear, progress_token="t")
    visit.note(PROGRESS)
    visit.refuse(Refused("cancelled", "the caller withdrew the request"))
    news, last = events(ear.pieces[0] + ear.heard[0])
    assert news["params"] == {"progressToken": "t", "progress": 1, "message": "half"}
    assert (last["id"], last["error"]["data"]["code"]) == (7, "cancelled")
    assert last["error"]["data"]["call"] == "call1"


@pytest.mark.parametrize(
    ("error", "header"),
    [
        (Refused("token_missing", "no token"), ("www-authenticate", 'Bearer realm="sekisho"')),
        (RemoteProtocolError("http_method_not_allowed", "GET"), ("allow", "GET, POST, DELETE")),
        (RateLimited(0.0), ("retry-after", "1")),
        (RateLimited(2.2), ("retry-after", "3")),
    ],
    ids=["401", "405", "429 at once", "429 later"],
)
def test_a_refusal_says_in_a_header_what_to_do_next(
    kit: Kit, error: SekishoError, header: tuple[str, str]
) -> None:
    reply = heard(kit, lambda visit: visit.refuse(error), request_id=None)
    assert (reply.status, reply.code) == (error.info.http_status, error.code)
    assert reply.headers[header[0]] == header[1]
    assert reply.body["id"] is None
    others = {"www-authenticate", "allow", "retry-after"} - {header[0]}
    assert not others & reply.headers.keys()


@pytest.mark.parametrize("code", ["method_unknown", "plugin_unknown"])
@pytest.mark.parametrize(
    ("modern", "request_id", "status"), [(False, 7, 200), (True, 7, 404), (False, None, 404)]
)
def test_404_is_kept_from_legacy_clients_that_would_take_their_session_for_gone(
    kit: Kit, code: str, modern: bool, request_id: int | None, status: int
) -> None:
    error = Refused(code, "not here")
    assert error.info.http_status == 404
    reply = heard(kit, lambda visit: visit.refuse(error), modern=modern, request_id=request_id)
    assert (reply.status, reply.code) == (status, code)


def test_a_lost_session_is_404_to_a_legacy_client_too(kit: Kit) -> None:
    error = Refused("session_unknown", "it has ended")
    assert heard(kit, lambda visit: visit.refuse(error)).status == 404


def test_nobody_is_known_before_a_token_was_checked(kit: Kit) -> None:
    assert visit_of(kit.ear()).known_client == "aya"
    with pytest.raises(LocalProtocolError):
        _ = visit_of(kit.ear(), client=None).known_client


def test_a_result_without_a_request_is_our_own_fault_and_nothing_is_sent(kit: Kit) -> None:
    ear = kit.ear()
    with pytest.raises(LocalProtocolError):
        visit_of(ear, request_id=None).give(RESULT)
    assert ear.heard == []


def test_a_question_goes_out_on_the_stream_under_an_id_that_finds_its_way_back(kit: Kit) -> None:
    ear = kit.ear()
    visit = visit_of(ear)
    assert visit.question("calc", Question("q1", "elicitation", "elicitation/create", b'{"message":"?"}'))
    visit.give_call(RESULT, has_meta=False)
    asked, last = events(b"".join(ear.pieces) + ear.heard[0])
    assert (asked["id"], asked["method"]) == ("calc:elicitation:q1", "elicitation/create")
    assert last["id"] == 7


def test_a_client_that_takes_no_stream_cannot_be_asked(kit: Kit) -> None:
    ear = kit.ear()
    visit = visit_of(ear, takes_streams=False)
    assert not visit.question("calc", Question("q1", "elicitation", "elicitation/create", b"{}"))
    visit.notice("notifications/message", b'{"level":"info","data":1}')
    assert ear.pieces == []


@pytest.mark.threat("T-FLOOD")
def test_a_client_has_only_so_many_streams_and_gets_one_back_when_it_ends(kit: Kit) -> None:
    streams = Streams()
    streams.most = 1
    first, second = (visit_of(kit.ear(), streams=streams, progress_token=1) for _ in range(2))
    first.note(PROGRESS)
    second.note(PROGRESS)
    assert (first.is_streaming, second.is_streaming) == (True, False)
    first.refuse(Refused("cancelled", "gone"))
    second.note(PROGRESS)
    assert second.is_streaming


def test_a_stream_on_a_connection_that_ends_says_so(kit: Kit) -> None:
    ear = kit.ear()
    visit = visit_of(ear, keep_alive=False, progress_token=1)
    visit.note(PROGRESS)
    visit.give_call(RESULT, has_meta=False)
    assert b"Connection: close\r\n" in ear.pieces[0]
    assert len(events(ear.pieces[0] + ear.heard[0])) == 2


@pytest.mark.parametrize("modern", [True, False])
def test_a_stream_of_notifications_ends_once_with_an_answer_where_the_era_has_one(
    kit: Kit, modern: bool
) -> None:
    ear = kit.ear()
    visit = visit_of(ear, modern=modern)
    assert visit.open_stream()
    visit.notice_of_subscription("notifications/tools/list_changed", {})
    visit.hang_up()
    visit.hang_up()
    changed, *end = events(b"".join(ear.pieces) + b"".join(ear.heard))
    meta = {"io.modelcontextprotocol/subscriptionId": 7}
    assert changed["params"] == {"_meta": meta}
    result = {"resultType": "complete", "_meta": meta}
    assert end == ([{"jsonrpc": "2.0", "id": 7, "result": result}] if modern else [])


@pytest.mark.parametrize(
    ("modern", "given", "told", "status"),
    [(True, -32002, -32602, 200), (False, -32602, -32002, 200), (True, -32601, -32601, 404)],
)
def test_a_plugins_own_error_has_the_number_of_the_clients_era(
    kit: Kit, modern: bool, given: int, told: int, status: int
) -> None:
    error = PluginError(json.dumps({"code": given, "message": "no", "data": {"plugin": "calc"}}).encode())
    reply = heard(kit, lambda visit: visit.refuse(error), modern=modern, method="resources/read")
    assert (reply.status, reply.body["error"]["code"]) == (status, told)
    assert reply.body["error"]["data"] == {"plugin": "calc", "call": "call1"}

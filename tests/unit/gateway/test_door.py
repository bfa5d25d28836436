"""The door: one answer to every request, with code, status, record, and nothing read before the caller is known."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.gateway.speaking import unmarked

from sekisho.errors import Refused, Unavailable
from sekisho.policy import RateRule
from sekisho.protocol import HttpRequest

if TYPE_CHECKING:
    from tests.unit.gateway.conftest import Kit

CALL = {"name": "calc__add", "arguments": {"a": 1}}


def call(
    kit: Kit, heard: list[Any], params: dict[str, Any] | None = None, *, session: str, number: int = 1
) -> Any:
    """Send a legacy call up to the line; answers come to `heard`."""
    request = kit.request(kit.message("tools/call", params or CALL, number), session=session)
    trip = kit.door.answer(request, kit.ear(lambda data: heard.append(kit.reply.read(data))))
    kit.log.settle()
    return trip


@pytest.mark.requirement("A2.2")
@pytest.mark.threat("T-NOTOKEN")
@pytest.mark.parametrize(("token", "code"), [(None, "token_missing"), ("sk-" + "c" * 43, "token_invalid")])
def test_without_a_token_401_says_which_scheme_and_the_body_is_not_read(
    kit: Kit, token: str | None, code: str
) -> None:
    reply = kit.ask(kit.request(b"not json", token=token))
    assert (reply.status, reply.code) == (401, code)
    assert reply.headers["www-authenticate"] == 'Bearer realm="sekisho"'
    assert kit.log.entries[-1]["code"] == code
    assert "client" not in kit.log.entries[-1]
    assert kit.ask(kit.request(b"not json")).code == "json_malformed"


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "https://evil.example"}])
def test_a_foreign_host_or_origin_is_refused_before_the_token_is_looked_at(
    kit: Kit, headers: dict[str, str]
) -> None:
    reply = kit.ask(kit.request(token=None, headers=headers))
    assert (reply.status, reply.code) == (403, "origin_refused")
    assert kit.say("initialize", {"protocolVersion": "2025-11-25"}).status == 200


@pytest.mark.parametrize(
    "target", ["/", "/mcp/", "/mcp?x", "/p/calc", "/p//mcp", "/p/A/mcp", "/p/calc/mcp/x"]
)
def test_other_paths_are_404(kit: Kit, target: str) -> None:
    reply = kit.ask(kit.request(target=target))
    assert (reply.status, reply.code) == (404, "http_not_found")


def test_the_endpoint_of_an_unknown_plugin_is_404(kit: Kit) -> None:
    assert kit.ask(kit.request(target="/p/nobody/mcp")).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS"])
def test_other_methods_are_405_and_told_which_are_served(kit: Kit, method: str) -> None:
    reply = kit.ask(kit.request(method=method))
    assert (reply.status, reply.headers["allow"]) == (405, "GET, POST, DELETE")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"accept": "text/html"}, 406),
    ],
)
def test_media_types_are_negotiated(kit: Kit, headers: dict[str, str], status: int) -> None:
    assert kit.say("ping", headers=headers).status == status


@pytest.mark.threat("T-FLOOD")
def test_a_message_too_large_is_413(kit: Kit) -> None:
    reply = kit.say("initialize", {"protocolVersion": "x" * 5000})
    assert (reply.status, reply.code) == (413, "body_too_large")


def test_bytes_that_are_no_request_are_refused_recorded_and_close(kit: Kit) -> None:
    heard: list[bytes] = []
    kit.door.refuse_unreadable(Refused("body_too_large", "test"), kit.ear(heard.append))
    kit.log.settle()
    reply = kit.reply.read(heard[0])
    assert (reply.status, reply.headers["connection"]) == (413, "close")
    assert kit.log.kinds == ["refusal"]


def test_a_legacy_client_opens_uses_and_ends_a_session(kit: Kit) -> None:
    opened = kit.say("initialize", {"protocolVersion": "2025-06-18"})
    session = opened.headers["mcp-session-id"]
    assert opened.body["result"]["protocolVersion"] == "2025-06-18"
    note = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert kit.ask(kit.request(note, session=session)).status == 202
    assert kit.say("ping", session=session).body["result"] == {}
    listed = kit.say("tools/list", session=session).body["result"]["tools"]
    assert [tool["name"] for tool in listed] == ["calc__add", "calc__erase", "other__erase"]
    heard: list[Any] = []
    call(kit, heard, session=session, number=7)
    kit.line.reply()
    kit.log.settle()
    assert (heard[0].status, heard[0].body["id"]) == (200, 7)
    assert unmarked(heard[0].body["result"]) == {"content": [], "structuredContent": {"sum": 3}}
    assert kit.ask(kit.request(method="DELETE", session=session)).status == 204
    assert kit.say("ping", session=session).status == 404


def test_a_legacy_request_needs_its_session(kit: Kit) -> None:
    assert kit.say("tools/list").code == "session_required"
    session = kit.open_session(target="/p/calc/mcp")
    assert kit.say("ping", session=session).code == "session_unknown"
    assert kit.say("ping", session=session, target="/p/calc/mcp", token=kit.ben).code == "session_unknown"
    assert kit.say("ping", session=session, target="/p/calc/mcp").status == 200


def test_a_modern_client_needs_no_session(kit: Kit) -> None:
    assert kit.say_modern("server/discover").body["result"]["resultType"] == "complete"
    listed = kit.say_modern("tools/list", target="/p/calc/mcp").body["result"]
    assert [tool["name"] for tool in listed["tools"]] == ["add", "erase"]
    heard: list[bytes] = []
    request = kit.modern_request("tools/call", {"name": "add", "arguments": {"a": 1}}, target="/p/calc/mcp")
    kit.door.answer(request, kit.ear(heard.append))
    kit.log.settle()
    kit.line.reply()
    kit.log.settle()
    assert kit.reply.read(heard[0]).body["result"]["resultType"] == "complete"


def test_each_era_has_its_own_methods(kit: Kit) -> None:
    session = kit.open_session()
    for method in ("server/discover", "subscriptions/listen", "sampling/createMessage"):
        reply = kit.say(method, session=session)
        # To a legacy client 404 would mean that its session is gone.
        assert (reply.status, reply.code) == (200, "method_unknown")
    for method in ("initialize", "ping", "logging/setLevel", "resources/subscribe"):
        modern = kit.say_modern(method)
        assert (modern.status, modern.code) == (404, "method_unknown")


def test_headers_that_tell_another_story_are_refused(kit: Kit) -> None:
    assert kit.say_modern("tools/list", headers={"mcp-method": "tools/call"}).code == "header_mismatch"
    assert (
        kit.say_modern("tools/call", dict(CALL), headers={"mcp-name": "calc__erase"}).code
        == "header_mismatch"
    )


def test_a_cursor_was_never_given_and_is_refused(kit: Kit) -> None:
    session = kit.open_session()
    assert kit.say("tools/list", {"cursor": "x"}, session=session).code == "params_invalid"
    assert kit.say("tools/list", {"cursor": 1}, session=session).code == "params_invalid"
    assert kit.say("tools/list", {}, session=session).code == "ok"


@pytest.mark.requirement("A2.2")
@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"name": "calc__nothing"}, "tool_unknown"),
        ({"name": "add"}, "tool_unknown"),
        ({"name": "nobody__add"}, "plugin_unknown"),
        ({"name": "calc__add", "arguments": {"a": "1"}}, "arguments_invalid"),
        ({"name": "calc__add", "arguments": {"a": 1, "b": "x" * 600}}, "arguments_too_large"),
        ({"name": "calc__add", "arguments": [1]}, "params_invalid"),
        ({"arguments": {}}, "params_invalid"),
        ({"name": "calc__broken", "arguments": {}}, "plugin_protocol"),
    ],
)
def test_a_refused_call_names_code_call_and_remedy_and_is_recorded(
    kit: Kit, params: dict[str, Any], code: str
) -> None:
    reply = kit.say("tools/call", params, session=kit.open_session())
    data = reply.body["error"]["data"]
    assert (data["code"], bool(data["remedy"])) == (code, True)
    assert reply.status == (400 if code == "params_invalid" else 200)
    assert (kit.log.entries[-1]["call"], kit.log.entries[-1]["code"]) == (data["call"], code)
    assert kit.line.frames == []


@pytest.mark.threat("T-OPERATION")
def test_an_operation_not_granted_is_refused_at_the_door(kit: Kit) -> None:
    session = kit.open_session(token=kit.ben)
    refused = kit.say("tools/call", {"name": "calc__erase"}, session=session, token=kit.ben)
    assert refused.code == "operation_not_allowed"
    heard: list[Any] = []
    call(kit, heard, {"name": "calc__erase"}, session=kit.open_session())
    assert len(kit.line.frames) == 1


@pytest.mark.threat("T-FLOOD")
def test_a_used_up_rate_is_429_with_the_time_to_wait(kit: Kit) -> None:
    kit.change(client_rate=RateRule(per_minute=2, burst=1))
    session = kit.open_session()
    call(kit, [], session=session, number=1)
    reply = kit.say("tools/call", CALL, session=session, number=2)
    assert (reply.status, reply.code) == (429, "rate_limited")
    assert 30 <= int(reply.headers["retry-after"]) <= 31


@pytest.mark.threat("T-FLOOD")
def test_beyond_the_calls_in_flight_503(kit: Kit) -> None:
    kit.road = kit.new_road(max_in_flight=1)
    kit.door = kit.new_door()
    session = kit.open_session()
    call(kit, [], session=session, number=1)
    assert kit.say("tools/call", CALL, session=session, number=2).status == 503


@pytest.mark.threat("T-FULLDISK")
def test_without_a_log_a_call_is_503_and_not_forwarded(kit: Kit) -> None:
    session = kit.open_session()
    kit.log.fill_up()
    reply = kit.say("tools/call", CALL, session=session)
    assert (reply.status, reply.code, kit.line.frames) == (503, "log_unavailable", [])


def test_a_cancelled_call_is_withdrawn_by_its_own_client_only(kit: Kit) -> None:
    heard: list[Any] = []
    session = kit.open_session()
    call(kit, heard, session=session, number=5)
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    kit.ask(kit.request(note, session=kit.open_session()))
    kit.ask(kit.request(note, session=kit.open_session(token=kit.ben), token=kit.ben))
    assert kit.line.cancelled == []
    assert kit.ask(kit.request(note, session=session)).status == 202
    assert (kit.line.cancelled, heard[0].code) == ([1], "cancelled")


def test_a_cancellation_of_nothing_is_accepted_and_a_malformed_one_refused(kit: Kit) -> None:
    session = kit.open_session()
    note = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    assert kit.ask(kit.request(note, session=session)).status == 202
    assert kit.ask(kit.request({**note, "params": {}}, session=session)).code == "params_invalid"


def test_an_id_in_flight_is_not_taken_twice(kit: Kit) -> None:
    heard: list[Any] = []
    session = kit.open_session()
    call(kit, heard, session=session)
    assert kit.say("tools/call", CALL, session=session).code == "message_invalid"
    kit.line.reply()
    kit.log.settle()
    assert [reply.code for reply in heard] == ["ok"]
    call(kit, heard, session=session)
    assert len(kit.line.frames) == 2


def test_the_digest_binds_every_part_of_the_call(kit: Kit) -> None:
    session = kit.open_session()
    for number, params in enumerate((CALL, CALL, {"name": "calc__add", "arguments": {"a": 2}})):
        call(kit, [], params, session=session, number=number)
    digests = {frame.digest for frame in kit.line.frames}
    assert len(digests) == 3


@pytest.mark.threat("T-PARSER")
def test_arguments_with_a_name_twice_are_refused(kit: Kit) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"calc__add","arguments":%s}}'
    session = kit.open_session()
    twice = kit.ask(kit.request(body % b'{"a":1,"a":2}', session=session))
    assert (twice.code, kit.line.frames) == ("json_duplicate_key", [])
    heard: list[bytes] = []
    kit.door.answer(kit.request(body % b'{"a":1}', session=session), kit.ear(heard.append))
    kit.log.settle()
    assert len(kit.line.frames) == 1


def streamed(
    kit: Kit, ear: Any, ident: Any = "t-1", accept: str = "application/json, text/event-stream"
) -> None:
    """Send a modern call that wants to hear of its progress up to the line."""
    request = kit.modern_request(
        "tools/call",
        {"name": "calc__add", "arguments": {"a": 1}},
        headers={"accept": accept},
        meta={"progressToken": ident},
    )
    kit.door.answer(request, ear)
    kit.log.settle()


def events(data: bytes) -> list[Any]:
    """The messages of the chunks of an event stream; fails when the framing is not exact."""
    seen = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        chunk, data = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        for event in chunk.split(b"\n\n")[:-1]:
            assert event.startswith(b"event: message\ndata: ")
            seen.append(json.loads(event[21:]))
        assert chunk.endswith(b"\n\n") or not chunk
    return seen


@pytest.mark.parametrize("token", ["t-1", 7, "ü\n"])
def test_progress_goes_to_the_client_under_its_own_token_before_the_result(kit: Kit, token: Any) -> None:
    ear = kit.ear()
    streamed(kit, ear, token)
    assert kit.line.frames[0].wants_progress
    for number in range(3):
        kit.line.notes[1](b'{"progress":%d,"total":3}' % number)
        kit.log.settle()
    kit.line.reply()
    kit.log.settle()
    head, _, first = ear.pieces[0].partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream")
    stream = first + b"".join(ear.pieces[1:]) + b"".join(ear.heard)
    *progress, last = events(stream)
    assert [one["params"] for one in progress] == [
        {"progressToken": token, "progress": number, "total": 3} for number in range(3)
    ]
    assert last["result"]["structuredContent"] == {"sum": 3}
    assert stream.endswith(b"0\r\n\r\n")
    assert kit.log.kinds == ["intent", "notes", "notes", "notes", "outcome"]


def test_a_call_without_news_is_answered_as_plain_json(kit: Kit) -> None:
    ear = kit.ear()
    streamed(kit, ear)
    kit.line.reply()
    kit.log.settle()
    assert (ear.pieces, kit.reply.read(ear.heard[0]).code) == ([], "ok")


def test_a_refusal_after_progress_ends_the_stream_with_its_code(kit: Kit) -> None:
    ear = kit.ear()
    streamed(kit, ear)
    kit.line.notes[1](b'{"progress":1}')
    kit.log.settle()
    kit.line.reply(Refused("plugin_protocol", "test"))
    kit.log.settle()
    assert events(ear.heard[0])[-1]["error"]["data"]["code"] == "plugin_protocol"


@pytest.mark.parametrize("accept", ["application/json", "application/*"])
def test_a_client_that_takes_no_stream_is_asked_for_none(kit: Kit, accept: str) -> None:
    streamed(kit, kit.ear(), accept=accept)
    assert not kit.line.frames[0].wants_progress


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "note",
    [b"", b"[]", b'{"progress":"1"}', b'{"progress":true}', b"{}", b'{"progress":1,"message":2}',
     b'{"progress":1,"evil":1}', b'{"progress":1,"progress":2}', b'{"progress":NaN}', b'{"progress":1,"total":"x"}'],
)  # fmt: skip
def test_progress_that_is_none_is_recorded_and_goes_no_further(kit: Kit, note: bytes) -> None:
    ear = kit.ear()
    streamed(kit, ear)
    kit.line.notes[1](note)
    kit.log.settle()
    assert ear.pieces == []
    assert kit.log.entries[-1]["kind"] == "notes"
    assert kit.log.entries[-1]["code"] != "ok"
    kit.line.reply()
    kit.log.settle()
    assert kit.reply.read(ear.heard[0]).code == "ok"


def test_nothing_is_told_after_the_answer_or_without_a_record(kit: Kit) -> None:
    ear = kit.ear()
    streamed(kit, ear)
    note = kit.line.notes[1]
    kit.log.problem = Unavailable("log_unavailable", "full")
    note(b'{"progress":1}')
    kit.log.settle()
    kit.log.problem = None
    kit.line.reply()
    kit.log.settle()
    note(b'{"progress":2}')
    kit.log.settle()
    assert (ear.pieces, len(ear.heard)) == ([], 1)


@pytest.mark.threat("T-FLOOD")
def test_progress_is_dropped_for_a_client_that_lags_but_the_answer_is_not(kit: Kit) -> None:
    ear = kit.ear(keeps_up=False)
    streamed(kit, ear)
    kit.line.notes[1](b'{"progress":1}')
    kit.log.settle()
    kit.line.reply()
    kit.log.settle()
    assert kit.reply.read(ear.heard[0]).code == "ok"


@pytest.mark.parametrize("token", [True, 1.5, [], {}])
def test_a_progress_token_of_another_kind_is_refused(kit: Kit, token: Any) -> None:
    ear = kit.ear()
    streamed(kit, ear, token)
    assert kit.reply.read(ear.heard[0]).code == "params_invalid"


@pytest.mark.threat("T-FLOOD")
def test_so_many_calls_of_a_client_are_told_of_and_others_are_just_answered(kit: Kit) -> None:
    kit.rules = replace(kit.rules, max_streams_per_client=1)
    ears = [kit.ear() for _ in range(3)]
    for number, ear in enumerate(ears[:2], 1):
        streamed(kit, ear)
        kit.line.notes[number](b'{"progress":1}')
        kit.log.settle()
    kit.line.reply()
    kit.log.settle()
    streamed(kit, ears[2])
    kit.line.notes[3](b'{"progress":1}')
    kit.log.settle()
    assert [bool(ear.pieces) for ear in ears] == [True, False, True]


@pytest.mark.threat("T-FLOOD")
def test_sessions_are_opened_at_a_bounded_rate(kit: Kit) -> None:
    kit.change(session_rate=RateRule(per_minute=2))
    codes = [kit.say("initialize", {"protocolVersion": "2025-11-25"}).code for _ in range(3)]
    assert codes == ["ok", "ok", "rate_limited"]


@pytest.mark.threat("T-FLOOD")
def test_a_client_with_too_many_connections_is_told_so_and_the_connection_ends(kit: Kit) -> None:
    ear = kit.ear(is_welcome=False)
    kit.door.answer(kit.modern_request("tools/list"), ear)
    kit.log.settle()
    reply = kit.reply.read(ear.heard[0])
    assert (reply.status, reply.code, reply.headers["connection"]) == (503, "busy", "close")


def test_what_a_plugin_says_in_one_turn_is_judged_recorded_and_told_together(kit: Kit) -> None:
    turns: list[Any] = []
    kit.clock.soon = turns.append  # type: ignore[assignment]
    ear = kit.ear()
    streamed(kit, ear)
    for number in range(5):
        kit.line.notes[1](b'{"progress":%d}' % number)
    assert len(turns) == 1
    turns.pop()()
    kit.log.settle()
    assert len(ear.pieces) == 1
    assert (kit.log.entries[-1]["kind"], kit.log.entries[-1]["count"]) == ("notes", 5)
    kit.line.notes[1](b'{"progress":5}')
    kit.line.reply()  # before the turn ends: news first, then the answer
    kit.log.settle()
    stream = b"".join([*ear.pieces, *ear.heard]).partition(b"\r\n\r\n")[2]
    assert [one["params"]["progress"] for one in events(stream)[:-1]] == list(range(6))


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize(
    ("note", "code", "is_told"),
    [
        (b'{"progress":1}\n{"progress":2}', "ok", True),
        (b'{"progress":1}\n{"evil":2}', "plugin_protocol", False),
    ],
)
def test_what_comes_together_with_the_answer_shares_its_record(
    kit: Kit, note: bytes, code: str, *, is_told: bool
) -> None:
    kit.clock.soon = lambda callback: None  # type: ignore[method-assign]
    ear = kit.ear()
    streamed(kit, ear)
    kit.line.notes[1](note)
    kit.line.reply()
    assert (ear.pieces, ear.heard) == ([], []), "nothing is told before it is on record"
    kit.log.settle()
    assert kit.log.kinds == ["intent", "outcome"]
    said = kit.log.entries[-1]["progress"]
    assert (said["code"], said["count"], "notes" in said) == (code, 2, is_told)
    stream = ear.heard[0].partition(b"\r\n\r\n")[2]
    if is_told:
        assert [one["params"]["progress"] for one in events(stream)[:-1]] == [1, 2]
    else:
        assert kit.reply.read(ear.heard[0]).code == "ok"


@pytest.mark.threat("T-FULLDISK")
def test_what_comes_together_with_the_answer_is_not_told_without_a_record(kit: Kit) -> None:
    kit.clock.soon = lambda callback: None  # type: ignore[method-assign]
    ear = kit.ear()
    streamed(kit, ear)
    kit.log.fill_up()
    kit.line.notes[1](b'{"progress":1}')
    kit.line.reply()
    kit.log.settle()
    assert (ear.pieces, kit.reply.read(ear.heard[0]).code) == ([], "log_unavailable")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/call", {"name": "calc__add", "arguments": {"a": 1}}),
        ("tools/list", {}),
        ("server/discover", {}),
    ],
)
def test_the_head_of_a_request_is_kept_whatever_it_asks_for(
    kit: Kit, method: str, params: dict[str, Any]
) -> None:
    request = replace_head(kit.modern_request(method, params), b"POST /mcp HTTP/1.1\r\n\r\n")
    kit.door.answer(request, kit.ear())
    assert len(kit.door.heads) == 1


@pytest.mark.threat("T-FLOOD")
def test_no_head_is_kept_of_a_stranger_nor_of_what_is_no_request(kit: Kit) -> None:
    for headers, body in (({"authorization": "Bearer wrong"}, None), ({}, b"no message")):
        request = kit.modern_request("tools/list")
        broken = HttpRequest(
            method=request.method,
            target=request.target,
            headers={**request.headers, **headers},
            body=request.body if body is None else body,
            head=b"POST /mcp HTTP/1.1\r\n\r\n",
        )
        kit.door.answer(broken, kit.ear())
    assert len(kit.door.heads) == 0


def replace_head(request: Any, head: bytes) -> Any:
    """The request as a reader gives it whose head may be kept."""
    return HttpRequest(
        method=request.method, target=request.target, headers=request.headers, body=request.body, head=head
    )

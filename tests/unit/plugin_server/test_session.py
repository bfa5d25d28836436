from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError, Unavailable
from sekisho.plugin_server.answers import MAX_ERROR_BYTES, Note
from sekisho.plugin_server.progress import MAX_NOTES
from sekisho.plugin_server.session import Answer, PluginSession, RpcError
from sekisho.protocol import JsonLimits, LineReader, Notification, Request, SseReader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import msgspec


class Wire:
    """What left the session, and what its waiters heard."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.heard: list[Answer] = []
        self.changes: list[None] = []
        self.withdrawn: list[int] = []
        self.has_streams = False
        self.versions: list[str] = []
        self.session = PluginSession(
            limits=JsonLimits(max_bytes=4096),
            roots=[("file:///data", "data")],
            on_list_changed=lambda: self.changes.append(None),
        )
        self.session.attach(self)

    # a transport

    def send(self, message: bytes, ident: int = 0, words: bytes = b"") -> None:
        if ident or words:
            assert message.startswith(b'{"jsonrpc":"2.0","id":%d%b{' % (ident, words))
        self.sent.append(message)

    def has_room(self) -> bool:
        return True

    def withdraw(self, ident: int) -> None:
        self.withdrawn.append(ident)

    def use_version(self, version: str) -> None:
        self.versions.append(version)

    def use_tools(self, tools: Sequence[msgspec.Raw]) -> None:
        raise AssertionError("a session lists nothing by itself")

    @property
    def last(self) -> dict[str, object]:
        message: dict[str, object] = json.loads(self.sent[-1])
        return message


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    assert made.session.in_flight == 0, "a waiter was forgotten"


def keep(notes: list[bytes]) -> Note:
    """Hears of progress, a line each."""
    return lambda said: notes.extend(said.split(b"\n"))


def test_an_answer_reaches_exactly_the_call_it_belongs_to(wire: Wire) -> None:
    other: list[Answer] = []
    first = wire.session.call_tool("echo", b'{"n":1}', wire.heard.append)
    second = wire.session.call_tool("echo", b'{"n":2}', other.append)
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"n":2}}' % second)
    assert (wire.heard, other) == ([], [b'{"n":2}'])
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"n":1}}' % first)
    assert wire.heard == [b'{"n":1}']


def test_a_tool_name_cannot_break_out_of_its_string(wire: Wire) -> None:
    ident = wire.session.call_tool('x","arguments":{"evil":1},"y":"', b"{}", wire.heard.append)
    assert wire.last["params"] == {"name": 'x","arguments":{"evil":1},"y":"', "arguments": {}}
    wire.session.cancel(ident, "done")


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "line", [b"hello", b"[]", b'{"jsonrpc":"1.0"}', b'{"id":', b"\xff\xfe", b'"' + b"x" * 5000]
)
def test_garbage_is_counted_and_dropped(wire: Wire, line: bytes) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.receive(line)
    assert wire.session.counters.garbage == 1
    assert not wire.heard
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)
    assert wire.heard == [b"{}"]


def batch(first: int, second: int) -> bytes:
    return b'[{"jsonrpc":"2.0","id":%d,"result":{"n":1}} , {"jsonrpc":"2.0","id":%d,"result":{"n":2}}]' % (
        first,
        second,
    )


def test_a_plugin_of_the_revision_with_batches_may_say_several_things_at_once(wire: Wire) -> None:
    wire.session.agree("2025-03-26")
    first = wire.session.call_tool("echo", b"{}", wire.heard.append)
    second = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.receive(batch(second, first))
    wire.session.receive(b'[{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}]')
    assert wire.heard == [b'{"n":1}', b'{"n":2}']
    assert len(wire.changes) == 1
    assert wire.session.counters.garbage == 0


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25", "2026-07-28"])
def test_batches_of_other_revisions_are_garbage(wire: Wire, version: str) -> None:
    wire.session.agree(version)
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.receive(batch(ident, 99))
    assert not wire.heard
    assert wire.session.counters.garbage == 1
    wire.session.cancel(ident, "done")


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("line", [b"[]", b"[[[]]]", b"[7]", b"[" + b"{}," * 300 + b"{}]", b"[{}"])
def test_a_batch_of_a_plugin_is_bounded_and_not_nested(wire: Wire, line: bytes) -> None:
    wire.session.agree("2025-03-26")
    wire.session.receive(line)
    assert wire.session.counters.garbage == 1


def test_blank_lines_and_known_messages_are_no_garbage(wire: Wire) -> None:
    wire.session.receive(b" \r")
    wire.session.receive(b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
    assert wire.session.counters.garbage == 0
    assert wire.session.counters.ignored_notifications == 1


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("ident", [b"99", b'"1"', b"null"])
def test_an_answer_to_an_unknown_id_is_counted_and_dropped(wire: Wire, ident: bytes) -> None:
    mine = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.receive(b'{"jsonrpc":"2.0","id":' + ident + b',"error":{"code":1,"message":"x"}}')
    assert wire.session.counters.unknown_answers == 1
    assert not wire.heard
    wire.session.cancel(mine, "done")


MEMBERS = st.sampled_from(
    [
        b'"jsonrpc":"2.0"',
        b'"jsonrpc":"1.0"',
        b'"id":1',
        b'"id":2',
        b'"id":1.0',
        b'"id":-0',
        b'"id":01',
        b'"id":"1"',
        b'"\\u0069d":1',
        b'"ID":1',
        b'"result":{"n":1}',
        b'"result":{"n":"\xff"}',
        b'"result":[]',
        b'"result":{"a":1,"a":2}',
        b'"error":{"code":1,"message":"x"}',
        b'"params":{}',
        b'"params":{"progressToken":1,"progress":2}',
        b'"method":"notifications/progress"',
        b'"method":"ping"',
        b'"extra":1',
    ]
)


@pytest.mark.threat("T-PARSER")
@pytest.mark.threat("T-GARBAGE")
@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.lists(MEMBERS, min_size=1, max_size=5),
        st.permutations([b'"jsonrpc":"2.0"', b'"id":1', b'"result":{"n":1}']),
        st.permutations([b'"jsonrpc":"2.0"', b'"id":1', b'"result":{"n":1}', b'"id":1']),
    ),
    st.sampled_from([b",", b", ", b",,", b"\r,"]),
    st.sampled_from([b"{%b}", b" {%b}\r", b"{%b}x", b"\xef\xbb\xbf{%b}", b"[{%b}]"]),
)
def test_the_short_way_says_exactly_what_the_long_way_says(
    members: list[bytes], comma: bytes, around: bytes
) -> None:
    line = around % comma.join(members)
    outcomes = []
    for receive in (PluginSession.receive, PluginSession._receive_slowly):
        wire = Wire()
        notes: list[bytes] = []
        for note in (keep(notes), None):
            wire.session.call_tool("echo", b"{}", wire.heard.append, note)
        receive(wire.session, line)
        outcomes.append((wire.heard, notes, wire.sent, wire.session.counters, wire.session.in_flight))
    assert outcomes[0] == outcomes[1]


def test_a_progress_note_reaches_its_call_without_the_token(wire: Wire) -> None:
    notes: list[bytes] = []
    other: list[bytes] = []
    first = wire.session.call_tool("slow", b'{"n":1}', wire.heard.append, keep(notes))
    assert wire.last["params"] == {"name": "slow", "arguments": {"n": 1}, "_meta": {"progressToken": first}}
    second = wire.session.call_tool("slow", b"{}", wire.heard.append, keep(other))
    text = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%d,"progress":0.5,"total":1}}'
    wire.session.receive(text % first)
    wire.session.receive((text % second).replace(b",", b" , "))
    assert notes == other == [b'{"progress":0.5,"total":1}']
    assert wire.session.counters.dropped_notes == 0
    for ident in (first, second):
        wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)
    wire.session.receive(text % first)
    assert len(notes) == 1
    assert wire.session.counters.dropped_notes == 1


NOTE = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%d,"progress":%d}}'
BLANKS = (
    b'{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": %d, "progress": %d}}'
)
SDK = b'{"method":"notifications/progress","params":{"progressToken":%d,"progress":%d},"jsonrpc":"2.0"}'


@pytest.mark.parametrize("frame", [b"%b\n", b"event: message\ndata: %b\n\n"], ids=["pipe", "stream"])
@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.sampled_from([NOTE, NOTE, BLANKS, SDK]), st.integers(1, 4)),
        max_size=8,
    ),
    st.lists(st.integers(0, 3000), max_size=6),
)
def test_however_its_bytes_arrive_each_call_hears_all_its_notes_in_order_and_then_its_answer(
    frame: bytes, said: list[tuple[int, bytes, int]], cuts: list[int]
) -> None:
    wire = Wire()
    heard: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    told: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    for ident, notes in heard.items():
        wire.session.call_tool("slow", b"{}", notes.append, keep(notes))  # type: ignore[arg-type]  # bytes alone
        assert wire.last["id"] == ident
    messages: list[bytes] = []
    for ident, form, count in said:
        for _ in range(count):
            told[ident].append(b'{"progress":%d}' % len(messages))
            messages.append(form % (ident, len(messages)))
    for ident, expected in told.items():
        expected.append(b'{"content":[]}')
        messages.append(b'{"jsonrpc":"2.0","id":%d,"result":{"content":[]}}' % ident)
    stream = b"".join([frame % message for message in messages])
    reader: LineReader | SseReader = SseReader() if frame.startswith(b"event") else LineReader()
    edges = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    for start, end in pairwise(edges):
        wire.session.receive_all(reader.feed(stream[start:end]))
    assert heard == told
    assert wire.session.counters.dropped_notes + wire.session.counters.garbage == 0


def test_a_call_that_wants_no_progress_names_no_token(wire: Wire) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    assert wire.last["params"] == {"name": "echo", "arguments": {}}
    wire.session.cancel(ident, "done")


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "params",
    [
        b'{"progress":1}',
        b'{"progressToken":"1","progress":1}',
        b'{"progressToken":true,"progress":1}',
        b'{"progressToken":1.0,"progress":1}',
        b'{"progressToken":[1],"progress":1}',
        b'{"progressToken":2,"progress":1}',
        b'{"progressToken":1,"progressToken":1,"progress":1}',
        b'{"progressToken":1,"message":"\\ud800"}',
        b"{}",
    ],
)
def test_a_note_to_another_token_or_that_two_readers_would_read_differently_is_dropped(
    wire: Wire, params: bytes
) -> None:
    notes: list[bytes] = []
    ident = wire.session.call_tool("slow", b"{}", wire.heard.append, keep(notes))
    assert ident == 1
    wire.session.receive(b'{"jsonrpc":"2.0","method":"notifications/progress","params":' + params + b"}")
    assert notes == []
    assert wire.session.counters.dropped_notes + wire.session.counters.garbage == 1
    wire.session.cancel(ident, "done")


@pytest.mark.threat("T-FLOOD")
def test_a_flood_of_notes_is_bounded_and_counted(wire: Wire) -> None:
    notes: list[bytes] = []
    ident = wire.session.call_tool("slow", b"{}", wire.heard.append, keep(notes))
    line = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%d}}' % ident
    for _ in range(MAX_NOTES + 5):
        wire.session.receive(line)
    assert len(notes) == MAX_NOTES
    assert wire.session.counters.dropped_notes == 5
    wire.session.fail_all(Unavailable("plugin_exited", "gone"))
    wire.session.receive(line)
    assert len(notes) == MAX_NOTES


def test_a_second_answer_to_the_same_call_is_dropped(wire: Wire) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    for _ in range(2):
        wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)
    assert wire.heard == [b"{}"]
    assert wire.session.counters.unknown_answers == 1


def test_ping_and_roots_are_answered_with_the_id_of_the_plugin(wire: Wire) -> None:
    wire.session.receive(b'{"jsonrpc":"2.0","id":"p","method":"ping"}')
    assert wire.last == {"jsonrpc": "2.0", "id": "p", "result": {}}
    wire.session.receive(b'{"jsonrpc":"2.0","id":7,"method":"roots/list"}')
    assert wire.last["result"] == {"roots": [{"uri": "file:///data", "name": "data"}]}
    assert wire.session.counters.refused_requests == 0


@pytest.mark.parametrize("method", ["sampling/createMessage", "elicitation/create", "tools/list"])
def test_everything_else_a_plugin_asks_is_refused(wire: Wire, method: str) -> None:
    wire.session.receive(json.dumps({"jsonrpc": "2.0", "id": 3, "method": method, "params": {}}).encode())
    error = wire.last["error"]
    assert isinstance(error, dict)
    assert error["code"] == -32601
    assert wire.session.counters.refused_requests == 1


def test_a_changed_list_is_reported_and_other_notifications_are_not(wire: Wire) -> None:
    wire.session.receive(b'{"jsonrpc":"2.0","method":"notifications/progress","params":{}}')
    assert not wire.changes
    wire.session.receive(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}')
    assert len(wire.changes) == 1


def test_a_cancelled_call_tells_the_plugin_once_and_its_late_answer_is_dropped(wire: Wire) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.cancel(ident, "enough")
    wire.session.cancel(ident, "enough")
    assert len(wire.sent) == 2
    assert wire.last["method"] == "notifications/cancelled"
    assert wire.last["params"] == {"requestId": ident, "reason": "enough"}
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)
    assert not wire.heard


def test_everybody_who_waits_hears_that_the_plugin_is_gone(wire: Wire) -> None:
    for _ in range(3):
        wire.session.call_tool("echo", b"{}", wire.heard.append)
    gone = Unavailable("plugin_exited", "gone")
    wire.session.fail_all(gone)
    assert wire.heard == [gone] * 3


def test_one_failed_request_leaves_the_others_waiting(wire: Wire) -> None:
    other: list[Answer] = []
    first = wire.session.call_tool("echo", b"{}", wire.heard.append)
    second = wire.session.call_tool("echo", b"{}", other.append)
    wire.session.fail_one("not ours", Unavailable("plugin_exited", "gone"))
    wire.session.fail_one(first, Unavailable("plugin_exited", "gone"))
    assert (len(wire.heard), other) == (1, [])
    wire.session.cancel(second, "done")


def test_an_error_of_the_plugin_reaches_its_caller_as_it_came(wire: Wire) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    error = b'{"code":-5,"message":"no \\"luck\\"","data":{"a":[1]}}'
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"error":%b}' % (ident, error))
    assert wire.heard == [RpcError(-5, 'no "luck"', error)]


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize("error", [b'{"code":"x"}', b'{"message":"x"}'])
def test_a_malformed_error_is_a_breach_of_protocol(wire: Wire, error: bytes) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"error":%b}' % (ident, error))
    assert isinstance(wire.heard[0], RemoteProtocolError)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(("size", "kind"), [(MAX_ERROR_BYTES, RemoteProtocolError), (100, RpcError)])
def test_an_error_that_is_too_large_is_none(size: int, kind: type[object]) -> None:
    wire = Wire()
    wire.session.limits = JsonLimits()
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    error = json.dumps({"code": 1, "message": "x" * size}).encode()
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"error":%b}' % (ident, error))
    assert isinstance(wire.heard[0], kind)


class Ear:
    """Hears what a plugin says by itself."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, int | None]] = []
        self.notifications: list[tuple[Notification, int | None]] = []
        self.late: list[int | str | None] = []

    def asked(self, request: Request, of: int | None) -> None:
        self.requests.append((request, of))

    def told(self, notification: Notification, of: int | None) -> None:
        self.notifications.append((notification, of))

    def answered_late(self, ident: int | str | None) -> None:
        self.late.append(ident)


def test_what_a_plugin_says_by_itself_reaches_the_listener_with_its_stream(wire: Wire) -> None:
    ear = wire.session.listener = Ear()
    wire.session.receive_all([b'{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{}}'], 7)
    wire.session.receive(b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}')
    assert [(request.id, of) for request, of in ear.requests] == [("q", 7)]
    assert [of for _, of in ear.notifications] == [None]
    wire.session.answer_plugin("q", b'{"action":"accept"}')
    assert wire.last == {"jsonrpc": "2.0", "id": "q", "result": {"action": "accept"}}
    wire.session.refer_plugin("q", b'{"code":1,"message":"no"}')
    assert wire.last["error"] == {"code": 1, "message": "no"}


def test_an_answer_that_nobody_waits_for_is_told_of(wire: Wire) -> None:
    ear = wire.session.listener = Ear()
    ident = wire.session.request("tools/call", {}, wire.heard.append)
    wire.session.cancel(ident, "gone")
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)
    wire.session.receive(b'{"jsonrpc":"2.0","id":"x","error":{"code":1,"message":"no"}}')
    assert ear.late == [ident, "x"]
    assert not wire.heard


def test_a_modern_plugin_may_not_ask_by_itself(wire: Wire) -> None:
    ear = wire.session.listener = Ear()
    wire.session.agree("2026-07-28")
    wire.session.receive(b'{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}')
    assert not ear.requests
    assert wire.session.counters.refused_requests == 1


def test_a_call_to_a_modern_plugin_states_version_and_capabilities(wire: Wire) -> None:
    wire.session.agree("2026-07-28")
    assert wire.versions == ["2026-07-28"]
    notes: list[bytes] = []
    first = wire.session.call_tool("echo", b'{"n":1}', wire.heard.append)
    params = wire.last["params"]
    assert isinstance(params, dict)
    meta = params.pop("_meta")
    assert params == {"name": "echo", "arguments": {"n": 1}}
    assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
    assert meta["io.modelcontextprotocol/clientCapabilities"] == {"roots": {}}
    second = wire.session.call_tool("echo", b"{}", wire.heard.append, keep(notes))
    params = wire.last["params"]
    assert isinstance(params, dict)
    assert params["_meta"] == {"progressToken": second} | meta
    for ident in (first, second):
        wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)


@pytest.mark.parametrize(
    ("version", "has_streams", "is_told"),
    [
        ("2025-11-25", False, True),
        ("2025-11-25", True, True),
        ("2026-07-28", False, True),
        ("2026-07-28", True, False),  # the closed stream says it
    ],
)
def test_a_cancellation_is_said_as_the_era_and_the_transport_want_it(
    wire: Wire, version: str, has_streams: bool, is_told: bool
) -> None:
    wire.has_streams = has_streams
    wire.session.agree(version)
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.cancel(ident, "enough")
    assert (wire.last.get("method") == "notifications/cancelled") is is_told
    assert wire.withdrawn == [ident]


def test_a_forgotten_request_is_not_cancelled_aloud(wire: Wire) -> None:
    ident = wire.session.request("initialize", {}, wire.heard.append)
    wire.session.forget(ident)
    assert wire.last["method"] == "initialize"
    assert wire.withdrawn == [ident]


def test_a_request_that_is_handed_over_is_answered_to_its_new_waiter_with_what_is_left_of_its_notes(
    wire: Wire,
) -> None:
    others: list[Answer] = []
    notes: list[bytes] = []
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append, lambda said: None)
    quiet = wire.session.call_tool("echo", b"{}", wire.heard.append)
    assert wire.session.waiter_of(ident) == wire.heard.append
    for one in (ident, quiet):
        wire.session.hand_over(one, others.append, keep(notes))
        told = b'{"progressToken":%d,"progress":1}' % one
        wire.session.receive(b'{"jsonrpc":"2.0","method":"notifications/progress","params":%b}' % told)
        wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"n":1}}' % one)
    assert notes == [b'{"progress":1}']
    assert wire.session.counters.dropped_notes == 1
    assert (others, wire.heard) == ([b'{"n":1}'] * 2, [])


def test_nothing_is_handed_over_when_nobody_waits_any_more(wire: Wire) -> None:
    ident = wire.session.call_tool("echo", b"{}", wire.heard.append)
    wire.session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % ident)
    wire.session.hand_over(ident, wire.heard.append, lambda said: None)
    assert wire.session.waiter_of(ident) is None

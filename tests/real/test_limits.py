"""Every key of `[limits]` shows at run time: one step beyond it is refused with its code, at the limit all is well."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.real.conftest import Answer, House, common, message, plugin, until
from tests.real.raw import Raw, call, connected, params_of, request

from sekisho.keys import KeyFolder, ensure_bearer

pytestmark = [pytest.mark.real, pytest.mark.threat("T-FLOOD")]

MIRROR = Path(__file__).with_name("mirror.py")
TOOLS = ("mirror", "big", "slow", "deaf")
Build = Callable[[str], House]


def house_with(limits: str, more: str = "") -> str:
    """A configuration with these limits and two plugins."""
    return (
        f"[limits]\n{limits}\n{common()}"
        + plugin("m", MIRROR, operations=TOOLS, more=more)
        + plugin("n", MIRROR, operations=TOOLS)
    )


def serves(house: House, data: bytes) -> bool:
    """Whether this request is answered well now; to be hung up on is an answer too."""
    try:
        with connected(house) as (raw,):
            raw.send(data)
            answer = raw.answer()
    except OSError:
        return False
    return answer is not None and answer.code == "ok"


def asked(house: House, data: bytes) -> Answer:
    """The answer to one request on a connection of its own."""
    with connected(house) as (raw,):
        raw.send(data)
        answer = raw.answer()
    assert answer is not None, "the house hung up without a word"
    return answer


def other_client(house: House, name: str = "second") -> str:
    """The token of another client, known to the house."""
    token = ensure_bearer(KeyFolder(house.home / "keys"), name).read_text().strip()
    house.hang_up()
    until(lambda: serves(house, request(house, token=token)), "the new token is known")
    return token


# One message

MESSAGES = """max_head_bytes = 2000
max_headers = 20
max_line_bytes = 100000
max_depth = 12
max_members = 300
max_string_bytes = 20000"""


@pytest.fixture(scope="module")
def small(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house in which messages must be small."""
    house = House(tmp_path_factory.mktemp("small"), house_with(MESSAGES))
    yield house
    house.stop()


def arguments(house: House, value: object) -> bytes:
    return call(house, "m__mirror", v=value)


def _headers(count: int) -> bytes:
    return b"".join(b"X%d: a\r\n" % number for number in range(count))


def nested(depth: int) -> object:
    """A list of lists; the message around it is three deep."""
    value: object = 1
    for _ in range(depth - 3):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("beyond", "code", "within"),
    [
        (b"X: " + b"a" * 2000 + b"\r\n", "header_too_large", b"X: " + b"a" * 1000 + b"\r\n"),
        (_headers(20), "header_too_large", _headers(10)),
    ],
    ids=["max_head_bytes", "max_headers"],
)
def test_a_head_has_its_limits(small: House, beyond: bytes, code: str, within: bytes) -> None:
    assert asked(small, request(small, extra=beyond)).code == code
    assert asked(small, request(small, extra=within)).code == "ok"


@pytest.mark.parametrize(
    ("beyond", "code", "within"),
    [
        (nested(13), "json_too_deep", nested(12)),
        ([1] * 320, "json_too_large", [1] * 250),
        ("x" * 20_001, "json_too_large", "x" * 10_000),
    ],
    ids=["max_depth", "max_members", "max_string_bytes"],
)
def test_a_message_has_its_limits(small: House, beyond: object, code: str, within: object) -> None:
    assert asked(small, arguments(small, beyond)).code == code
    assert asked(small, arguments(small, within)).code == "ok"


def test_max_line_bytes_bounds_what_a_plugin_says(small: House) -> None:
    assert asked(small, call(small, "m__big", bytes=19_000)).code == "ok"
    answer = asked(small, call(small, "m__big", bytes=150_000))
    assert answer.code in ("result_too_large", "plugin_exited")
    until(lambda: serves(small, call(small, "m__big", bytes=10)), "the plugin comes back")


def test_max_depth_holds_for_what_a_plugin_says(small: House) -> None:
    # the mirror wraps its line in base64, so a plugin's own depth is judged by the same number at its own door
    assert asked(small, arguments(small, nested(12))).code == "ok"


@pytest.mark.parametrize("batch", [b"[]", b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]'])
def test_a_batch_is_refused_where_no_session_of_its_revision_sends_it(small: House, batch: bytes) -> None:
    assert asked(small, request(small, body=batch)).code == "batch_refused"
    one = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": params_of("", {})}
    ).encode()
    assert asked(small, request(small, body=one)).code == "ok"


# One connection


@pytest.fixture(scope="module")
def hasty(walls: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house that waits for nobody."""
    limits = """handshake_timeout_seconds = 1
receive_timeout_seconds = 1
send_timeout_seconds = 1
idle_timeout_seconds = 2
max_pipelined = 3
max_unsent_bytes = 4096"""
    house = House(tmp_path_factory.mktemp("hasty"), house_with(limits))
    yield house
    house.stop()


def test_handshake_timeout_seconds_ends_a_silent_handshake(hasty: House) -> None:
    with connected(hasty, handshake=False) as (raw,):
        assert raw.is_cut()
    assert asked(hasty, request(hasty)).code == "ok"


def test_receive_timeout_seconds_ends_a_request_that_does_not_arrive(hasty: House) -> None:
    whole = request(hasty)
    for part in (whole[:40], whole[:-10]):
        with connected(hasty) as (raw,):
            raw.send(part)
            answer = raw.answer()
            assert answer is None or (answer.code, answer.status) == ("http_timeout", 408)
            assert raw.is_cut()
    assert asked(hasty, whole).code == "ok"


def test_idle_timeout_seconds_ends_a_connection_that_says_nothing(hasty: House) -> None:
    with connected(hasty) as (raw,):
        raw.send(request(hasty))
        assert raw.answer() is not None
        raw.send(request(hasty, ident=2))  # at once: the connection is still there
        assert raw.answer() is not None
        assert raw.is_cut()


def test_send_timeout_seconds_ends_a_client_that_does_not_read(hasty: House) -> None:
    with connected(hasty, receive_buffer=4096) as (slow,):
        slow.send(call(hasty, "m__big", bytes=9 << 20))
        until(lambda: _unread(hasty) == 1, "it has an answer that it does not read")
        until(lambda: _unread(hasty) == 0, "the connection that reads nothing is cut")
    with connected(hasty) as (fast,):  # only now: whoever says nothing is cut here, too
        fast.send(call(hasty, "m__big", bytes=9 << 20))
        answer = fast.answer()
        assert answer is not None
        assert len(answer.text) == 9 << 20


def _unread(house: House) -> int:
    """Connections of the core with unsent bytes, by the kernel's own table."""
    port = int(house.url.rsplit(":", 1)[1].split("/")[0])
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(
        int(row[1].split(":")[1], 16) == port and row[3] == "01" and int(row[4].split(":")[0], 16) > 0
        for row in rows
    )


def test_max_pipelined_bounds_the_requests_that_wait(hasty: House) -> None:
    first = call(hasty, "m__slow", seconds=0.3)
    with connected(hasty) as (raw,):
        raw.send(first + b"".join(request(hasty, ident=n) for n in range(2, 5)))
        codes = [answer.code for answer in (raw.answer() for _ in range(4)) if answer is not None]
        assert codes == ["ok"] * 4
    with connected(hasty) as (raw,):
        raw.send(first + b"".join(request(hasty, ident=n) for n in range(2, 30)))
        codes = []
        while (answer := raw.answer()) is not None:
            codes.append(answer.code)
        assert codes == ["ok"] * 4 + ["busy"]


# All connections


@pytest.mark.parametrize("key", ["max_connections", "max_connections_per_client"])
def test_connections_have_their_limits(build: Build, key: str) -> None:
    house = build(house_with(f"{key} = 4" if key == "max_connections" else "max_connections_per_client = 4"))
    with connected(house, 4) as crowd:
        for one in crowd:
            one.send(request(house))
            assert one.answer() is not None
        with connected(house) as (late,):
            late.send(request(house))
            answer = late.answer()
            still = [one for one in crowd if _answers(house, one)]
            # either the newcomer is turned away, or the idlest of the crowd made room for it
            assert (answer is None or answer.code == "busy") == (len(still) == 4)
            assert len(still) >= 3
    until(lambda: serves(house, request(house)), "there is room again")


def test_max_connections_per_client_does_not_touch_another_client(build: Build) -> None:
    house = build(house_with("max_connections_per_client = 3"))
    token = other_client(house)
    with connected(house, 3) as crowd:
        assert all(_answers(house, one) for one in crowd)
        with connected(house) as (late,):
            late.send(request(house))
            refused = late.answer()
            assert refused is None or refused.code == "busy"
        assert asked(house, request(house, token=token)).code == "ok"


def test_max_connections_cannot_be_used_up_by_strangers(build: Build) -> None:
    house = build(house_with("max_connections = 6"))
    with connected(house, 12):  # none of them ever says who it is
        until(lambda: serves(house, request(house)), "a client with a token is served")


def _answers(house: House, raw: Raw) -> bool:
    raw.send(request(house))
    answer = raw.answer()
    return answer is not None and answer.code == "ok"


def test_max_held_bytes_bounds_bodies_that_do_not_end(build: Build) -> None:
    house = build(house_with("max_held_bytes = 4000000"))
    start = request(house, body=b"x" * 3_000_000)[:-1]
    with connected(house, 3) as crowd:
        for one in crowd:
            one.send(start)
        until(lambda: sum(_is_ended(one) for one in crowd) >= 1, "one of three bodies of 3 MB is given up")
        assert asked(house, request(house)).code == "ok"


def _is_ended(raw: Raw) -> bool:
    """Whether the house has said something or hung up."""
    raw.sock.settimeout(0.2)
    try:
        return raw.answer() is not None or True
    except TimeoutError:
        return False


# Calls


@pytest.mark.parametrize(
    ("limits", "tool"),
    [
        ("max_in_flight_per_client = 2", "n__slow"),
        ("max_in_flight_per_plugin = 2", "m__slow"),
    ],
    ids=["max_in_flight_per_client", "max_in_flight_per_plugin"],
)
def test_calls_under_way_have_their_limits(build: Build, limits: str, tool: str) -> None:
    house = build(house_with(limits))
    token = other_client(house)
    with connected(house, 3) as (one, two, three):
        one.send(call(house, "m__slow", seconds=6))
        two.send(call(house, "m__slow", seconds=6))
        until(lambda: _in_flight(house) == 2, "two calls are under way")
        three.send(call(house, tool, seconds=0))
        refused = three.answer()
        assert refused is not None
        assert (refused.code, refused.status) == ("busy", 503)
        # the other client at the other plugin is not touched
        assert asked(house, call(house, "n__slow", seconds=0, token=token)).code == "ok"
        assert [answer.code for answer in (one.answer(), two.answer()) if answer] == ["ok", "ok"]
    assert asked(house, call(house, tool, seconds=0)).code == "ok"


@pytest.mark.parametrize("key", ["max_in_flight_bytes", "max_in_flight_bytes_per_client"])
def test_calls_under_way_have_so_many_bytes(build: Build, key: str) -> None:
    house = build(house_with(f"{key} = 3000000"))
    token = other_client(house)
    with connected(house, 5) as crowd:
        for one in crowd[:3]:
            one.send(call(house, "m__slow", seconds=6, pad="x" * 900_000))
        until(lambda: _in_flight(house) == 3, "three large calls are under way")
        crowd[3].send(call(house, "m__slow", seconds=6, pad="x" * 900_000))
        refused = crowd[3].answer()
        assert refused is not None
        assert (refused.code, refused.status) == ("busy", 503)
        crowd[4].send(call(house, "n__slow", seconds=0, pad="x" * 900_000, token=token))
        other = crowd[4].answer()
        assert other is not None
        assert other.code == ("busy" if key == "max_in_flight_bytes" else "ok")
        assert asked(house, call(house, "m__slow", seconds=0)).code == "ok"  # a small one of the same client
        answers = [one.answer() for one in crowd[:3]]
        assert [answer.code for answer in answers if answer] == ["ok"] * 3
    assert asked(house, call(house, "m__mirror", v="x" * 900_000)).code == "ok"


def _in_flight(house: House) -> int:
    for line in house.status("/metrics").text.splitlines():
        if line.startswith("sekisho_in_flight"):
            return int(float(line.split()[-1]))
    return -1


def test_max_queued_bytes_bounds_what_waits_for_a_plugin(build: Build) -> None:
    house = build(house_with("max_queued_bytes = 2000000"))
    with connected(house, 8) as crowd:
        crowd[0].send(call(house, "m__deaf", seconds=6))
        until(lambda: _in_flight(house) == 1, "the plugin has its first call")
        for one in crowd[1:]:
            one.send(call(house, "m__mirror", v="x" * 900_000))
        codes = [answer.code for answer in (one.answer() for one in crowd) if answer is not None]
        # the plugin and the calls it has room for are not harmed by those that are too many
        assert codes[0] == "ok"
        assert 2 <= codes.count("ok") - 1 < 7
        assert set(codes) == {"ok", "busy"}
    assert asked(house, call(house, "m__mirror", v="x" * 900_000)).code == "ok"


# Sessions


def _hello(revision: str = "2025-11-25") -> bytes:
    hello = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    return message("initialize", hello)


def _legacy(
    house: House, body: bytes, *, token: str | None = None, extra: str = "", method: str = "POST"
) -> bytes:
    head = (
        f"{method} /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token or house.token}\r\n"
        f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n{extra}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def test_max_new_sessions_per_minute_slows_one_client_alone(build: Build) -> None:
    house = build(house_with("max_new_sessions_per_minute = 5"))
    token = other_client(house)
    codes = [asked(house, _legacy(house, _hello())).code for _ in range(7)]
    assert codes == ["ok"] * 5 + ["rate_limited"] * 2
    assert asked(house, _legacy(house, _hello(), token=token)).code == "ok"


def _opened(house: House, revision: str = "2025-11-25") -> str:
    """The id of a new session."""
    with connected(house) as (raw,):
        raw.send(_legacy(house, _hello(revision)))
        assert raw.answer() is not None
        return raw.fields["mcp-session-id"]


def _in_session(house: House, session: str, method: str = "POST") -> str:
    extra = f"Mcp-Session-Id: {session}\r\nMCP-Protocol-Version: 2025-11-25\r\n"
    body = b"" if method == "DELETE" else message("ping", {})
    return asked(house, _legacy(house, body, extra=extra, method=method)).code


def test_max_batch_messages_bounds_what_one_post_asks(build: Build) -> None:
    house = build(house_with("max_batch_messages = 3"))
    session = f"Mcp-Session-Id: {_opened(house, '2025-03-26')}\r\n"
    call_one = {"name": "m__mirror", "arguments": {"v": 1}}
    calls = [
        {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": call_one} for number in range(4)
    ]
    within, beyond = (_legacy(house, json.dumps(calls[:count]).encode(), extra=session) for count in (3, 4))
    with connected(house) as (raw,):
        raw.send(within)
        answer = raw.answer()
        assert answer is not None
        answers: object = answer.body
        assert isinstance(answers, list)
        assert [one["id"] for one in answers if "result" in one] == [0, 1, 2]
    assert asked(house, beyond).code == "batch_refused"
    other = f"Mcp-Session-Id: {_opened(house)}\r\nMCP-Protocol-Version: 2025-11-25\r\n"
    assert asked(house, _legacy(house, json.dumps(calls[:1]).encode(), extra=other)).code == "batch_refused"


def test_max_ended_sessions_bounds_what_is_remembered_of_them(build: Build) -> None:
    house = build(house_with("max_ended_sessions = 2"))
    first, *others = [_opened(house) for _ in range(3)]
    assert [_in_session(house, one, "DELETE") for one in (first, *others)] == ["ok"] * 3
    assert [_in_session(house, one) for one in others] == ["session_unknown"] * 2
    assert _in_session(house, first) == "ok"  # the oldest was forgotten; it still needs the token


def test_max_streams_per_client_bounds_answers_that_stay_open(build: Build) -> None:
    house = build(house_with("max_streams_per_client = 2"))
    token = other_client(house)
    params = params_of("tools/call", {"name": "m__slow", "arguments": {"seconds": 6}})
    streamed = {**params, "_meta": {**params["_meta"], "progressToken": 7}}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": streamed}).encode()
    stream = request(house, "tools/call", {"name": "m__slow"}, body=body)
    other = request(house, "tools/call", {"name": "m__slow"}, body=body, token=token)
    with connected(house, 4) as (one, two, three, others):
        kinds = []
        for raw, data in ((one, stream), (two, stream), (three, stream), (others, other)):
            raw.send(data)
            assert raw.answer() is not None
            kinds.append(raw.fields["content-type"].partition(";")[0])
        # the third has its answer too, but no news before it
        assert kinds == ["text/event-stream"] * 2 + ["application/json", "text/event-stream"]
    until(lambda: _in_flight(house) == 0, "all have been answered")
    with connected(house) as (raw,):
        raw.send(stream)
        assert raw.answer() is not None
        assert raw.fields["content-type"].startswith("text/event-stream")

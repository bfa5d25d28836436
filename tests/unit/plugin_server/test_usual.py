"""Notes and large answers known by their form."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.plugin_server.answers import Note
from sekisho.plugin_server.session import Answer, PluginSession
from sekisho.plugin_server.usual import LARGE_BYTES, find_answer, notes_alike, read_notes
from sekisho.protocol import JsonLimits, Response, decode_distinct, parse_message

LIMITS = JsonLimits()
NOTE = b'{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,%b}}'
SDK_NOTE = b'{"method":"notifications/progress","params":{"progressToken":1,%b},"jsonrpc":"2.0"}'
NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([10**19, 2**64, -(2**63), 10**400]),
).map(lambda number: json.dumps(number).encode())
ODD = st.sampled_from(
    [b"-0", b"1.0", b"1e3", b"1E400", b"01", b"true", b"null", b'"1"', b"[1]", b"1 ", b"NaN"]
)
TEXTS = st.one_of(
    st.text(max_size=5).map(msgspec.json.encode), st.text(max_size=5).map(json.dumps).map(str.encode)
)
MEMBERS = st.one_of(
    st.builds(lambda number: b'"progress":' + number, NUMBERS | ODD),
    st.builds(lambda number: b'"total":' + number, NUMBERS | ODD),
    st.builds(lambda text: b'"message":' + text, TEXTS | ODD),
    st.sampled_from(
        [b'"progressToken":1', b'"progressToken":2', b'"x":{}', b"}}", b"{", b'"message":"\xff"']
    ),
)
MEMBERS_IN_ORDER = st.tuples(
    st.builds(lambda number: b'"progress":' + number, NUMBERS),
    st.builds(lambda number: b'"total":' + number, NUMBERS),
    st.builds(lambda text: b'"message":' + text, TEXTS),
).flatmap(lambda all_: st.integers(1, 3).map(lambda count: list(all_[:count])))
LINES = [NOTE % b'"progress":1', NOTE % b'"progress":2,"total":3']
TIGHT = st.sampled_from(
    [LIMITS, JsonLimits(max_depth=1), JsonLimits(max_depth=2, max_members=5), JsonLimits(max_bytes=110)]
)


def keep(notes: list[bytes]) -> Note:
    """Hears of progress, a line each."""
    return lambda said: notes.extend(said.split(b"\n"))


def heard(
    session: PluginSession, lines: list[bytes], receive_all: bool
) -> tuple[list[bytes], list[bytes], object, int]:
    """What came of these lines, taken together or one by one on the longest way."""
    notes: tuple[list[bytes], list[bytes]] = ([], [])
    for note in notes:
        session.call_tool("slow", b"{}", lambda answer: None, keep(note))
    if receive_all:
        session.receive_all(lines)
    else:
        for line in lines:
            session._receive_slowly(line)
    return *notes, session.counters, session.in_flight


@pytest.mark.threat("T-PARSER")
@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda form, members, ident: (form % b",".join(members)).replace(b":1,", b":%d," % ident, 1),
            st.sampled_from([NOTE, SDK_NOTE]),
            st.one_of(MEMBERS_IN_ORDER, st.lists(MEMBERS, max_size=4)),
            st.sampled_from([1, 2, 1, 3]),
        )
        | st.sampled_from(
            [b'{"jsonrpc":"2.0","id":1,"result":{}}', b"x", b"", *LINES, b"\n".join(LINES), LINES[0] + b"\n"]
        ),
        max_size=12,
    ),
    TIGHT,
)
def test_the_short_way_of_notes_says_exactly_what_the_long_way_says(
    lines: list[bytes], limits: JsonLimits
) -> None:
    def session() -> PluginSession:
        return PluginSession(limits=limits)

    assert heard(session(), lines, receive_all=True) == heard(session(), lines, receive_all=False)


@pytest.mark.parametrize("form", [NOTE, SDK_NOTE])
def test_notes_of_one_token_are_read_together_and_keep_their_order(form: bytes) -> None:
    said = [b'"progress":%d' % number for number in range(20)]
    lines = [form % one for one in said]
    other = form.replace(b":1,", b":12,") % said[0]
    assert (notes_alike([*lines, other], 0), notes_alike([*lines, other], 20)) == (20, 1)
    assert read_notes(lines, LIMITS) == (1, b"\n".join([b"{%b}" % one for one in said]))
    assert read_notes([b"\n".join(lines)], LIMITS) is None  # one event with line feeds is no line
    two_in_one = form % b'"progress":1}\n{"progress":2'
    assert read_notes([two_in_one, lines[0][:-1]], LIMITS) is None  # nor does another make up for it


@pytest.mark.parametrize("line", [b"", b"{}", NOTE[:-20], NOTE.replace(b"1,", b"1}"), SDK_NOTE[1:]])
def test_other_lines_are_read_one_by_one(line: bytes) -> None:
    assert notes_alike([line, line], 0) <= 1


@pytest.mark.parametrize("form", [NOTE, SDK_NOTE])
def test_a_usual_note_is_known(form: bytes) -> None:
    said = b'"progress":1.0,"total":10,"message":"\xe3\x81\x82 \\"half\\""'
    assert read_notes([form % said], LIMITS) == (1, b"{" + said + b"}")


@pytest.mark.threat("T-PARSER")
@pytest.mark.parametrize("form", [NOTE, SDK_NOTE])
@pytest.mark.parametrize(
    "said",
    [
        b'"progress":1,"progress":2',
        b'"progress":1,"progressToken":2',
        b'"progress":1,"\\u0074otal":2',
        b'"progress":1},"params":{"progress":2',
        b'"progress":1.00',
        b'"progress":1,"message":"\\u0061"',
        b'"message":"no number"',
    ],
)
def test_a_note_that_could_be_read_in_two_ways_is_not_known(form: bytes, said: bytes) -> None:
    assert read_notes([form % said], LIMITS) is None


def test_both_forms_of_a_large_answer_are_found() -> None:
    for line in (
        b'{"jsonrpc":"2.0","id":7,"result":{"a":1}}',
        b'{"jsonrpc": "2.0", "id": 7, "result": {"a":1}}',
        b'{"result":{"a":1},"jsonrpc":"2.0","id":7}',
        b'{"result":{"a":1},"jsonrpc":"2.0","id":999999999999999999}',
    ):
        found = find_answer(line, len(line))
        assert found is not None
        assert found[0] in {7, 999999999999999999}
        assert line[found[1] : found[2]] == b'{"a":1}'
        assert find_answer(bytearray(line) + b"}}", len(line)) == found


INSIDE = st.lists(
    st.sampled_from(
        [
            b'"a":1',
            b'"id":1',
            b'"result":{"b":2}',
            b"}",
            b"{",
            b'"error":{}',
            b'"\\"}',
            b"[",
            b"]",
            b"x",
            b" ",
        ]
    ),
    max_size=4,
).map(b",".join)
ENVELOPES = st.sampled_from(
    [
        b'{"jsonrpc":"2.0","id":1,"result":{%b}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {%b}}',
        b'{"result":{%b},"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":01,"result":{%b}}',
        b'{"jsonrpc":"2.0","id":1,"result":[%b]}',
        b'{"result":{%b},"id":1,"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":1,"result":{%b}}\r',
        b'{"result":{%b},"jsonrpc":"2.0","id":1}}',
        b'{"id":2,"result":{%b},"jsonrpc":"2.0","id":1}',
    ]
)


@pytest.mark.threat("T-PARSER")
@settings(max_examples=500)
@given(ENVELOPES, INSIDE)
def test_what_is_found_is_one_object_exactly_if_the_line_is_that_answer(
    envelope: bytes, inside: bytes
) -> None:
    line = envelope % inside
    found = find_answer(line, len(line))
    assert find_answer(bytearray(line) + b"}}", len(line)) == found
    if found is None:
        return
    ident, start, end = found
    try:
        msgspec.json.decode(line[start:end], type=dict[str, msgspec.Raw])
        is_object = True
    except msgspec.DecodeError:
        is_object = False
    try:
        message = parse_message(line, LIMITS)
    except SekishoError:
        message = None
    assert is_object == isinstance(message, Response)
    if isinstance(message, Response):
        assert (message.id, bytes(message.result)) == (ident, line[start:end])


@pytest.mark.threat("T-GARBAGE")
def test_a_large_answer_that_is_none_reaches_its_own_call_only_and_is_no_json() -> None:
    answers: dict[str, list[Answer]] = {"a": [], "b": []}
    session = PluginSession(limits=JsonLimits(max_bytes=2 * LARGE_BYTES))
    one = session.call_tool("big", b"{}", answers["a"].append)
    two = session.call_tool("big", b"{}", answers["b"].append)
    text = b"x" * LARGE_BYTES
    session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"},"id":%d,"result":{}}' % (one, text, two))
    [heard_by_one] = answers["a"]
    assert isinstance(heard_by_one, bytes)
    with pytest.raises(SekishoError):
        decode_distinct(heard_by_one)
    session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"}}' % (two, text))
    assert answers["b"] == [b'{"a":"%b"}' % text]
    assert session.counters.garbage == session.counters.unknown_answers == session.in_flight == 0


@pytest.mark.threat("T-GARBAGE")
def test_what_we_asked_for_ourselves_is_read_whole() -> None:
    answers: list[Answer] = []
    session = PluginSession(limits=JsonLimits(max_bytes=2 * LARGE_BYTES))
    ident = session.request("tools/list", None, answers.append)
    text = b"x" * LARGE_BYTES
    session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"},"id":%d}' % (ident, text, ident))
    assert (answers, session.counters.garbage) == ([], 1)
    session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"}}' % (ident, text))
    assert answers == [b'{"a":"%b"}' % text]


def test_a_large_answer_is_taken_from_its_place_or_copied_for_whoever_keeps_it() -> None:
    answers: list[Answer] = []
    session = PluginSession(limits=JsonLimits(max_bytes=2 * LARGE_BYTES))
    text = b"x" * LARGE_BYTES
    ident = session.call_tool("big", b"{}", answers.append)
    place = bytearray(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"}}' % (ident, text))
    assert session.receive_large(memoryview(place), len(place))
    place[:] = bytes(len(place))
    assert answers == [b'{"a":"%b"}' % text]
    ours = session.request("tools/list", None, answers.append)
    for unfit in (
        b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"}}' % (ours, text),
        b'{"jsonrpc":"2.0","id":%d,"error":{"a":"%b"}}' % (ident, text),
        b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b%b"}}' % (ident, text, text),
    ):
        assert not session.receive_large(memoryview(unfit), len(unfit))
    assert (len(answers), session.in_flight) == (1, 1)


@pytest.mark.threat("T-FLOOD")
def test_an_answer_beyond_the_limit_is_none() -> None:
    answers: list[Answer] = []
    session = PluginSession(limits=JsonLimits(max_bytes=LARGE_BYTES))
    ident = session.call_tool("big", b"{}", answers.append)
    session.receive(b'{"jsonrpc":"2.0","id":%d,"result":{"a":"%b"}}' % (ident, b"x" * LARGE_BYTES))
    assert (answers, session.counters.garbage) == ([], 1)
    session.cancel(ident, "done")

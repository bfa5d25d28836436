"""Trace context is taken only in the W3C's own grammar, and what is taken can stand in a header."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.protocol import TRACE_NAMES, RequestReader, header_lines, read_trace, says_trace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MANY = ",".join(f"k{number}=v" for number in range(33))

keys = st.text(string.ascii_lowercase + string.digits + "_-*/@", min_size=1, max_size=12).filter(
    lambda key: key[0].isalnum()
)
visible = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in ",="]
values = st.text([*visible, " "], max_size=9).flatmap(
    lambda start: st.sampled_from(visible).map(lambda end: start + end)
)
states = st.dictionaries(keys, values, min_size=1, max_size=12).map(
    lambda pairs: [f"{key}={value}" for key, value in pairs.items()]
)
octets = [chr(code) for code in range(0x21, 0x7F) if chr(code) not in '",;\\']
tokens = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1, max_size=9)
entries = st.lists(
    st.builds(
        lambda key, value, more: ";".join([f"{key}={value}", *more]),
        tokens,
        st.text(octets, max_size=9),
        st.lists(tokens, max_size=2),
    ),
    min_size=1,
    max_size=9,
)
anything = st.one_of(
    st.none(),
    st.integers(),
    st.text(max_size=60),
    st.text("=,; \tab0-", max_size=60),
    st.just(PARENT),
    states.map(",".join),
    entries.map(",".join),
)


def state_of(text: str) -> str | None:
    return read_trace({"traceparent": PARENT, "tracestate": text}, TRACE_NAMES).get("tracestate")


def baggage_of(text: str) -> str | None:
    return read_trace({"baggage": text}, TRACE_NAMES).get("baggage")


def test_what_is_valid_is_taken_as_it_is() -> None:
    said = {"traceparent": PARENT, "tracestate": 'rojo=00f0,congo@t=t61 \\"', "baggage": "a=1;p=2;q,b="}
    assert read_trace(said, TRACE_NAMES) == said
    assert read_trace(said, ("traceparent",)) == {"traceparent": PARENT}
    assert read_trace(said, ("baggage",)) == {"baggage": "a=1;p=2;q,b="}
    assert read_trace(said, ()) == {}


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "parent",
    [
        PARENT.upper(),
        PARENT.replace("00-", "01-", 1),
        PARENT.replace("00-", "ff-", 1),
        f"{PARENT}-00",
        PARENT[:-1],
        f"{PARENT}\n",
        f" {PARENT}",
        f"{PARENT}, {PARENT}",
        "00-" + "0" * 32 + "-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
        PARENT.replace("0af7", "0äf7"),
        PARENT.replace("0af7", "٠af7"),
        "",
        7,
        None,
        [PARENT],
    ],
)
def test_an_invalid_parent_counts_as_not_said_nor_does_its_state(parent: object) -> None:
    assert read_trace({"traceparent": parent, "tracestate": "a=1"}, TRACE_NAMES) == {}


def test_a_state_is_not_given_where_the_parent_is_not_wanted() -> None:
    assert read_trace({"traceparent": PARENT, "tracestate": "a=1"}, ("tracestate",)) == {}


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "state",
    [
        *(
            "a",
            "=1",
            "a=",
            "A=1",
            "-a=1",
            "a=1,a=2",
            "a=1=2",
            "a=ä",
            "a=1\n",
            "a=1\r\nX: y",
            "a=\0",
            MANY,
            "",
        ),
        *(f"{'k' * 257}=1", f"k={'v' * 257}", "a =1", " , ,"),
    ],
)
def test_an_invalid_state_is_left_out_and_its_parent_is_not(state: str) -> None:
    assert read_trace({"traceparent": PARENT, "tracestate": state}, TRACE_NAMES) == {"traceparent": PARENT}


def test_a_state_may_have_blanks_and_empty_members_and_is_as_long_as_the_standard_says() -> None:
    assert state_of("a=1 ,\t b=2,, ") == "a=1,b=2"
    assert state_of(MANY.rpartition(",")[0]) == MANY.rpartition(",")[0]
    assert state_of(f"{'k' * 256}=1") == f"{'k' * 256}=1"
    long = [f"k{number}={'v' * 200}" for number in range(5)]
    assert state_of(",".join(long)) == ",".join(long[:2])
    assert state_of(f"{'k' * 256}={'v' * 256}") is None


@pytest.mark.threat("T-GARBAGE")
@pytest.mark.parametrize(
    "text",
    [
        *(
            "a",
            "=1",
            "a=1;",
            "a=1;;p",
            "a=1;=2",
            'a="1"',
            "a=\\",
            "a=ä",
            "a=1\n",
            "a=1\r\nX: y",
            "a b=1",
            "a=1 2",
        ),
        *(",".join(["a=1"] * 65), "a=" + "v" * 8192, "", ","),
    ],
)
def test_invalid_baggage_is_left_out(text: str) -> None:
    assert baggage_of(text) is None


def test_baggage_may_have_blanks_around_its_signs_and_be_as_large_as_the_standard_says() -> None:
    assert baggage_of("a = 1 ; p\t= 2 ; q , b=%20") == "a=1;p=2;q,b=%20"
    assert baggage_of(",".join(["a=1"] * 64)) == ",".join(["a=1"] * 64)
    assert baggage_of("a=" + "v" * 8190) == "a=" + "v" * 8190


@given(states=states)
def test_every_state_of_the_grammar_is_taken(states: list[str]) -> None:
    assert state_of(" , ".join(states)) == ",".join(states)


@given(entries=entries)
def test_all_baggage_of_the_grammar_is_taken(entries: list[str]) -> None:
    assert baggage_of(",\t".join(entries)) == ",".join(entries)


@pytest.mark.threat("T-GARBAGE")
@given(said=st.fixed_dictionaries({}, optional=dict.fromkeys(TRACE_NAMES, anything)))
def test_whatever_is_said_what_is_taken_makes_one_line_each_and_is_taken_again(
    said: dict[str, object],
) -> None:
    found = read_trace(said, TRACE_NAMES)
    lines = header_lines(tuple(found.items()))
    [request] = RequestReader().feed(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")
    assert {name: value for name, value in request.headers.items() if name != "host"} == found
    assert read_trace(found, TRACE_NAMES) == found
    assert "tracestate" not in found or "traceparent" in found


@pytest.mark.parametrize("name", TRACE_NAMES)
def test_a_head_with_any_of_the_names_says_a_trace(name: str) -> None:
    assert says_trace({"host": "a", name: "?"})
    assert not says_trace({"host": "a", "x-" + name: "?"})

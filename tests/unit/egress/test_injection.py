"""Placeholders in, values out: for the right host, in the right place, and nowhere else."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote, quote_plus, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.injection import (
    RANDOM_BYTES,
    Injection,
    PlaceholderWatch,
    Planted,
    Prepared,
    names_placeholder,
    placeholder,
)
from sekisho.egress.masking import StreamReplacer
from sekisho.egress.tunnel import Target, judge_origin_request
from sekisho.errors import Misconfigured, Refused
from sekisho.policy.secrets import DEFAULT_PLACES, Place, SecretGrant, SecretHost, SecretReference

pytestmark = pytest.mark.threat("T-SECRET")

VALUE = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
MARK = placeholder(bytes(range(RANDOM_BYTES))).encode()
OTHER = placeholder(bytes(RANDOM_BYTES)).encode()
API = Target(host="api.example.com", port=80)


def planted(
    value: str = VALUE, host: str = "http://api.example.com", places: Sequence[Place] = DEFAULT_PLACES
) -> Planted:
    grant = SecretGrant(
        name="TOKEN",
        reference=SecretReference("env", "TOKEN"),
        hosts=(SecretHost.parse(host),),
        places=tuple(places),
    )
    return Planted(grant=grant, placeholder=MARK, value=value)


def prepared(
    line: bytes = b"GET / HTTP/1.1",
    *fields: bytes,
    one: Planted | None = None,
    target: Target = API,
    is_secure: bool = False,
) -> Prepared:
    host = target.host.encode()
    head = b"\r\n".join((line, b"Host: " + host, *fields, b"", b""))
    request = judge_origin_request(head, target)
    return Injection([planted() if one is None else one]).prepare(request, is_secure=is_secure)


def lines(found: Prepared) -> list[bytes]:
    return found.request.head.split(b"\r\n")


def test_a_placeholder_in_a_header_becomes_the_value_for_its_host() -> None:
    found = prepared(b"GET / HTTP/1.1", b"Authorization: Bearer " + MARK, b"X-Key: " + MARK)
    assert b"authorization: Bearer " + VALUE.encode() in lines(found)
    assert b"x-key: " + VALUE.encode() in lines(found)
    assert MARK not in found.request.head


def test_a_placeholder_inside_basic_credentials_becomes_the_value() -> None:
    basic = base64.b64encode(b"me:" + MARK)
    found = prepared(b"GET / HTTP/1.1", b"Authorization: Basic " + basic)
    sent = base64.b64encode(b"me:" + VALUE.encode())
    assert b"authorization: Basic " + sent in lines(found)
    assert (sent, basic) in found.masks  # a host that echoes the header echoes what the plugin wrote


def test_a_value_in_the_query_stays_one_part_of_it() -> None:
    found = prepared(b"GET /x?key=" + MARK + b"&q=1 HTTP/1.1", one=planted("a&b=c/../?#%20 d"))
    target = lines(found)[0].split(b" ")[1].decode()
    assert target == "/x?key=a%26b%3Dc%2F..%2F%3F%23%2520%20d&q=1"


def test_a_path_takes_a_secret_only_where_the_grant_says_so() -> None:
    line = b"POST /bot" + MARK + b"/send HTTP/1.1"
    with pytest.raises(Refused, match="does not go"):
        prepared(line)
    found = prepared(line, one=planted("12:ab/..", places=("path",)))
    assert lines(found)[0] == b"POST /bot12%3Aab%2F../send HTTP/1.1"


def test_a_grant_for_headers_alone_keeps_the_query_closed() -> None:
    with pytest.raises(Refused):
        prepared(b"GET /?k=" + MARK + b" HTTP/1.1", one=planted(places=("headers",)))


@pytest.mark.parametrize(
    "target", [Target(host="evil.example.com", port=80), Target(host="api.example.com", port=8080)]
)
def test_another_host_or_port_is_refused_and_never_sees_the_value(target: Target) -> None:
    head = b"GET / HTTP/1.1\r\nHost: %s:%d\r\nX: %s\r\n\r\n" % (target.host.encode(), target.port, MARK)
    request = judge_origin_request(head, target)
    with pytest.raises(Refused, match="not one of its secret's") as caught:
        Injection([planted()]).prepare(request, is_secure=False)
    assert caught.value.code == "secret_refused"
    assert VALUE not in str(caught.value)


def test_a_secret_for_tls_never_goes_out_in_the_clear() -> None:
    with pytest.raises(Refused):
        prepared(b"GET / HTTP/1.1", b"X: " + MARK, one=planted(host="https://api.example.com:80"))
    with pytest.raises(Refused):  # nor the other way round: what was written is what is meant
        prepared(b"GET / HTTP/1.1", b"X: " + MARK, is_secure=True)
    found = prepared(
        b"GET / HTTP/1.1", b"X: " + MARK, one=planted(host="https://api.example.com:80"), is_secure=True
    )
    assert VALUE.encode() in found.request.head


def test_the_placeholder_of_another_plugin_is_never_replaced() -> None:
    with pytest.raises(Refused):
        prepared(b"GET / HTTP/1.1", b"X: " + OTHER)


@pytest.mark.parametrize(
    "fields",
    [
        (b"X-" + MARK + b": 1",),  # in a name
        (b"X: " + MARK.upper(),),  # in capitals
        (b"X: " + MARK.replace(b"s", b"%73"),),
        (b"X: " + MARK.replace(b"s", b"%2573"),),
        (b"Authorization: Basic " + base64.b64encode(b"me:" + MARK.upper()),),
    ],
)
def test_a_disguised_placeholder_is_refused(fields: tuple[bytes, ...]) -> None:
    with pytest.raises(Refused):
        prepared(b"GET / HTTP/1.1", *fields)


def test_what_only_talks_about_placeholders_passes() -> None:
    text = b"see sekisho-secret-NAME and sekisho-secret-abc"
    found = prepared(b"GET /sekisho-secret- HTTP/1.1", b"X: " + text, b"Authorization: Basic !!!")
    assert text in found.request.head
    assert PlaceholderWatch().feed(text) == text


def test_a_placeholder_cut_in_two_headers_goes_out_as_it_came() -> None:
    found = prepared(b"GET / HTTP/1.1", b"A: " + MARK[:20], b"B: " + MARK[20:])
    assert VALUE.encode() not in found.request.head


@pytest.mark.parametrize(
    "value",
    ["a\r\nX-Evil: 1", "a\nb", "a\r", "\ta", " a", "a ", "pässword", "", "a\0b", "a\x7fb", "a\u2028b"],
)
def test_a_value_that_could_end_its_line_is_refused_and_not_repeated(value: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        planted(value)
    assert len(value) < 3 or value not in str(caught.value)


def test_a_value_with_blanks_inside_is_one_line_all_the_same() -> None:
    assert b"x: correct horse battery" in lines(
        prepared(b"GET / HTTP/1.1", b"X: " + MARK, one=planted("correct horse battery"))
    )


ODD = "aB+/=&<>\"'`\\ !*()~$,;:@#?%{x}|^[]z"
ECHOES = {
    "a form": quote_plus(ODD),
    "an address in small letters": re.sub("%..", lambda found: found[0].lower(), quote(ODD)),
    "encodeURIComponent": quote(ODD, safe="!'()*"),
    "Python's JSON": json.dumps(ODD),
    "Go's JSON": json.dumps(ODD).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
    "PHP's JSON": json.dumps(ODD).replace("/", "\\/"),
    ".NET's JSON": "".join(
        f"\\u{ord(one):04X}" if one in "\"'&+<>`" else "\\\\" if one == "\\" else one for one in ODD
    ),
    "Python's HTML": html.escape(ODD),
    "PHP's HTML": html.escape(ODD).replace("&#x27;", "&#039;"),
    "Go's HTML": html.escape(ODD).replace("&#x27;", "&#39;").replace("&quot;", "&#34;").replace("+", "&#43;"),
    "hexadecimal": ODD.encode().hex(),
    **{f"base64 behind {n}": base64.b64encode(b"x" * n + ODD.encode() + b"yz").decode() for n in range(3)},
    "base64 for addresses": base64.urlsafe_b64encode(b"Bearer " + ODD.encode() + b"!").decode(),
}


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("name", ECHOES)
def test_a_host_that_writes_it_back_in_its_own_way_tells_nothing(name: str) -> None:
    found = prepared(b"GET / HTTP/1.1", b"X: " + MARK, one=planted(ODD))
    mask = StreamReplacer(found.masks)
    shown = mask.feed(b"before " + ECHOES[name].encode() + b" behind") + mask.finish()
    assert MARK in shown
    assert len(shown) <= len(b"before ") + len(MARK) + len(b" behind") + len("QmVhcmVyI") + 4
    assert shown.startswith(b"before ")
    assert shown.endswith(b" behind")


def test_what_only_begins_like_it_or_is_another_passes() -> None:
    mask = StreamReplacer(prepared(b"GET / HTTP/1.1", b"X: " + MARK, one=planted(ODD)).masks)
    said = json.dumps({"a": ODD[:-1], "b": ODD.swapcase(), "c": ODD[::-1]}).encode()
    assert mask.feed(said) + mask.finish() == said


def test_the_value_shows_in_no_representation() -> None:
    one = planted()
    found = prepared(b"GET / HTTP/1.1", b"X: " + MARK, one=one)
    assert VALUE not in repr(one)
    assert VALUE not in repr(found)


def test_answers_are_asked_for_without_compression_where_a_secret_may_be_told() -> None:
    found = prepared(b"GET / HTTP/1.1", b"Accept-Encoding: gzip, br")
    assert b"accept-encoding: identity" in lines(found)
    assert (VALUE.encode(), MARK) in found.masks
    away = prepared(b"GET / HTTP/1.1", b"Accept-Encoding: gzip", target=Target(host="other.example", port=80))
    assert b"accept-encoding: gzip" in lines(away)
    assert away.masks == ()


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize(
    "line",
    [
        b"Range: bytes=0-9",
        b"Request-Range: bytes=0-9",  # Apache still takes it for the same
        b"If-Range: x",
        b"A-IM: range",
        b"ACCEPT-CHARSET: utf-16",
        b"X-Accept-Charset: utf-16",
    ],
)
def test_a_plugin_does_not_choose_in_which_pieces_a_secret_may_be_told(line: bytes) -> None:
    found = prepared(b"GET / HTTP/1.1", line)
    assert not [one for one in lines(found) if one.startswith(line.lower().partition(b":")[0] + b":")]
    away = prepared(b"GET / HTTP/1.1", line, target=Target(host="other.example", port=80))
    assert [one for one in lines(away) if one.lower() == line.lower()]


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize(
    ("sent", "goes_out"),
    [
        (b"text/plain;charset=utf-16", b"text/plain"),
        (b'a/b ; Charset = "ibm037" ; q=0.5, text/html', b"a/b  ; q=0.5, text/html"),
        (b"a/b;charset=utf-16;charset=ibm037,*/*;charset=", b"a/b,*/*"),
        (b"text/plain;q=0.5, */*;level=1", b"text/plain;q=0.5, */*;level=1"),
    ],
)
def test_a_plugin_does_not_choose_the_alphabet_of_what_may_tell_a_secret(
    sent: bytes, goes_out: bytes
) -> None:
    assert b"accept: " + goes_out in lines(prepared(b"GET / HTTP/1.1", b"Accept: " + sent))
    away = prepared(b"GET / HTTP/1.1", b"Accept: " + sent, target=Target(host="other.example", port=80))
    assert b"accept: " + sent in lines(away)
    assert b"content-type: a/b;charset=x" in lines(
        prepared(b"GET / HTTP/1.1", b"Content-Type: a/b;charset=x")
    )


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("alphabet", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_letters_of_two_or_four_bytes_hide_nothing(alphabet: str) -> None:
    found = prepared(b"GET / HTTP/1.1", b"X: " + MARK)
    mask = StreamReplacer(found.masks)
    said = f"before {VALUE} behind".encode(alphabet)
    shown = mask.feed(said[:30]) + mask.feed(said[30:]) + mask.finish()
    assert MARK in shown
    rest = shown.replace(MARK, b"").replace(
        b"\0", b""
    )  # letters of one byte order lie between those of the other
    assert rest == b"before  behind"


def test_a_secret_that_is_a_common_word_is_put_in_but_not_searched_in_answers() -> None:
    basic = b"Authorization: Basic " + base64.b64encode(b"me:" + MARK)
    found = prepared(b"GET / HTTP/1.1", basic, one=planted("password"))
    assert found.masks == ()
    assert b"authorization: Basic " + base64.b64encode(b"me:password") in lines(found)


@given(st.lists(st.integers(0, len(MARK)), max_size=6), st.binary(max_size=40), st.booleans())
def test_a_body_with_a_placeholder_is_refused_however_it_is_cut(
    cuts: list[int], around: bytes, is_encoded: bool
) -> None:
    mark = b"".join(b"%%%02x" % one for one in MARK) if is_encoded else MARK
    data = around.replace(b"%", b"") + mark + around
    watch = PlaceholderWatch()
    edges = [0, *sorted(one * len(data) // len(MARK) for one in cuts), len(data)]
    with pytest.raises(Refused, match="in the content"):
        b"".join(watch.feed(data[start:end]) for start, end in pairwise(edges))


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_a_body_without_one_passes_unchanged(pieces: list[bytes]) -> None:
    watch = PlaceholderWatch()
    assert [watch.feed(piece) for piece in pieces] == pieces


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60))
def test_a_value_in_the_query_reads_back_as_itself_and_adds_nothing(value: str) -> None:
    found = prepared(b"GET /x?a=" + MARK + b"&b=2 HTTP/1.1", one=planted(value))
    query = lines(found)[0].split(b" ")[1].decode().partition("?")[2]
    first, second = query.split("&")
    assert (unquote(first.removeprefix("a=")), second) == (value, "b=2")


@given(st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES))
def test_every_placeholder_is_recognised(random: bytes) -> None:
    with pytest.raises(Refused):
        PlaceholderWatch().feed(placeholder(random).encode())


def test_a_placeholder_in_a_host_name_is_noticed() -> None:
    assert names_placeholder(MARK.decode() + ".example.com")
    assert not names_placeholder("api.example.com")
    assert not names_placeholder("sekisho-secret-keeper.example.com")

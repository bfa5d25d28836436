"""What stands before a place is taken away, and a list is cut where its readers cut it; prose and patterns stay whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.policy.named_places import named_places
from sekisho.policy.place_lists import MAX_LIST_CHARS, MAX_PARTS, MAX_VARIABLES, bare, begins_address, parts

HARMLESS = [
    "and/or",
    "w/o",
    "TCP/IP",
    "2026/01/02",
    "12:30/13:45",
    "2026-01-02T10:00:00+01:00",
    "text/html;q=0.9,*/*;q=0.8",
    "application/vnd.api+json;charset=utf-8",
    "refs/heads/main:refs/heads/x",
    "HEAD:src/x",
    "HEAD^{/fix}",
    "origin/main..feature/x",
    "main...topic",
    "range:1..5",
    "^/api/v[0-9]+/users$",
    "(?:/[a-z]+)*",
    "[:/a-z]+",
    "[,/\\w]",
    "https?://[^\\s]+",
    "\\d{4}/\\d{2}/\\d{2}",
    "^(\\w+):/(\\d+)$",
    ":/",
    ":-/",
    ":~)",
    "a,~b",
    "10.0.0.0/8,192.168.0.0/16",
    "@scope/package@1.2.3",
    "registry.example:5000/img:tag",
    "data:image/jpeg;base64,/9j/4AAQSkZJRg",
    '{"a":"/x","b":[1]}',
    "[text](https://evil.example)",
    "</div>",
    "*/5",
    "s/a/b/",
    "-1/2",
    "costs:$5/month",
    "see -f/etc/x in the manual, or x:/y",
    "alice@mail.example",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_place_names_none(text: str) -> None:
    assert list(named_places(text)) == []


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("-f/etc/x", "/etc/x"),
        ("-f /etc/x", "/etc/x"),
        ("-f:C:\\x", "C:\\x"),
        ("--out=name", "name"),
        ('--out="@/etc/x"', "/etc/x"),
        ("of=/etc/x", "/etc/x"),
        ("unix:/etc/x", "/etc/x"),
        ("link:../x", "../x"),
        (">>/etc/x", "/etc/x"),
        ("|/bin/sh", "/bin/sh"),
        ("<https://evil.example>", "https://evil.example"),
        ("https://a.example", "https://a.example"),
        ("file:/etc/x", "file:/etc/x"),
        ("note: /x", "note: /x"),
        ("- /x", "- /x"),
    ],
)
def test_what_stands_before_a_place_is_taken_away(text: str, rest: str) -> None:
    assert bare(text) == rest


@pytest.mark.parametrize(
    ("text", "is_place", "found"),
    [
        ("/a:/b", True, ["/a", "/b"]),
        ("/a/..:b", True, ["/a/.."]),
        ("C:\\a;C:\\b", True, ["C:\\a", "C:\\b"]),
        ("/a /b c", True, ["/a", "/b"]),
        ("/a b", True, ["/a"]),
        ("/a", True, []),
        ("https://a/x,y", True, ["https://a/x"]),
        ("https://a/x,https://b", True, ["https://a/x", "https://b"]),
        ("x,/a", False, ["x", "/a"]),
        ("x ,/a", False, []),
        ("data:,/a", False, []),
    ],
)
def test_a_list_is_cut_where_its_readers_cut_it(text: str, is_place: bool, found: list[str]) -> None:
    assert list(parts(text, is_place=is_place)) == found


def test_a_list_longer_than_can_be_looked_at_lies_nowhere() -> None:
    assert list(parts(":".join(["/a"] * MAX_PARTS), is_place=True))[-1] == "/a"
    assert list(parts(":".join(["/a"] * (MAX_PARTS + 1)), is_place=True))[-1] == "/"
    assert list(parts("/a:/b" + "b" * MAX_LIST_CHARS, is_place=True)) == ["/"]


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("is_place", [True, False])
def test_a_list_of_too_many_variables_lies_nowhere(is_place: bool) -> None:
    assert list(parts(",${" * (MAX_VARIABLES + 1), is_place=is_place)) == ["/"]
    assert list(parts(",${" * MAX_VARIABLES, is_place=is_place)) != ["/"]
    assert "${A}/x" in parts("a,${A}/x" + ",${B}" * (MAX_VARIABLES - 1), is_place=is_place)


def test_long_data_is_no_list() -> None:
    assert list(parts("/+MYxA" * MAX_LIST_CHARS, is_place=True)) == []
    assert list(parts("x,/a" * MAX_LIST_CHARS, is_place=False)) == []


def test_an_address_begins_with_its_scheme() -> None:
    assert begins_address("jar:file:///x")
    assert begins_address("http:x")
    assert not begins_address("http: x")
    assert not begins_address("unix:/x")


@given(st.text(), st.booleans())
def test_every_part_stands_in_the_text_unless_there_are_too_many(text: str, is_place: bool) -> None:
    assert bare(text) in text
    assert all(part in text or part == "/" for part in parts(text, is_place=is_place))


@given(st.text(alphabet="/\\:;,= a.~$-@\"'<>()[]", max_size=60), st.booleans())
def test_signs_alone_are_cut_without_an_error(text: str, is_place: bool) -> None:
    assert len(list(parts(text, is_place=is_place))) <= MAX_PARTS + 1

"""What RFC 6570 makes from a template matches it, and no template and no URI can make matching slow."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import RemoteProtocolError
from sekisho.protocol.uri_template import MAX_URI_CHARS, MAX_VARIABLES, UriTemplate, UriText

RESERVED = ":/?#[]@!$&'()*+,;="
UNRESERVED_MARKS = "-._~"
# operator: (first, separator, are values named, is "=" written before an empty value, characters left as they are)
OPERATORS = {
    "": ("", ",", False, False, UNRESERVED_MARKS),
    "+": ("", ",", False, False, RESERVED + UNRESERVED_MARKS),
    "#": ("#", ",", False, False, RESERVED + UNRESERVED_MARKS),
    ".": (".", ".", False, False, UNRESERVED_MARKS),
    "/": ("/", "/", False, False, UNRESERVED_MARKS),
    ";": (";", ";", True, False, UNRESERVED_MARKS),
    "?": ("?", "&", True, True, UNRESERVED_MARKS),
    "&": ("&", "&", True, True, UNRESERVED_MARKS),
}
NAMES = ("a", "b", "long_name", "x.y")
Expression = tuple[str, tuple[str, ...]]


def expanded(expression: Expression, values: Mapping[str, str]) -> str:
    """RFC 6570 section 3.2, for text values."""
    operator, names = expression
    first, separator, is_named, writes_empty, safe = OPERATORS[operator]
    pieces = []
    for name in names:
        if name not in values:
            continue
        value = quote(values[name], safe=safe)
        named = f"{name}={value}" if value or writes_empty else name
        pieces.append(named if is_named else value)
    return first + separator.join(pieces) if pieces else ""


EXPRESSIONS = st.tuples(
    st.sampled_from(sorted(OPERATORS)), st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple)
)
LITERALS = st.text("ab/:.?=&-é %", max_size=6).map(lambda text: text.replace("%", "%41"))
PARTS = st.lists(st.one_of(EXPRESSIONS, LITERALS), min_size=1, max_size=6)
VALUES = st.dictionaries(
    st.sampled_from(NAMES), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)


def written(parts: list[Expression | str]) -> str:
    return "".join(
        part if isinstance(part, str) else "{" + part[0] + ",".join(part[1]) + "}" for part in parts
    )


@given(parts=PARTS, values=VALUES)
def test_what_a_template_makes_matches_it(parts: list[Expression | str], values: dict[str, str]) -> None:
    text = written(parts)
    uri = "".join(
        quote(part, safe=RESERVED + UNRESERVED_MARKS + "%")
        if isinstance(part, str)
        else expanded(part, values)
        for part in parts
    )
    if text and uri:
        assert UriTemplate.parse(text).matches(uri)


# Examples of RFC 6570 section 1.2 with var=value, hello="Hello World!", path=/foo/bar, x=1024, y=768, empty="".
RFC_EXAMPLES = [
    ("{var}", "value"),
    ("{hello}", "Hello%20World%21"),
    ("{+var}", "value"),
    ("{+hello}", "Hello%20World!"),
    ("{+path}/here", "/foo/bar/here"),
    ("here?ref={+path}", "here?ref=/foo/bar"),
    ("X{#var}", "X#value"),
    ("X{#hello}", "X#Hello%20World!"),
    ("map?{x,y}", "map?1024,768"),
    ("{x,hello,y}", "1024,Hello%20World%21,768"),
    ("{+x,hello,y}", "1024,Hello%20World!,768"),
    ("{+path,x}/here", "/foo/bar,1024/here"),
    ("{#x,hello,y}", "#1024,Hello%20World!,768"),
    ("{#path,x}/here", "#/foo/bar,1024/here"),
    ("X{.var}", "X.value"),
    ("X{.x,y}", "X.1024.768"),
    ("{/var}", "/value"),
    ("{/var,x}/here", "/value/1024/here"),
    ("{;x,y}", ";x=1024;y=768"),
    ("{;x,y,empty}", ";x=1024;y=768;empty"),
    ("{?x,y}", "?x=1024&y=768"),
    ("{?x,y,empty}", "?x=1024&y=768&empty="),
    ("?fixed=yes{&x}", "?fixed=yes&x=1024"),
    ("{&x,y,empty}", "&x=1024&y=768&empty="),
]


@pytest.mark.parametrize(("template", "uri"), RFC_EXAMPLES)
def test_the_examples_of_the_specification_match(template: str, uri: str) -> None:
    assert UriTemplate.parse(template).matches(uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("test://t/{id}/data", "test://t/1/2/data"),
        ("test://t/{id}/data", "test://t/1/data/"),
        ("test://t/{id}/data", "xtest://t/1/data"),
        ("test://t/{id}", "test://t/a?b"),
        ("test://t/{id}", "test://t/a#b"),
        ("test://t/{id}", "test://t/a b"),
        ("test://t/{id}", "test://t/a\nb"),
        ("test://t/{id}", "test://t/a\x00"),
        ("test://t/{id}", "test://t/%zz"),
        ("test://t/{id}", "test://t/%4"),
        ("test://t/{id}", "test://t/<a>"),
        ("test://t/{id}", "test://t/\ud800"),
        ("test://t/.*", "test://t/abc"),
        ("t{/a,b}", "t/1/2/3"),
        ("t{?a,b}", "t?b=1&a=2"),
        ("t{?a}", "t?c=1"),
        ("t{?a}", "t?a"),
        ("t{?a}", "t?a=1&c=2"),
        ("t{&a}", "t?a=1"),
        ("t{#a}", "tx"),
        ("{a}", ""),
    ],
)
def test_anything_else_does_not_match(template: str, uri: str) -> None:
    assert not UriTemplate.parse(template).matches(uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("file:///{path*}", "file:///a/b/c.txt"),
        ("t{/path*}", "t/a/b"),
        ("t{?query*}", "t?any=1&name=2"),
        ("t{&query*}", "t&any=1"),
        ("t{;query*}", "t;any=1"),
        ("t/{name:3}", "t/longer"),
        ("t/{e-mail}", "t/aya@example.com"),
        ("notes://größe/{id}", "notes://größe/1"),
        ("notes://größe/{id}", "notes://gr%C3%B6%C3%9Fe/1"),
        ("t/{id}", "t/ü"),
    ],
)
def test_what_servers_and_clients_write_in_the_field_matches_too(template: str, uri: str) -> None:
    assert UriTemplate.parse(template).matches(uri)


@pytest.mark.parametrize(
    "text",
    ["", "{", "}", "a{", "{a", "a}", "{}", "{a,}", "{=a}", "{|a}", "{a b}", "{a{b}}", "{a:x}", "%zz", "x" * 2049,
     "{" + ",".join(["a"] * (MAX_VARIABLES + 1)) + "}", "{a}" * (MAX_VARIABLES + 1)],
)  # fmt: skip
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as refusal:
        UriTemplate.parse(text)
    assert refusal.value.code == "plugin_protocol"


@given(st.text(max_size=40))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        template = UriTemplate.parse(text)
    except RemoteProtocolError:
        return
    template.matches(text)


@given(st.text("ab{}?/#&;+.,*:", max_size=24), st.text("ab?/#&;+.,=%4", max_size=24))
def test_one_character_more_than_a_literal_never_matches_it(text: str, uri: str) -> None:
    if "{" not in text and "}" not in text and text:
        assert UriTemplate.parse(text).matches(uri) is (text == uri)


class Counted(UriText):
    """Counts how often a whole pass over the URI is made."""

    passes = 0

    def after_literal(self, places: int, literal: bytes) -> int:
        self.passes += len(literal)
        return super().after_literal(places, literal)

    def after_run(self, places: int, table: bytes) -> int:
        self.passes += 1
        return super().after_run(places, table)


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(
    "template", ["{a}a" * 63 + "b", "{a,b}{c}{d}b", "{/a,b,c,d,e,f,g,h,i,j}b", "{+a}{+b}{+c}b"]
)
def test_the_work_of_a_match_does_not_multiply_with_the_length_of_the_uri(template: str) -> None:
    parsed = UriTemplate.parse(template)
    passes = []
    for length in (200, 500, 2000):
        uri = Counted("a" * length)
        assert not parsed.matches(uri)
        passes.append(uri.passes)
    assert passes[0] == passes[1] == passes[2] <= 3 * len(template)


@pytest.mark.threat("T-FLOOD")
def test_an_endless_uri_matches_nothing_and_an_honest_one_does() -> None:
    parsed = UriTemplate.parse("{+a}")
    assert parsed.matches("a" * MAX_URI_CHARS)
    assert not parsed.matches("a" * (MAX_URI_CHARS + 1))
    assert not parsed.matches("é" * MAX_URI_CHARS)

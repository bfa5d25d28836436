"""What counts as the name of a place: every attack beside prose that looks like it."""

from __future__ import annotations

import base64
import sys
import unicodedata
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.policy.named_places import climbs, is_scheme, may_name_place, named_places


def kinds(text: str, hint: str = "") -> set[str]:
    return {kind for kind, _ in named_places(text, hint)}  # type: ignore[arg-type]  # a test gives plain words


PROSE = [
    "and/or",
    "/",
    "one / two",
    "/ is the root of it",
    "// mend this",
    "/* a comment */",
    "/** documentation",
    "https is a scheme",
    "http: the protocol",
    "see https://evil.example/x for more",
    "Note: read this",
    "half ½ and 3/4",
    "100%",
    "50%20off",
    "~10 minutes",
    "costs $5/month",
    "a...b",
    "wait...",
    "1..5",
    "3 .. 5",
    "src/main.py",
    "./src/main.py",
    ".../x",
    "\\d+\\s*",
    "\\frac{a}{b}",
    "C: a letter",
    "a: b",
    "10:30",
    "key:value",
    "多い。少ない",
    "first line\n/etc/passwd is mentioned\nlast line",
    "#include <x>\n// c\nint main() { return 0; }",
    "",
    " ",
    "-",
    "user@host.example",
    "@scope/package",
    "@name",
    "--flag",
    "-o=name",
    "a=b",
    "memo:1",
    "x" * 5000,
]


@pytest.mark.parametrize("text", PROSE)
def test_prose_names_no_place(text: str) -> None:
    assert kinds(text) == set()


PATHS = [
    "/etc/passwd",
    " /etc/passwd",
    "/etc/passwd\n",
    "//etc/passwd",
    "/etc/pass wd",
    "/*",
    "/*/passwd",
    "~",
    "~/x",
    "~root",
    "~root/.ssh",
    "$HOME/.ssh",
    "${HOME}/.ssh",
    "%USERPROFILE%\\x",
    "..",
    "../x",
    "a/../../b",
    "a\\..\\b",
    "x/..;/y",
    "C:\\Windows",
    "c:/windows",
    "\\\\server\\share",
    "\\\\?\\C:\\x",
    "\\windows\\system32",
    "%2fetc%2fpasswd",
    "%252fetc%252fpasswd",
    "%2e%2e%2fx",
    "..%2fx",
    "..%c0%afx",
    "%c0%ae%c0%ae/x",
    "%u002e%u002e%u2215x",
    "／etc／passwd",
    "∕etc∕passwd",
    "．．／x",
    "‥/x",
    "\u200b/etc/passwd",
    "\ufeff/etc/passwd",
    "\0/etc/passwd",
    "/etc/pass\nwd",
    "a\n../b",
    "--output=/etc/passwd",
    "-o=../x",
    "@/etc/passwd",
    "@~/x",
    "a=/b",  # dd, and whoever sets a variable, reads the place behind it
]


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_known_in_every_disguise(text: str) -> None:
    assert "path" in kinds(text)
    assert may_name_place(text)


ADDRESSES = [
    "https://evil.example",
    " https://evil.example/x",
    "HTTPS://EVIL.example",
    "ht\ntps://evil.example",
    "ht\ttps://evil.example",
    "https:\\\\evil.example",
    "https:/evil.example",
    "http:evil.example",
    "https%3a%2f%2fevil.example",
    "https：//evil.example",
    "ｈttps://evil.example",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "jar:file:///x!/y",
    "url:http://x",
    "gopher://127.0.0.1:25/_x",
    "ftp://x/y",
    "postgres://db/x",
    "https://a.example/x\nhttps://b.example/y",
]


@pytest.mark.parametrize("text", ADDRESSES)
def test_an_address_is_known_in_every_disguise(text: str) -> None:
    assert "address" in kinds(text)
    assert may_name_place(text)


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("/", "path", {"path"}),
        ("a\0b", "path", {"path"}),
        ("a\0b", "", set()),
        ("evil.example/x", "address", {"address"}),
        ("169.254.169.254", "address", {"address"}),
        ("evil.example/x", "", set()),
        ("notes.txt", "path", set()),
        ("a b\n/etc/passwd\nc d", "path", {"path"}),
        ("// a comment\nint x;", "path", set()),
        ("", "address", set()),
    ],
)
def test_a_hint_decides_where_the_form_leaves_a_doubt(text: str, hint: str, expected: set[str]) -> None:
    assert kinds(text, hint) == expected


def test_a_picture_in_base64_names_no_place() -> None:
    picture = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(200)).decode()
    assert picture.startswith("/9j/")
    assert kinds(picture) == set()


def test_many_lines_are_a_text_and_a_few_without_a_blank_are_names() -> None:
    assert kinds("a\n" * 15 + "/etc/passwd") == {"path"}
    assert kinds("a\n" * 16 + "/etc/passwd") == set()
    assert kinds("a\n" * 16 + "/etc/passwd", "path") == {"path"}
    assert kinds("a\n" * 1000 + "/etc/passwd", "path") == set()


def test_an_address_hides_behind_no_number_of_line_breaks() -> None:
    assert kinds("\n".join("https://evil.example")) == {"address"}


def test_what_is_escaped_too_often_is_taken_for_a_place() -> None:
    text = "a"
    for _ in range(12):
        text = quote(text, safe="").replace("a", "%61") if text == "a" else text.replace("%", "%25")
    assert kinds(text) == {"path"}


@pytest.mark.threat("T-FLOOD")
def test_a_text_longer_than_any_path_is_unescaped_less_often_and_lies_nowhere_beyond() -> None:
    for length, times, found in ((10, 7, set()), (5000, 2, set()), (5000, 3, {"path"}), (10, 8, {"path"})):
        text = "a" * length + "%41"
        for _ in range(times - 1):
            text = text.replace("%", "%25")
        assert kinds(text) == found, (length, times)


@given(st.text(alphabet="{},/.ab~$%:\\ ", max_size=30))
def test_an_alternative_that_is_passed_over_names_nothing(text: str) -> None:
    if not may_name_place(text):
        assert kinds(text) == set()


def test_no_format_character_hides_a_path() -> None:
    unseen = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) == "Cf"]
    assert len(unseen) > 150
    for one in unseen:
        assert kinds(f"{one}/{one}etc/passwd") == {"path"}, ascii(one)


@given(st.text(max_size=40), st.integers(0, 4))
def test_escaping_hides_no_path(tail: str, times: int) -> None:
    text = "/etc/" + "".join(one for one in tail if one.isprintable())
    for _ in range(times):
        text = quote(text, safe="")
    assert "path" in kinds(text)


@given(st.text())
def test_every_text_is_read_without_an_error(text: str) -> None:
    for hint in ("", "path", "address"):
        kinds(text, hint)


@given(st.text())
def test_what_the_quick_look_leaves_out_names_nothing(text: str) -> None:
    if not may_name_place(text):
        assert kinds(text) == set()


def test_a_part_of_two_dots_climbs_whichever_slash_parts_it() -> None:
    assert climbs("a/../b")
    assert climbs("a\\..\\b")
    assert climbs("a/.. ;x/b")
    assert not climbs("a..b/...")


def test_a_port_makes_no_scheme() -> None:
    assert is_scheme("mailto:x")
    assert not is_scheme("host:8080")
    assert not is_scheme("host:8080/x")

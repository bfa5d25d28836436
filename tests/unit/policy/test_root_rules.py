"""Which calls leave the core towards a plugin with roots, and which never do."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekisho.errors import Refused
from sekisho.policy.root_rules import (
    MAX_LOOKS,
    MAX_OWN,
    MAX_READ_CHARS,
    RootRules,
    hint_of_name,
    hints_of_schema,
)
from sekisho.policy.roots import Root

RULES = RootRules(
    (
        Root(uri="file:///app/trusted", name="", read=True),
        Root(uri="file:///srv/donn%C3%A9es", name="", read=True),
        Root(uri="https://api.example.com", name="", reaches=(("api.example.com", 443),)),
        Root(uri="https://v.example.com:8443/v1", name="", reaches=(("v.example.com", 8443),)),
        Root(uri="http://plain.example.com", name="", reaches=(("plain.example.com", 80),)),
    )
)

WITHIN = [
    "/app/trusted",
    "/app/trusted/",
    "/app/trusted/a b/c.txt",
    "/app//trusted/./x",
    "/app/trusted/x/../y",
    "/srv/données/x",
    "/app/trusted/%61",
    "file:///app/trusted/x",
    "file://localhost/app/trusted/x",
    "https://api.example.com",
    "https://api.example.com/",
    "HTTPS://API.example.com/x?y=https://other.example#z",
    "https://api.example.com:443/a%40b",
    "wss://api.example.com/stream",
    "https://v.example.com:8443/v1/x",
    "http://plain.example.com/x",
    "a/../b",
    "notes.txt",
    "and/or",
    "see https://evil.example for more",
    "file:app/trusted/main.py",
    "",
    "/app/trusted/{a,b}.{ts,tsx}",
    "src/{a,b}/*.md",
    "**/*.{ts,tsx}",
    "{a,b}",
    "{.,x}/a",
    "{x,y}/a",
    "{a,{b,c}}/{d,e}",
    "${name}, hello",
    '{"from":"a/../b","to":"c"}',
    '["a/../b",{"x":1,"y":2}]',
    '{"path":"/x","y":1}',
    "file=@/app/trusted/x",
    "unix:/app/trusted/s",
    "-f/app/trusted/x",
    "--opt=/app/trusted/x",
    "--opt /app/trusted/x",
    '"/app/trusted/x"',
    "/app/trusted/a:/app/trusted/b",
    "/app/trusted/a:b",
    "/app/trusted/a b/c (1).txt",
    "/app/trusted/x=y",
    "https://api.example.com/a;v=1/b,c?x=1,2&u=https://other.example",
    "https://api.example.com/x,https://api.example.com/y",
    "/etc/" + "a" * 5000,  # longer than what any kernel opens
]
OUTSIDE = [
    "/app/trusted2",
    "/app",
    "/APP/trusted",
    "/app/trusted/../x",
    "/app/trusted/..%2fx",
    "/app/trusted\\..\\..\\etc",
    "/app/trusted/x\\..\\..\\..\\etc",
    "/app/trusted/\0",
    "/etc/passwd",
    "~/x",
    "~",
    "~/../x",
    "~somebody/../x",
    "$HOME/../x",
    "%TEMP%/../x",
    "\\\\server/../x",
    "C:\\..\\x",
    "C:\\app\\trusted",
    "\\\\server\\app",
    "../app/trusted",
    "a/../../b",
    "..",
    "file:///etc/passwd",
    "file:/etc/passwd",
    "file://evil.example/app/trusted",
    "file:///app/trusted/%2e%2e/x",
    "file:///app/trusted/?/../../x",
    "file:../x",
    "file:x/../app/trusted",
    "file:///app/trusted/x\\y",
    "file:main.py",  # /main.py for whoever reads addresses as browsers do
    "file:etc/passwd",
    "/app/trusted/{..,x}/../etc",
    "/app/trusted/{a,}/../x",
    "/app/trusted/{a/b,c}/../../x",
    "/app/trusted{,/../..}/x",
    "/app/trusted/{.,}{.,}/x",
    "{.,}{.,}/x",
    "{..,x}/{..,x}/x",
    "{/etc/passwd,x}",
    "{x,~/.ssh}/y",
    "{,x}/etc",
    "{{,},{,x}}/etc",
    "{x,{y,/etc}}/z",
    '{",}/../{etc,}',
    "file=@/etc/passwd",
    "--data-binary @/etc/passwd",
    "-d@/etc/passwd",
    "${HOME:-/etc}/passwd",
    "x=${HOME%/*}/y",
    "https://evil.example",
    "https://api.example.com.evil.example",
    "https://evilapi.example.com",
    "https://api.example.com@evil.example",
    "https://api.example.com:x@evil.example",
    "https://user@api.example.com",
    "https://evil.example\\@api.example.com",
    "https://evil.example\\.api.example.com",
    "https:\\\\api.example.com",
    "https:/api.example.com",
    "https:///api.example.com",
    "https:api.example.com",
    "https://api.example.com:80",
    "https://api.example.com:444443",
    "https://api.example.com.",
    "https://api。example.com",
    "http://api.example.com",
    "https://plain.example.com",
    "https://127.0.0.1",
    "https://2130706433",
    "https://[::1]",
    "https://0x7f.1",
    "https://api.example.com is nice",
    "https://v.example.com/v1",
    "https://v.example.com:8443/",
    "https://v.example.com:8443/v2",
    "https://v.example.com:8443/v10",
    "https://v.example.com:8443/v1/../v2",
    "https://v.example.com:8443/v1/%2e%2e/v2",
    "ftp://api.example.com",
    "postgres://api.example.com",
    "view-source:https://api.example.com",
    "ht\ntps://evil.example",
    "https://api.example.com/\nhttps://evil.example",
    "unix:/run/docker.sock",
    "sqlite:/etc/x",
    "-f/etc/x",
    "-f /etc/x",
    "of=/etc/x",
    "/app/trusted/a:/etc",
    "/app/trusted/..:foo",
    "/app/trusted/x/../..:/app/trusted",
    "/app/trusted/x:a/../../b",
    "/app/trusted/a /etc/passwd",
    "/app/trusted/a;/etc",
    "/app/trusted/a:~",
    "/app/trusted/a:/",
    "file:/app/trusted/x:/etc",
    "file:///app/trusted/x:/etc",
    "https://api.example.com/x,https://evil.example",
    "https://api.example.com/x;/etc/passwd",
    "git@api.example.com:org/x.git",
    "%75nix%3a%2fetc%2fx",
]


def is_refused(arguments: object, **more: object) -> bool:
    try:
        RULES.check_arguments(arguments, **more)  # type: ignore[arg-type]  # a test passes what it is about
    except Refused as error:
        return error.code == "root_refused"
    return False


@pytest.mark.parametrize("text", WITHIN)
def test_a_place_within_the_roots_passes(text: str) -> None:
    assert not is_refused({"x": text})


@pytest.mark.parametrize("text", OUTSIDE)
def test_a_place_outside_is_refused_wherever_it_stands(text: str) -> None:
    assert is_refused({"x": text})
    assert is_refused({"x": [{"y": [0, text]}]})
    assert is_refused({"x": {text: 1}})


def test_numbers_and_nothing_name_no_place() -> None:
    assert not is_refused({"a": 1, "b": None, "c": True, "d": [1.5], "e": {}})


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ({"path": "/"}, True),
        ({"separator": "/"}, False),
        ({"url": "evil.example"}, True),
        ({"url": "api.example.com/x"}, False),
        ({"image_urls": ["evil.example/x.png"]}, True),
        ({"host": "v.example.com:8443"}, True),
        ({"host": "v.example.com:8443/v1"}, False),
        ({"host": "169.254.169.254"}, True),
        ({"url": "mailto:x@evil.example"}, True),
        ({"url": "data:text/plain,x"}, False),
        ({"title": "evil.example"}, False),
        ({"file": "a\0b"}, True),
        ({"text": "a\0b"}, False),
    ],
)
def test_the_name_of_a_property_decides_a_doubt(arguments: object, refused: bool) -> None:
    assert is_refused(arguments) is refused


def test_the_format_of_a_schema_decides_a_doubt() -> None:
    schema = {
        "type": "object",
        "properties": {"where": {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}]}},
    }
    assert not is_refused({"where": "evil.example"})
    assert is_refused({"where": "evil.example"}, definition="d", schema=lambda: schema)
    assert is_refused({"where": "evil.example"}, definition="d", schema=dict), "a schema is read once"


def test_a_schema_without_end_is_looked_at_to_a_depth() -> None:
    schema: dict[str, object] = {"properties": {"a": {"format": "path"}}}
    schema["allOf"] = [schema]
    assert hints_of_schema(schema) == {"a": "path"}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("path", "path"),
        ("filePath", "path"),
        ("base_url", "address"),
        ("imageURL", "address"),
        ("URL", "address"),
        ("pathology", ""),
        ("profile", ""),
        ("title", ""),
        ("", ""),
        ("日本", ""),
    ],
)
def test_a_hint_is_the_last_word_of_a_name(name: str, hint: str) -> None:
    assert hint_of_name(name) == hint


def test_a_plugins_own_resource_may_be_named_and_a_place_of_the_world_is_never_its_own() -> None:
    assert is_refused({"uri": "memo://a%20b"})
    assert not is_refused({"uri": "memo://a%20b"}, offers=lambda uri: uri == "memo://a%20b")
    assert is_refused({"uri": "memo://a/../b"}, offers=lambda _: True)
    assert is_refused({"uri": "file:///etc/passwd"}, offers=lambda _: True)
    assert is_refused({"uri": "https://evil.example"}, offers=lambda _: True)
    assert is_refused({"uri": "memo%3a//x"}, offers=lambda _: True)


@pytest.mark.parametrize(
    ("uri", "refused"),
    [
        ("memo://1", False),
        ("ui://widget/1", False),
        ("readme", False),
        ("file:///app/trusted/x", False),
        ("https://api.example.com/x", False),
        ("file:///etc/passwd", True),
        ("file:///app/trusted/../x", True),
        ("FILE:///etc/passwd", True),
        ("https://evil.example", True),
        ("repo://a/../../etc", True),
        ("repo://a/%2e%2e/%2e%2e/etc", True),
        ("/etc/passwd", True),
        ("jar:file:///etc/passwd", True),
    ],
)
def test_a_resource_is_judged_by_its_uri(uri: str, refused: bool) -> None:
    try:
        RULES.check_resource(uri)
    except Refused:
        assert refused
    else:
        assert not refused


def test_a_refusal_names_the_argument_and_never_what_stood_in_it() -> None:
    with pytest.raises(Refused, match=r"argument 'a' names a place outside") as caught:
        RULES.check_arguments({"a": {"b": "/etc/secret-of-somebody"}})
    assert "secret" not in str(caught.value)
    with pytest.raises(Refused, match="an argument names"):
        RULES.check_arguments({"/etc/secret": "x"})


def test_a_call_names_a_bounded_number_of_places_and_any_number_of_words() -> None:
    RULES.check_arguments({"x": ["/app/trusted/a"] * MAX_LOOKS, "y": ["word"] * 10_000})
    with pytest.raises(Refused, match="more than 2000 places"):
        RULES.check_arguments({"x": ["/app/trusted/a"] * (MAX_LOOKS + 1)})


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize(
    "unit", ["/app/trusted/x/", "{a,/app/trusted/b}", "/app/trusted/" + "a" * 120 + ":", "%41%42 "]
)
def test_what_costs_more_than_a_look_is_bounded_in_all_texts_together(unit: str) -> None:
    text = unit * (20_000 // len(unit))
    RULES.check_arguments({"x": text})
    many = {"x": [text + str(number) for number in range(MAX_READ_CHARS // len(text) + 1)]}
    with pytest.raises(Refused, match=f"more than {MAX_READ_CHARS} characters"):
        RULES.check_arguments(many)


@pytest.mark.parametrize(
    "unit",
    ["YWJj/2E+", "a word, and/or a price of $5: 100 %. ", "道（全角）：", '["/", "x"],', "a/b{c,d}e\n"],
)
def test_contents_of_any_length_pass(unit: str) -> None:
    RULES.check_arguments({"content": "[" + unit * (2 * MAX_READ_CHARS // len(unit))})


@pytest.mark.threat("T-FLOOD")
def test_whether_an_address_is_the_plugins_own_is_asked_once_of_each_and_not_of_too_many() -> None:
    asked: list[str] = []

    def offers(uri: str) -> bool:
        asked.append(uri)
        return True

    own = [f"memo://{number}%41" for number in range(MAX_OWN)]  # in two readings
    RULES.check_arguments({"uri": own * 3}, offers=offers)
    assert asked == own
    with pytest.raises(Refused, match=f"more than {MAX_OWN} resources"):
        RULES.check_arguments({"uri": [*own, "memo://more"]}, offers=offers)
    assert len(asked) == 2 * MAX_OWN


def test_without_roots_every_place_is_outside_and_words_still_pass() -> None:
    rules = RootRules(())
    with pytest.raises(Refused):
        rules.check_arguments({"x": "/app/trusted"})
    rules.check_arguments({"x": "and/or"})


BEFORE = [
    "",
    "-f",
    "-f ",
    "--out=",
    "--out ",
    "of=",
    "unix:",
    "@",
    ">",
    "2>",
    "|",
    '--out="@',
    "x:",
    "x,",
    "x;",
]
WITHIN_BEFORE = ["/app/trusted/a:", "/app/trusted/a,", "/app/trusted/a ", "file:///app/trusted/a;"]


@given(
    st.sampled_from(BEFORE) | st.sampled_from(WITHIN_BEFORE),
    st.sampled_from(
        ["/", "~/", "C:\\", "../../", "$HOME/", "\\\\srv\\", "https://evil.example/", "sqlite:///", "file:/"]
    ),
    st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    st.booleans(),
)
@example('--out="@', "/", "a", False)
@example("-f ", "file:/", "a", False)
def test_nothing_that_stands_before_a_place_hides_it(
    before: str, start: str, name: str, escaped: bool
) -> None:
    text = before + start + name
    assert is_refused({"x": quote(text, safe="") if escaped else text})


@given(
    st.lists(st.sampled_from(["a", "b/c", "x y", "d.txt"]), min_size=1, max_size=5), st.sampled_from(":;, ")
)
def test_a_list_of_places_within_the_roots_passes(names: list[str], sign: str) -> None:
    assert not is_refused({"x": sign.join(f"/app/trusted/{name}" for name in names)})


@given(
    st.lists(st.sampled_from(["/app/trusted/a", "b", "/app/trusted"]), max_size=4),
    st.lists(st.sampled_from(["/app/trusted/a", "b", "/app/trusted"]), max_size=4),
    st.sampled_from(":;,"),
)
def test_one_place_outside_spoils_a_list_wherever_it_stands(
    first: list[str], last: list[str], sign: str
) -> None:
    assert is_refused({"x": sign.join([*first, "/etc/x", *last])})


@given(st.text(max_size=30))
def test_no_text_below_another_folder_gets_in(tail: str) -> None:
    assert is_refused({"x": "/etc/" + tail}) or "\n" in tail or len(tail.splitlines()) > 1


@given(
    st.text(
        alphabet=st.characters(exclude_characters="\\%", categories=["L", "N", "Pd"]), min_size=1, max_size=30
    )
)
def test_a_plain_name_below_a_root_gets_in(name: str) -> None:
    assert not is_refused({"x": "/app/trusted/" + name})


@given(st.text(max_size=30), st.text(max_size=10))
def test_no_address_of_another_host_gets_in(tail: str, user: str) -> None:
    assert is_refused({"x": f"https://{user}evil.example/{tail}"}) or _is_text(user + tail)


def _is_text(text: str) -> bool:
    """Several lines are text, unless each could be a name."""
    return len(text.splitlines()) > 1 or any(one in text for one in "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")


@given(st.recursive(st.none() | st.text(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)))
def test_any_arguments_are_judged_without_an_error(arguments: object) -> None:
    is_refused(arguments)


@pytest.mark.parametrize("text", ["$HOME", "${HOME}", "${HOME:-/etc}", "%USERPROFILE%"])
def test_a_variable_alone_is_a_place_where_a_path_is_expected(text: str) -> None:
    RULES.check_arguments({"note": text})
    RULES.check_arguments({"path": "costs $5 or 5%"})
    with pytest.raises(Refused):
        RULES.check_arguments({"path": text})

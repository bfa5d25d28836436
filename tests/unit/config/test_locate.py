"""Every key is found on the line where a person sees it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.locate import KeyPath, Source, dotted, key_lines

DOCUMENT = '''\
# first
home = "/x"  # = [not] a key
[a]
b = "[c]"
"quoted key" = 1
d.e = [
  1, # ]
  "]",
]
f = """
[g]
h = 1
"""
[[rows.list]]
name = 'one'
[rows.list.inner]
x = { y = 1 }
[[rows.list]]
name = "two"
z = """a\\"""" # b
[a.deeper]
last = 2026-01-01
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("home",), 2),
        (("a",), 3),
        (("a", "b"), 4),
        (("a", "quoted key"), 5),
        (("a", "d"), 6),
        (("a", "d", "e"), 6),
        (("a", "f"), 10),
        (("rows", "list", 0), 14),
        (("rows", "list", 0, "name"), 15),
        (("rows", "list", 0, "inner"), 16),
        (("rows", "list", 0, "inner", "x"), 17),
        (("rows", "list", 1), 18),
        (("rows", "list", 1, "name"), 19),
        (("rows", "list", 1, "z"), 20),
        (("a", "deeper", "last"), 22),
    ],
)
def test_each_key_has_its_line(key: KeyPath, line: int) -> None:
    tomllib.loads(DOCUMENT)
    assert key_lines(DOCUMENT)[key] == line


def test_text_inside_strings_and_comments_is_no_key() -> None:
    lines = key_lines(DOCUMENT)
    assert not any("g" in key or "h" in key or "c" in key for key in lines)


def test_lines_are_counted_the_same_with_carriage_returns() -> None:
    assert key_lines(DOCUMENT.replace("\n", "\r\n")) == key_lines(DOCUMENT)


def test_a_key_that_is_not_written_is_reported_where_its_table_stands() -> None:
    source = Source(Path("f.toml"), key_lines(DOCUMENT))
    assert source.at(("a", "missing")) == "f.toml:3: a.missing"
    assert source.at(("nowhere",)) == "f.toml:1: nowhere"
    assert source.at(()) == "f.toml:1"


def test_rows_are_counted_from_one_for_people() -> None:
    assert dotted(("plugins", "servers", 1, "name")) == "plugins.servers[2].name"


_WORDS = st.text("ab-", min_size=1, max_size=3).map(lambda word: f"k{word}")
_VALUES = st.sampled_from(
    [
        "1",
        '"x"',
        '"a # b [c]"',
        "'[x]'",
        "[1, 2]",
        "[\n  1,\n  # ]\n  2,\n]",
        '"""\n[t]\nk = 1\n"""',
        "{ q = [1] }",
    ]
)


@given(st.dictionaries(_WORDS, st.dictionaries(_WORDS, _VALUES, max_size=4), max_size=4))
def test_any_document_has_a_line_for_every_key(tables: dict[str, dict[str, str]]) -> None:
    document, expected = "", dict[KeyPath, int]()
    for table, values in tables.items():
        expected[(table,)] = document.count("\n") + 1
        document += f"[{table}]\n"
        for key, value in values.items():
            expected[(table, key)] = document.count("\n") + 1
            document += f"{key} = {value}\n"
    tomllib.loads(document)
    assert key_lines(document) == expected


@given(st.text("ab=[]{}\"'#.\n ,1\\", max_size=60))
def test_whatever_the_parser_accepts_can_be_located(document: str) -> None:
    try:
        values = tomllib.loads(document)
    except tomllib.TOMLDecodeError:
        return
    lines = key_lines(document)
    assert {key[0] for key in lines} == set(values)
    assert all(1 <= line <= document.count("\n") + 1 for line in lines.values())

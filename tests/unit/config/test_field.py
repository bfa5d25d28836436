"""Kinds read what they promise, and refuse the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.config.field import (
    Kind,
    Wrong,
    choice,
    described,
    flag,
    judged,
    listed,
    nested,
    number,
    path,
    setting,
    settings_of,
    text,
    whole,
)

FOLDER = Path("/etc/sekisho")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (text(), "a"),
        (text("[a-z]+"), "abc"),
        (whole(1, 5), 5),
        (number(0.5, 5), 0.5),
        (flag(), False),
        (choice("on", "off"), "off"),
    ],
)
def test_a_fitting_value_is_read_as_it_is(kind: Kind[Any], value: object) -> None:
    assert kind.read(value, FOLDER) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (text(), ""),
        (text(), "a\nb"),
        (text(), "\x1b[2J"),
        (text(), 3),
        (text("[a-z]+"), "abc1"),
        (whole(1, 5), 6),
        (whole(1, 5), 0),
        (whole(0, 5), True),
        (whole(1, 5), 2.0),
        (number(0, 5), float("nan")),
        (number(0, 5), float("inf")),
        (number(0, 5), True),
        (number(0, 5), "3"),
        (flag(), 1),
        (flag(), "true"),
        (choice("on", "off"), "ON"),
        (choice("on"), ["on"]),
        (path(), ""),
        (path(), "a\0b"),
        (path(), "~/keys"),
        (listed(text()), "a"),
        (nested(Wrong), []),
        (nested(Wrong, many=True), {}),
    ],
)
@pytest.mark.requirement("A5.2")
def test_any_other_value_is_refused(kind: Kind[Any], value: object) -> None:
    with pytest.raises(Wrong):
        kind.read(value, FOLDER)


def test_a_relative_path_starts_at_the_folder_of_the_file() -> None:
    assert path().read("certs/a.pem", FOLDER) == Path("/etc/sekisho/certs/a.pem")
    assert path().read("/var/a.pem", FOLDER) == Path("/var/a.pem")


def test_a_list_names_the_member_that_is_wrong() -> None:
    with pytest.raises(Wrong, match="member 2 is 7"):
        listed(text()).read(["a", 7], FOLDER)


def test_a_list_that_repeats_itself_is_refused() -> None:
    with pytest.raises(Wrong, match="member 3 repeats 'a'"):
        listed(text()).read(["a", "b", "a"], FOLDER)


def test_a_second_authority_may_refuse_what_the_kind_accepts() -> None:
    def odd(value: int) -> None:
        if value % 2 == 0:
            raise Wrong("is even")

    assert judged(whole(0, 9), odd).read(3, FOLDER) == 3
    with pytest.raises(Wrong, match="is even"):
        judged(whole(0, 9), odd).read(4, FOLDER)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (True, "true (true or false)"),
        (3, "3 (a number)"),
        ("a", "'a' (text)"),
        ([], "a list"),
        ({}, "a table"),
        (date(2026, 1, 1), "a date or time"),
        (None, "a value of an unknown type"),
    ],
)
def test_a_wrong_value_is_described_by_its_type(value: object, words: str) -> None:
    assert described(value) == words


@given(st.text())
def test_a_description_is_short_and_printable(value: str) -> None:
    shown = described(value)
    assert shown.isprintable()
    assert len(shown) < 500


def test_the_settings_of_a_table_come_in_the_order_of_the_file() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Table:
        second: int = setting(whole(0, 9), "Second.", default=2)
        first: int = setting(whole(0, 9), "First.")
        own: int = 0

    assert [(one.name, doc) for one, _, doc in settings_of(Table)] == [
        ("second", "Second."),
        ("first", "First."),
    ]


def test_a_tables_own_settings_stand_before_those_it_shares() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Shared:
        memory: int = setting(whole(1, 9), "Shared.", default=1)

    @dataclass(frozen=True, kw_only=True)
    class Table(Shared):
        name: str = setting(text(), "Its own.")

    assert [one.name for one, _, _ in settings_of(Table)] == ["name", "memory"]

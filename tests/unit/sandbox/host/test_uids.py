"""Each plugin a number of its own, and nobody else's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.sandbox.host import uids
from sekisho.sandbox.host.uids import free_number, give_user, lent_ranges


def nobody(number: int) -> bool:
    del number
    return False


def test_a_plugin_keeps_its_number_and_shares_it_with_no_other(tmp_path: Path) -> None:
    table = tmp_path / "home" / "uids.json"
    first, second = (give_user(table, name, "700000-700009") for name in ("notes", "git"))
    assert first != second
    assert give_user(table, "notes", "700000-700009") == first
    assert give_user(table, "notes", "710000-710009") != first
    assert table.stat().st_mode & 0o077 == 0 or table.parent.stat().st_mode & 0o077 == 0


def test_a_range_that_is_used_up_is_said(tmp_path: Path) -> None:
    table = tmp_path / "uids.json"
    give_user(table, "notes", "700000-700000")
    with pytest.raises(Misconfigured, match="no user is free"):
        give_user(table, "git", "700000-700000")


@pytest.mark.parametrize(
    "text", ["", "5", "5-9", "0-70000", "9000-8000", "a-b", "1000-99999999999", "-1000-2000"]
)
def test_a_range_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Misconfigured, match="range"):
        give_user(tmp_path / "uids.json", "notes", text)


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"notes": "x"}', '{"notes": true}', '{"notes": 0}', '{"a": 700001, "b": 700001}']
)
def test_a_table_that_somebody_changed_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "uids.json").write_text(text)
    with pytest.raises(Misconfigured, match="cannot be read"):
        give_user(tmp_path / "uids.json", "notes", "700000-700009")


def test_ranges_lent_to_users_and_numbers_of_users_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lent = tmp_path / "subuid"
    lent.write_text("ann:700000:5\n# a comment\nbob:x:5\nbad\n")
    assert lent_ranges([str(lent), str(tmp_path / "missing")]) == [(700_000, 700_004)]
    monkeypatch.setattr(uids, "LENT", (str(lent),))
    assert give_user(tmp_path / "uids.json", "notes", "700000-700009") == 700_005
    assert json.loads((tmp_path / "uids.json").read_text()) == {"notes": 700_005}
    assert free_number((700_000, 700_009), (), [(700_000, 700_004)], lambda one: one == 700_005) == 700_006


RANGES = st.lists(
    st.tuples(st.integers(100, 130), st.integers(0, 5)).map(lambda one: (one[0], sum(one))), max_size=4
)


@given(taken=st.sets(st.integers(100, 130)), lent=RANGES)
def test_a_free_number_is_in_the_range_and_nobodys(taken: set[int], lent: list[tuple[int, int]]) -> None:
    free = [
        number
        for number in range(100, 131)
        if number not in taken and not any(start <= number <= end for start, end in lent)
    ]
    if free:
        assert free_number((100, 130), taken, lent, nobody) == free[0]
    else:
        with pytest.raises(Misconfigured):
            free_number((100, 130), taken, lent, nobody)


def test_the_numbers_that_mean_nobody_are_never_given() -> None:
    assert free_number((65_533, 65_540), {65_533}, (), nobody) == 65_536


def test_a_number_that_somebody_got_meanwhile_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, lent = tmp_path / "uids.json", tmp_path / "subuid"
    monkeypatch.setattr(uids, "LENT", (str(lent),))
    first = give_user(table, "notes", "700000-700009")
    assert give_user(table, "notes", "700000-700009") == first
    lent.write_text("ann:700000:5\n")
    assert give_user(table, "notes", "700000-700009") == 700_005
    assert json.loads(table.read_text()) == {"notes": 700_005}


@pytest.mark.parametrize("number", [65_534, 65_535])
def test_a_number_that_means_nobody_is_given_up(tmp_path: Path, number: int) -> None:
    table = tmp_path / "uids.json"
    table.write_text(json.dumps({"notes": number}))
    assert give_user(table, "notes", "65000-66000") not in (65_534, 65_535)

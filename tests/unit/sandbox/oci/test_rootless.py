"""What an ordinary user lacks for podman, each with the command that gives it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.sandbox.oci.rootless import lack_here, lack_of

LENT = {"subuid": "ann:100000:65536\n", "subgid": "ann:100000:65536\n"}


def test_a_user_with_ranges_programs_and_a_podman_of_today_lacks_nothing() -> None:
    assert lack_of("ann", 1001, LENT, version="4.3.1 [] seccomp") is None
    by_number = dict.fromkeys(LENT, "1001:100000:65536\n")
    assert lack_of("ann", 1001, by_number, version="5.4.2") is None


def test_programs_that_are_not_installed_come_first() -> None:
    lack = lack_of("ann", 1001, {}, absent=["newuidmap", "newgidmap"])
    assert lack == (
        "newuidmap and newgidmap not installed",
        "apt install uidmap, or dnf install shadow-utils",
    )


def test_a_range_that_nobody_has_is_proposed() -> None:
    lent = {"subuid": "bob:100000:65536\n# a comment\ncarl:165536:65536\n", "subgid": ""}
    what, fix = lack_of("ann", 1001, lent) or ("", "")
    assert what == "no range of users is lent to ann in /etc/subuid and /etc/subgid"
    assert "sudo usermod --add-subuids 231072-296607 --add-subgids 231072-296607 ann" in fix


def test_only_the_file_that_lacks_is_named() -> None:
    what, fix = lack_of("ann", 1001, {**LENT, "subgid": ""}) or ("", "")
    assert "subuid" not in what
    assert "--add-subuids" not in fix
    assert "--add-subgids 165536-231071" in fix


def test_a_range_that_is_too_short_is_none() -> None:
    assert lack_of("ann", 1001, dict.fromkeys(LENT, "ann:100000:1000\n")) is not None
    two = dict.fromkeys(LENT, "ann:100000:600\nann:200000:600\n")
    assert lack_of("ann", 1001, two) is None


@pytest.mark.parametrize(
    ("switch", "is_fine"), [("subid: sss\n", True), ("subid: files\n", False), ("", False)]
)
def test_ranges_that_are_kept_elsewhere_are_not_missed(switch: str, is_fine: bool) -> None:
    assert (lack_of("ann", 1001, {}, switch=switch) is None) == is_fine


@pytest.mark.parametrize(
    ("version", "is_old"), [("3.4.4", True), ("4.2.0", True), ("4.3.0", False), ("", False)]
)
def test_a_podman_that_cannot_name_the_user_is_too_old(version: str, is_old: bool) -> None:
    assert (lack_of("ann", 1001, LENT, version=version) is not None) == is_old


@given(st.dictionaries(st.sampled_from(["subuid", "subgid"]), st.text(max_size=200)))
def test_whatever_stands_in_the_files_a_range_that_is_proposed_is_free(lent: dict[str, str]) -> None:
    _, fix = lack_of("ann", 1001, lent) or ("", "")
    for first, last in re.findall(r"--add-sub.ids (\d+)-(\d+)", fix):
        assert int(last) - int(first) == 65_535
        for text in lent.values():
            for line in text.splitlines():
                fields = line.split(":")
                if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():
                    assert int(first) >= int(fields[1]) + int(fields[2])


def test_this_host_is_asked_without_harm() -> None:
    lack = lack_here("4.3.1")
    assert lack is None or all(lack)

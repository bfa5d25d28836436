"""Why a wall does not stand, and the command against it: hosts as their settings and their words describe them."""

from __future__ import annotations

import pytest

from sekisho.sandbox.host.obstacles import (
    APPARMOR_PROFILE,
    LATE,
    confining,
    explain,
    explain_here,
    obstacle,
    read_settings,
)

UBUNTU = {"kernel/apparmor_restrict_unprivileged_userns": "1", "user/max_user_namespaces": "62000"}


def why(complaint: str, *, is_root: bool = False, is_filtered: bool = False, **settings: str) -> str:
    named = {name.replace("__", "/"): value for name, value in settings.items()}
    return explain(complaint, named, is_root=is_root, is_filtered=is_filtered)


@pytest.mark.parametrize(
    "complaint",
    [
        "bwrap: setting up uid map: Permission denied",
        "bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted",
        "/proc/self/uid_map: Operation not permitted",
    ],
)
def test_ubuntus_restriction_is_known_and_its_profile_is_one_command_away(complaint: str) -> None:
    said = explain(complaint, UBUNTU, is_root=False, is_filtered=False)
    assert "sekisho doctor --apparmor-profile | sudo tee /etc/apparmor.d/sekisho" in said
    assert "apparmor_parser -r" in said
    assert "AppArmor" not in explain(complaint, UBUNTU, is_root=True, is_filtered=False)


def test_where_aa_exec_gains_nothing_the_unit_is_named_instead() -> None:
    told = explain("Permission denied", UBUNTU, is_root=False, is_filtered=False)
    assert told.endswith("aa-exec -p sekisho -- sekisho up")
    hardened = {**UBUNTU, "kernel/apparmor_restrict_unprivileged_unconfined": "1"}
    told = explain("Permission denied", hardened, is_root=False, is_filtered=False)
    assert "apparmor_parser -r" in told
    assert "AppArmorProfile=sekisho" in told
    assert "aa-exec" not in told


def test_the_profile_is_entered_by_name_and_gives_no_other_program_anything() -> None:
    rules = [line for line in APPARMOR_PROFILE.splitlines() if not line.startswith("#")]
    assert [line for line in rules if line.startswith("profile")] == ["profile sekisho flags=(unconfined) {"]
    assert APPARMOR_PROFILE.count("userns,") == 1
    assert APPARMOR_PROFILE.count("{") == APPARMOR_PROFILE.count("}")


def test_the_profile_that_confines_us_is_named_when_namespaces_are_denied() -> None:
    for is_root in (False, True):
        said = explain("Permission denied", {}, is_root=is_root, is_filtered=False, profile="box")
        assert "'box'" in said
        assert "userns," in said
    assert "'box'" not in explain("something new", {}, is_root=False, is_filtered=False, profile="box")


@pytest.mark.parametrize(
    ("label", "name"),
    [("box (enforce)\n", "box"), ("a b//c (enforce)", "a b//c"), ("sekisho (unconfined)\n", ""), ("box (complain)", ""),
     ("unconfined\n", ""), ("", "")],
)  # fmt: skip
def test_only_a_profile_that_is_enforced_confines(label: str, name: str) -> None:
    assert confining(label) == name


def test_debians_switch_and_a_limit_of_zero_are_named_with_the_command_that_turns_them() -> None:
    assert "kernel.unprivileged_userns_clone=1" in why(
        "No permissions", kernel__unprivileged_userns_clone="0"
    )
    assert "user.max_user_namespaces=" in why("x", user__max_user_namespaces="0")
    assert "user.max_user_namespaces=" in why("unshare: No space left on device", is_root=True)


def test_a_container_whose_filter_blocks_namespaces_is_told_apart() -> None:
    assert "seccomp=unconfined" in why("cannot make namespaces: Operation not permitted", is_filtered=True)
    assert "seccomp" not in why("cannot make namespaces: Operation not permitted")


def test_a_program_that_is_missing_or_old_is_to_be_installed() -> None:
    assert "apt install bubblewrap" in why("bwrap is not installed")
    assert "apt install bubblewrap" in why("bubblewrap 0.3 is too old: install 0.6 or newer")


def test_an_unknown_complaint_is_kept_word_for_word_and_gets_a_page() -> None:
    assert obstacle("something new").startswith("something new (")
    assert "docs/security" in why("something new")
    assert explain_here("bwrap is not installed")
    assert all(value.lstrip("-").isdigit() for value in read_settings().values())


@pytest.mark.parametrize("settings", [{}, {"kernel/apparmor_restrict_unprivileged_userns": "1"}])
def test_a_trial_that_was_not_finished_blames_no_setting(settings: dict[str, str]) -> None:
    for is_root in (False, True):
        advice = explain(f"{LATE} 10 s", settings, is_root=is_root, is_filtered=True, profile="x")
        assert advice == "nothing was proved: this machine is too busy; try again when it is idle"

"""What a host is made of, and what it is told; hosts themselves are started by hand (`python -m tests.hosts.run`)."""

from __future__ import annotations

import shlex

from tests.hosts.image import only
from tests.hosts.recipe import HOSTS, platforms, requirements
from tests.hosts.run import WHO, script

LINES = ["here>=1,<2", "there>=3; platform_machine == 'x86_64'", "past; python_version < '3.12'"]


def test_only_what_holds_for_its_processor_and_its_python_is_installed() -> None:
    assert requirements(LINES, HOSTS["debian13"]) == ["here<2,>=1", "there>=3"]
    assert requirements(LINES, HOSTS["debian13-arm64"]) == ["here<2,>=1"]


def test_wheels_are_those_of_its_processor() -> None:
    assert all(one.endswith("_aarch64") for one in platforms(HOSTS["debian13-arm64"]))


def test_what_is_run_there_arrives_word_by_word() -> None:
    words = ["pytest", "-k", "a b; reboot", "'"]
    for who in WHO:
        line = next(line for line in script(who, "", words).splitlines() if "reboot" in line)
        assert shlex.split(line)[-len(words) :] == words


def test_who_runs_it_there_needs_no_password_and_no_network() -> None:
    assert "--uid" not in script("login", "", ["true"])
    assert (
        script("user", "sysctl -w user.max_user_namespaces=0", ["true"]).splitlines()[2].startswith("sysctl")
    )


def test_lists_are_shortened_to_what_is_installed_by_whole_names() -> None:
    listed = "Package: one\nDepends: two\n\nPackage: two\n\nPackage: one-more\n\n"
    assert only(listed, {"one"}) == "Package: one\nDepends: two\n\n"
    assert only(listed, {"one", "two", "one-more"}) == listed

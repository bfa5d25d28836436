"""Landlock rules on a process of our own: what is listed works, everything else does not."""

# ruff: noqa: PTH208, PTH211 - the calls themselves are tried here
from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.calls import no_new_privileges
from sekisho.launcher.ruleset import NEWEST_ABI, SCOPE_ABI, Rule, abi, probe_ruleset, restrict

VERSION = abi()

if not VERSION:
    pytest.skip("this kernel has no Landlock", allow_module_level=True)


def attempt(body: Callable[[], object]) -> str:
    try:
        body()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def under(rules: list[Rule], *tries: Callable[[], object], version: int = VERSION, tcp: bool = False) -> str:
    def body() -> object:
        no_new_privileges()
        restrict(rules, version, tcp=tcp)
        return " ".join(map(attempt, tries))

    return in_a_child(body)


def test_listed_paths_work_and_others_do_not(tmp_path: Path) -> None:
    for name in ("read", "write", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    said = under(
        [(str(tmp_path / "read"), "read"), (str(tmp_path / "write"), "write")],
        (tmp_path / "read" / "x").read_text,
        lambda: (tmp_path / "write" / "y").write_text("y"),
        lambda: (tmp_path / "write" / "y").rename(tmp_path / "write" / "z"),
        lambda: (tmp_path / "read" / "y").write_text("y"),
        (tmp_path / "other" / "x").read_text,
        lambda: os.listdir(tmp_path),
        lambda: os.truncate(tmp_path / "read" / "x", 0),
        lambda: os.link(tmp_path / "read" / "x", tmp_path / "write" / "link"),
        lambda: os.symlink(tmp_path / "other" / "x", tmp_path / "write" / "symlink"),
        (tmp_path / "write" / "symlink").read_text,
    )
    assert said == "ok ok ok EACCES EACCES EACCES EACCES EXDEV ok EACCES"


def test_a_rule_for_one_file_gives_that_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    rules: list[Rule] = [(str(tmp_path / "a"), "read"), ("/dev/null", "use")]
    said = under(
        rules,
        (tmp_path / "a").read_text,
        (tmp_path / "b").read_text,
        lambda: Path("/dev/null").write_text("x"),
    )
    assert said == "ok EACCES ok"


@pytest.mark.skipif(VERSION < 4, reason="TCP rules came with ABI 4")
def test_tcp_is_shut_unless_somebody_else_holds_it() -> None:
    def bind() -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))

    assert under([("/", "read")], bind) == "EACCES"
    assert under([("/", "read")], bind, tcp=True) == "ok"


@pytest.mark.skipif(VERSION < SCOPE_ABI, reason="scopes came with ABI 6")
def test_strangers_get_no_signal_and_no_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0sekisho-test-ruleset")
        server.listen()

        def connect() -> None:
            with socket.socket(socket.AF_UNIX) as one:
                one.connect("\0sekisho-test-ruleset")

        parent = os.getpid()
        assert in_a_child(lambda: attempt(connect)) == "ok"
        said = under([("/", "read")], connect, lambda: os.kill(parent, 0), lambda: os.kill(os.getpid(), 0))
    assert said == "EPERM EPERM ok"


@pytest.mark.parametrize("version", range(1, VERSION + 1))
def test_every_version_up_to_this_one_is_asked_for_nothing_it_does_not_know(version: int) -> None:
    said = under([("/usr", "read"), ("/tmp", "write")], lambda: os.listdir("/"), version=version)
    assert said == "EACCES"
    assert VERSION <= NEWEST_ABI


def test_a_rule_for_a_path_that_is_not_there_is_an_error_and_nothing_is_bound() -> None:
    assert "landlock" in under([("/no/such/path", "read")]) or "No such file" in under(
        [("/no/such/path", "read")]
    )


def test_the_probe_says_nothing_when_it_holds(capfd: pytest.CaptureFixture[str]) -> None:
    assert in_a_child(probe_ruleset) == "None"
    assert capfd.readouterr().out == ""

"""What the probe says about a host, shown on hosts made of small programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.sandbox.host import probe as trials
from sekisho.sandbox.host.probe import glance, probe, run_trial, try_landlock, try_native, try_network


def pretend(folder: Path, text: str) -> None:
    tool = folder / "bwrap"
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_a_host_without_bwrap_is_told_how_to_get_it(host: Path) -> None:
    capabilities = probe()
    assert capabilities.bwrap is None
    assert "apt install bubblewrap" in capabilities.missing[0]


def test_an_old_bwrap_is_named_as_too_old(host: Path) -> None:
    pretend(host, "echo bubblewrap 0.3.1")
    assert "too old" in probe().missing[0]


def test_a_bwrap_that_cannot_build_walls_is_quoted(host: Path) -> None:
    pretend(
        host,
        '[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit 0; echo "setting up uid map: no" >&2; exit 1',
    )
    missing = " ".join(probe().missing)
    assert "setting up uid map: no" in missing
    assert "user namespaces" in missing


def test_a_glance_tries_nothing_and_still_misses_bwrap(host: Path) -> None:
    assert "apt install bubblewrap" in glance().missing[0]
    pretend(host, f"touch {host}/tried; exit 1")
    seen = glance()
    assert (seen.missing, seen.bwrap) == ((), str(host / "bwrap"))
    assert not (host / "tried").exists()
    assert (seen.cgroup, seen.cgroup_parents, seen.machine) == (
        probe().cgroup,
        probe().cgroup_parents,
        probe().machine,
    )


def test_every_kind_of_walls_names_its_own_level_and_what_it_misses() -> None:
    assert glance("native").level == glance("bubblewrap").level == "strict"
    landlock = glance("landlock")
    assert landlock.missing or landlock.level == ("standard" if landlock.landlock_abi >= 6 else "minimal")
    assert glance("unsafe-none").level == "unsafe-none"
    assert not glance("unsafe-none").missing


def test_a_trial_leaves_this_process_as_it_was() -> None:
    before = Path("/proc/self/status").read_text().splitlines()
    for trial in (try_native, try_network, try_landlock):
        assert isinstance(trial(), str)
    after = Path("/proc/self/status").read_text().splitlines()
    watched = ("Seccomp:", "NoNewPrivs:", "CapBnd:", "Uid:")
    assert [one for one in before if one.startswith(watched)] == [
        one for one in after if one.startswith(watched)
    ]


def test_a_program_that_cannot_be_started_is_one_that_failed(tmp_path: Path) -> None:
    ended = run_trial([str(tmp_path / "none")])
    assert ended.returncode != 0
    assert ended.stderr


def test_a_set_uid_bwrap_gets_no_alarm_because_that_would_take_its_right_away(host: Path) -> None:
    pretend(host, "exit 0")
    (host / "bwrap").chmod(0o4755)
    assert not glance().alarm


def test_a_trial_that_takes_too_long_is_ended_and_proves_nothing(
    host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "TRIAL_S", 0.05)
    ended = run_trial(["/usr/bin/tail", "-f", "/dev/null"])
    assert (ended.returncode, ended.stderr) == (1, "no answer within 0.05 s")
    longer = run_trial(["/usr/bin/tail", "-f", "/dev/null"], timeout_s=0.06)
    assert longer.stderr == "no answer within 0.06 s"
    pretend(host, "exec /usr/bin/tail -f /dev/null")
    (missing,) = probe("bubblewrap").missing
    assert missing.startswith("no answer within 0.05 s (nothing was proved")

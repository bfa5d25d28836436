"""What the probe says about a host, shown on hosts made of small programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.sandbox.probe import doctor, glance, probe


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
    assert not doctor()[0].ok


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


def test_the_doctor_says_what_stands_in_for_a_missing_limit() -> None:
    rows = {row.what: row for row in doctor()}
    for name in ("memory", "pids", "cpu"):
        row = rows[f"limit: {name}"]
        assert row.ok or row.fix


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

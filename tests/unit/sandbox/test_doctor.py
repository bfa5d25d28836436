"""The doctor: a row for every layer, level and limit, each with its remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.sandbox.doctor import doctor


def test_every_layer_level_and_limit_has_a_row_and_what_fails_has_a_remedy() -> None:
    rows = {row.what: row for row in doctor()}
    for name in (
        "bubblewrap",
        "network namespace",
        "own walls",
        "container engine",
        "Landlock",
        "refused system calls are told",
    ):
        assert name in rows
    for level in ("strict", "standard", "minimal"):
        assert f"isolation {level}" in rows
    for name in ("memory", "pids", "cpu", "io"):
        assert f"limit: {name}" in rows
    assert all(row.ok or row.fix for row in rows.values())


def test_without_bwrap_our_own_walls_give_the_same_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = {row.what: row for row in doctor()}
    assert not rows["bubblewrap"].ok
    assert not rows["bubblewrap"].needed
    if rows["own walls"].ok:
        assert rows["isolation strict"].ok
        assert "native" in rows["isolation strict"].detail


def test_only_the_strict_level_and_the_limits_of_a_plugin_are_needed() -> None:
    needed = {row.what for row in doctor() if row.needed}
    assert needed == {"isolation strict", "limit: memory", "limit: pids", "limit: cpu"}


def test_an_engine_is_asked_in_the_environment_of_whoever_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "podman"
    program.write_text('#!/bin/sh\n[ -n "$HOME" ] || { echo "HOME was not set" >&2; exit 1; }\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    said = [
        next(row.detail for row in doctor(given) if row.what == "container engine")
        for given in ({}, {"HOME": "/home/one"})
    ]
    assert ["HOME was not set" in one for one in said] == [True, False]


def test_an_engine_that_does_not_answer_is_quoted_in_its_words_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = tmp_path / "podman"
    podman.write_text('#!/bin/sh\necho \'time="now" level=error msg="no folder"\' >&2\nexit 125\n')
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    rows = {row.what: row for row in doctor()}
    if os.geteuid() == 0:  # of others it says first what they lack
        assert rows["container engine"].detail == "podman: no folder"
    assert rows["container engine"].fix

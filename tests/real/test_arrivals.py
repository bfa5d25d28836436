"""Who waits in front of `sekisho up` hears how each plugin comes up, before and after calls can be served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.real.conftest import ECHO, common, plugin

pytestmark = pytest.mark.real

SEKISHO = "import sys\nfrom sekisho.cli.app import main\nsys.exit(main())"


def test_every_plugin_is_told_of_until_it_is_ready(walls: None, tmp_path: Path) -> None:
    config = tmp_path / "sekisho.toml"
    config.write_text(common(discovery_s=20) + plugin("echo", ECHO, operations=["echo"]), encoding="utf-8")
    environment = {**os.environ, "SEKISHO_HOME": str(tmp_path / "home")}
    words = [sys.executable, "-c", SEKISHO]
    heard: list[dict[str, Any]] = []
    with subprocess.Popen(
        [*words, "up", "--json", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as up:
        try:
            assert up.stdout is not None
            for line in up.stdout:
                heard.append(json.loads(line))
                if heard[-1]["event"] == "ready":
                    approve = [*words, "approve", "--all", "--yes", "--config", str(config)]
                    subprocess.run(
                        approve, env=environment, check=True, timeout=60, stdout=subprocess.DEVNULL
                    )
                if heard[-1].get("state") == "ready":
                    break
        finally:
            up.terminate()
            up.wait(60)
    news = [one for one in heard if one["event"] == "plugin"]
    assert [one["state"] for one in news] == ["starting", "waiting for approval", "ready"]
    assert {one["plugin"] for one in news} == {"echo"}
    assert "sekisho approve echo" in news[1]["remedy"]


def heard_until(
    config: Path, folder: Path, is_enough: Callable[[dict[str, Any]], bool]
) -> tuple[list[dict[str, Any]], str]:
    """What `sekisho up --json` tells until that is enough, and all that it wrote to standard error until its end."""
    heard: list[dict[str, Any]] = []
    with subprocess.Popen(
        [sys.executable, "-c", SEKISHO, "up", "--json", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SEKISHO_HOME": str(folder / "home")},
        text=True,
    ) as up:
        try:
            assert up.stdout is not None
            for line in up.stdout:
                heard.append(json.loads(line))
                if is_enough(heard[-1]):
                    break
        finally:
            up.terminate()
            _, said = up.communicate(timeout=60)
    return heard, said


def test_one_whose_package_is_not_installed_says_so_and_what_to_type(walls: None, tmp_path: Path) -> None:
    config = tmp_path / "sekisho.toml"
    missing = '[[plugins.servers]]\nname = "notes"\npackage = "npm:notes@1.2.3"\nallowed_operations = []\n'
    config.write_text(
        common(discovery_s=20) + plugin("echo", ECHO, operations=["echo"]) + missing, encoding="utf-8"
    )
    heard, _ = heard_until(
        config, tmp_path, lambda one: one.get("plugin") == "notes" and one["state"] != "starting"
    )
    told = heard[-1]
    assert (told["state"], told["detail"]) == ("not running", "npm:notes@1.2.3 is not installed")
    assert told["remedy"] == "run sekisho install notes"


def test_one_whose_program_is_not_here_is_told_of_once_and_starts_when_it_is(
    walls: None, tmp_path: Path
) -> None:
    config, program = tmp_path / "sekisho.toml", tmp_path / "bin" / "echo-server"
    program.parent.mkdir()
    entry = plugin("echo", ECHO, operations=["echo"])
    command = next(line for line in entry.splitlines() if line.startswith("command"))
    entry = entry.replace(command, f'command = ["{program}"]\nruntime_paths = ["{program.parent}"]')
    config.write_text(common(discovery_s=0.5) + entry, encoding="utf-8")

    def install(one: dict[str, Any]) -> bool:
        if one.get("state") == "not running":
            program.write_text(f"#!{sys.executable}\n{ECHO.read_text()}")
            program.chmod(0o755)
        return one.get("state") == "waiting for approval"

    heard, said = heard_until(config, tmp_path, install)
    held = next(one for one in heard if one.get("state") == "not running")
    assert held["detail"] == f"program '{program}' of plugin 'echo' is not on this host"
    assert held["remedy"] == "install it, or write its absolute path"
    assert said.count("plugin_refused") == 1
    assert "process_ended" not in said

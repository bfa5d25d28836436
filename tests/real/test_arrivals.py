"""Who waits in front of `sekisho up` hears how each plugin comes up, before and after calls can be served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.real.conftest import ECHO, common, plugin

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

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


def test_one_whose_package_is_not_installed_says_so_and_what_to_type(walls: None, tmp_path: Path) -> None:
    config = tmp_path / "sekisho.toml"
    missing = '[[plugins.servers]]\nname = "notes"\npackage = "npm:notes@1.2.3"\nallowed_operations = []\n'
    config.write_text(
        common(discovery_s=20) + plugin("echo", ECHO, operations=["echo"]) + missing, encoding="utf-8"
    )
    environment = {**os.environ, "SEKISHO_HOME": str(tmp_path / "home")}
    told: dict[str, Any] = {}
    with subprocess.Popen(
        [sys.executable, "-c", SEKISHO, "up", "--json", "--config", str(config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as up:
        try:
            assert up.stdout is not None
            for line in up.stdout:
                told = json.loads(line)
                if told.get("plugin") == "notes" and told["state"] != "starting":
                    break
        finally:
            up.terminate()
            up.wait(60)
    assert (told["state"], told["detail"]) == ("not running", "npm:notes@1.2.3 is not installed")
    assert told["remedy"] == "run sekisho install notes"

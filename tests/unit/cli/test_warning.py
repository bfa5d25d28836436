"""A person who decides is reminded of what a plugin's configuration gives away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekisho.cli.warning import doubt, warnings
from sekisho.config import load_core

Type = Callable[..., Any]
PACKAGE = '[[plugins.servers]]\nname = "clock"\npackage = "{}"\n'


def configure(home: Path, package: str, more: str = "") -> None:
    (home.parent / "sekisho.toml").write_text(PACKAGE.format(package) + more, encoding="utf-8")


@pytest.mark.parametrize(
    ("package", "said"),
    [("pypi:mcp-server-tlme==1.0", "mcp-server-time"), ("pypi:bubblewrap==1.0", "sounds like")],
)
def test_a_name_that_could_be_taken_for_another_is_said_each_time(
    typed: Type, home: Path, package: str, said: str
) -> None:
    configure(home, package)
    assert said in typed("plugins").err
    (line,) = doubt(load_core(home.parent / "sekisho.toml").plugin("clock").workload)
    assert line.startswith("clock: ")


def test_a_well_known_name_and_a_plain_plugin_are_passed_over(typed: Type, home: Path) -> None:
    assert typed("plugins").err == ""
    configure(home, "pypi:mcp-server-time==1.0")
    assert typed("plugins").err == ""


def test_what_learns_or_has_no_walls_is_said(home: Path) -> None:
    more = '[plugins.servers.network_policy]\nmode = "learn"\n[plugins.servers.sandbox]\nisolation = "unsafe-none"\n'
    configure(home, "pypi:mcp-server-time==1.0", more)
    lines = list(warnings(load_core(home.parent / "sekisho.toml").plugin("clock")))
    assert ["learn" in lines[0], "unsafe-none" in lines[1], len(lines)] == [True, True, 2]

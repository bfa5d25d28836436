"""The floors hold: no room uses a neighbour or a room above, and judgement does no I/O."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path


def test_every_import_contract_holds(root: Path) -> None:
    # In a process of its own: grimp changes sys.path and logging of the process it runs in.
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [linter, "--no-cache", "--config", "pyproject.toml"],
        cwd=root,
        env={"PATH": os.defpath, "PYTHONPATH": str(root / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_stands_on_a_floor(root: Path) -> None:
    contracts = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    placed = {room.strip() for layer in layers for room in layer.split("|")} | {"testing"}
    rooms = {
        path.stem
        for path in (root / "src" / "sekisho").iterdir()
        if (path.is_dir() and (path / "__init__.py").exists()) or path.suffix == ".py"
    } - {"__init__", "__main__"}
    assert rooms <= placed


def test_no_room_has_a_name_that_says_nothing(root: Path) -> None:
    empty = {"utils", "util", "common", "misc", "helpers", "helper", "base", "manager", "handler", "service"}
    named = {path.stem for path in (root / "src" / "sekisho").rglob("*") if path.suffix in ("", ".py")}
    assert not named & empty

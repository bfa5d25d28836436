"""The launcher as a program of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from sekisho import launcher
from sekisho.launcher.serving import ENTRY

ROOM = sorted(Path(launcher.__file__).parent.glob("*.py"))


def test_the_room_imports_the_standard_library_and_itself_only() -> None:
    for source in ROOM:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        names = {
            alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        others = {name for name in names if not name.startswith("sekisho.launcher")}
        assert {name.partition(".")[0] for name in others} <= sys.stdlib_module_names, source.name
        assert "threading" not in others


def test_a_launcher_that_is_not_our_child_refuses_to_live() -> None:
    ended = subprocess.run([sys.executable, "-I", "-S", ENTRY, "probe", "1"], check=False, timeout=20)
    assert ended.returncode == 1

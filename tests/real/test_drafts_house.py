"""A whole house whose plugin writes for review: the operator keeps it while everything runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.conftest import House, common, plugin, quoted, until

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("walls")]

MAIN: Final = "import sys; from sekisho.cli.app import main; sys.exit(main())"
TYPE_S: Final = 60.0
WRITER: Final = """
import json, sys
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
TOOL = {"name": "write", "description": "Writes a line.", "inputSchema": SCHEMA}
for line in sys.stdin:
    asked = json.loads(line)
    match asked.get("method"):
        case "initialize":
            result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}
            result["serverInfo"] = {"name": "writer", "version": "1"}
        case "tools/list":
            result = {"tools": [TOOL]}
        case "tools/call":
            with open(asked["params"]["arguments"]["path"], "a") as file:
                file.write("new\\n")
            result = {"content": [{"type": "text", "text": "written"}]}
        case _:
            result = {}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """One plugin that may write into one folder, once somebody says so."""
    place = tmp_path.resolve()
    folder = place / "notes"
    folder.mkdir(mode=0o700)
    (folder / "plan").write_text("old\n")
    script = place / "writer.py"
    script.write_text(WRITER)
    policy = (
        f"[plugins.servers.filesystem_policy]\nread_only_paths = [{quoted(script)}]\n"
        f'writable_paths = [{quoted(folder)}]\npersist = "review"\n'
    )
    entry = plugin("writer", script, operations=["write"], more=policy)
    house = House(place, common() + entry)
    try:
        yield house
        house.stop()
    finally:
        house.kill()


def typed(house: House, *words: str) -> dict[str, Any]:
    """One command of the operator's, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words, "--config", str(house.config), "--json"],
        env={**os.environ, "SEKISHO_HOME": str(house.home)},
        capture_output=True,
        timeout=TYPE_S,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_what_a_plugin_wrote_is_kept_while_the_house_runs(house: House) -> None:
    folder = house.folder / "notes"
    for name in ("plan", "new"):
        assert house.call("writer__write", path=str(folder / name)).code == "ok"
    assert (folder / "plan").read_text() == "old\n"
    assert not (folder / "new").exists()
    found = {one["path"]: one["what"] for one in typed(house, "changes", "writer")["changes"]}
    assert found == {"new": "added", "plan": "changed"}
    assert typed(house, "changes", "writer", "--commit") == {"plugin": "writer", "state": "kept", "number": 2}
    assert (folder / "plan").read_text() == "old\nnew\n"
    assert (folder / "new").stat().st_uid == folder.stat().st_uid
    until(lambda: house.answers("writer__write", path="/tmp/x"), "the plugin starts again by itself")
    assert typed(house, "changes", "writer")["changes"] == []


@pytest.mark.requirement("B4.4")
def test_what_a_plugin_wrote_is_discarded_while_the_house_runs(house: House) -> None:
    folder = house.folder / "notes"
    assert house.call("writer__write", path=str(folder / "new")).code == "ok"
    assert typed(house, "changes", "writer", "--rollback")["state"] == "discarded"
    until(lambda: house.answers("writer__write", path="/tmp/x"), "the plugin starts again by itself")
    assert typed(house, "changes", "writer")["changes"] == []
    assert sorted(path.name for path in folder.iterdir()) == ["plan"]

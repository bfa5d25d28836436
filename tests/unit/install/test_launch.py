"""The command is one the package announces, and it names nothing but the interpreter and the tree."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Misconfigured, Refused
from sekisho.install.launch import fill, find_entry
from sekisho.install.package import read_package

TIME = read_package("pypi:Mcp_Server.time==1.0")
TOOL = read_package("npm:@a/tool@1.0.0")


def _wheel(
    tree: Path, entry_points: str | None, *, metadata: str = "Name: mcp-server-time\nVersion: 1.0.0\n"
) -> None:
    info = tree / "site" / "mcp_server_time-1.0.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    if entry_points is not None:
        (info / "entry_points.txt").write_text(entry_points, encoding="utf-8")


def _module(tree: Path, **told: Any) -> None:
    folder = tree / "node_modules" / "@a" / "tool"
    (folder / "dist").mkdir(parents=True)
    (folder / "dist" / "cli.js").write_text("#!/usr/bin/env node\n", encoding="utf-8")
    (folder / "shell").write_text("#!/bin/sh\n", encoding="utf-8")
    text = json.dumps({"name": "@a/tool", "version": "1.0.0", **told})
    (folder / "package.json").write_text(text, encoding="utf-8")


def test_the_script_with_the_packages_own_name_is_run(tmp_path: Path) -> None:
    _wheel(tmp_path, "[console_scripts]\nother = x:y\nmcp-server-time = mcp_server_time.app:Main.run\n")
    entry = find_entry(TIME, tmp_path, None)
    assert entry.name == "mcp-server-time"
    assert entry.command[:4] == ("{python}", "-I", "-S", "-c")


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize("name", ["Mcp_Server_Time-1.0.0", "mcp.server.time-1.0", "MCP_SERVER_TIME-9"])
def test_a_dependency_that_says_it_is_the_package_does_not_choose_the_program(
    tmp_path: Path, name: str
) -> None:
    _wheel(tmp_path, "[console_scripts]\nmcp-server-time = mcp_server_time:main\n")
    other = tmp_path / "site" / "another-1.0.0.dist-info"
    other.mkdir()  # as every dependency has
    find_entry(TIME, tmp_path, None)
    theirs = tmp_path / "site" / f"{name}.dist-info"
    theirs.mkdir()
    (theirs / "METADATA").write_text("Name: mcp-server-time\nVersion: 1.0.0\n", encoding="utf-8")
    (theirs / "entry_points.txt").write_text(
        "[console_scripts]\nmcp-server-time = evil:main\n", encoding="utf-8"
    )
    with pytest.raises(Refused, match="several of the packages"):
        find_entry(TIME, tmp_path, None)


def test_the_command_runs_that_function_with_the_trees_modules_only(tmp_path: Path) -> None:
    _wheel(tmp_path, "[console_scripts]\nmcp-server-time = package.app:Main.run [extra]\n")
    (tmp_path / "site" / "package").mkdir()
    (tmp_path / "site" / "package" / "app.py").write_text(
        "import sys\nclass Main:\n    def run():\n"
        "        quit\n        print(sys.argv, *sys.path[-1:])\n        return 3\n",
        encoding="utf-8",
    )
    entry = find_entry(TIME, tmp_path, None)
    words = fill(entry.command, tree=tmp_path, python=sys.executable, node="node")
    done = subprocess.run([*words, "--flag"], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, f"['mcp-server-time', '--flag'] {tmp_path}/site\n")


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        ({"bin": "dist/cli.js"}, None),
        ({"bin": {"tool": "./dist/cli.js", "other": "shell"}}, None),
        ({"bin": {"odd": "dist/cli.js"}}, None),
        ({"bin": {"x": "shell", "y": "dist/cli.js"}}, "y"),
    ],
)
def test_the_program_of_an_npm_package_is_found(
    tmp_path: Path, told: dict[str, Any], wanted: str | None
) -> None:
    _module(tmp_path, **told)
    assert find_entry(TOOL, tmp_path, wanted).command == ("{node}", "{tree}/node_modules/@a/tool/dist/cli.js")


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"bin": {}},
        {"bin": []},
        {"bin": {"tool": 1}},
        {"bin": "shell"},
        {"bin": "../../../../bin/sh"},
        {"bin": "/bin/sh"},
        {"bin": "missing.js"},
        {"bin": "dist/cli.js", "version": "2.0.0"},
        {"bin": "dist/cli.js", "name": "other"},
    ],
)
def test_an_npm_package_that_announces_no_script_of_its_own_is_refused(
    tmp_path: Path, told: dict[str, Any]
) -> None:
    _module(tmp_path, **told)
    with pytest.raises(Refused):
        find_entry(TOOL, tmp_path, None)


def test_a_folder_where_a_file_must_be_is_refused(tmp_path: Path) -> None:
    _module(tmp_path, bin="dist/folder.js")
    (tmp_path / "node_modules/@a/tool/dist/folder.js").mkdir()
    with pytest.raises(Refused):
        find_entry(TOOL, tmp_path, None)
    _wheel(tmp_path, None)
    (tmp_path / "site/mcp_server_time-1.0.0.dist-info/entry_points.txt").mkdir()
    with pytest.raises(Refused):
        find_entry(TIME, tmp_path, None)


DEEP = '{"name":"@a/tool","version":"1.0.0","bin":"dist/cli.js","more":' + "[" * 5_000 + "]" * 5_000 + "}"


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"name": []}', "[" * 100_000, DEEP])
def test_a_package_json_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    _module(tmp_path)
    (tmp_path / "node_modules/@a/tool/package.json").write_text(text, encoding="utf-8")
    with pytest.raises(Refused):
        find_entry(TOOL, tmp_path, None)


@pytest.mark.parametrize(
    "line",
    [
        "mcp-server-time = os",
        "mcp-server-time = os:system('id')",
        "mcp-server-time = os;x:y",
        "mcp-server-time = a.b:c d",
        "mcp-server-time = a'b:c",
        "mcp-server-time = :main",
        "mcp'server = a:b",
    ],
)
def test_an_entry_point_that_is_no_name_is_never_put_into_code(tmp_path: Path, line: str) -> None:
    _wheel(tmp_path, f"[console_scripts]\n{line}\n")
    with pytest.raises(Refused):
        find_entry(TIME, tmp_path, None)


@pytest.mark.threat("T-PACKAGE")
@pytest.mark.parametrize(
    "line", ["x" + " " * 900_000 + "y = z", "[" * 900_000, "= " * 450_000, "no equals sign"]
)
def test_a_line_that_says_nothing_keeps_nobody_waiting(tmp_path: Path, line: str) -> None:
    _wheel(tmp_path, f"[other]\n{line}\n[console_scripts]\n# none\n mcp-server-time=a:b \n")
    assert "a('b')(i('a'))" in find_entry(TIME, tmp_path, None).command[-1]


@pytest.mark.parametrize("text", [None, "", "[gui_scripts]\na = b:c\n", "no section"])
def test_a_library_is_no_plugin(tmp_path: Path, text: str | None) -> None:
    _wheel(tmp_path, text)
    with pytest.raises(Refused, match="library"):
        find_entry(TIME, tmp_path, None)


def test_a_program_that_is_announced_twice_is_refused(tmp_path: Path) -> None:
    _wheel(tmp_path, "[console_scripts]\na = b:c\na = d:e\n")
    with pytest.raises(Refused, match="twice"):
        find_entry(TIME, tmp_path, None)


@pytest.mark.parametrize(
    "metadata", ["", "Name: other\nVersion: 1.0.0\n", "Name: mcp-server-time\nVersion: 2\n"]
)
def test_a_wheel_that_says_it_is_another_release_is_refused(tmp_path: Path, metadata: str) -> None:
    _wheel(tmp_path, "[console_scripts]\na = b:c\n", metadata=metadata)
    with pytest.raises(Refused, match="says it is"):
        find_entry(TIME, tmp_path, None)


def test_of_several_programs_the_operator_names_one(tmp_path: Path) -> None:
    _wheel(tmp_path, "[console_scripts]\none = a:b\ntwo = c:d\n")
    with pytest.raises(Misconfigured, match="several") as caught:
        find_entry(TIME, tmp_path, None)
    assert caught.value.remedy == "write entry = with one of: one, two"
    assert find_entry(TIME, tmp_path, "two").name == "two"
    with pytest.raises(Misconfigured, match="no program three"):
        find_entry(TIME, tmp_path, "three")

"""A program brings what it needs to run, and nothing of the home folder it may lie in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.sandbox.host.trail import Trail, which
from sekisho.sandbox.plans.spec import DEFAULT_SEARCH_PATH, Link


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def program(path: Path, text: str = "\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def look(tool: Path, *, script: Path | None = None) -> Trail:
    trail = Trail(DEFAULT_SEARCH_PATH)
    trail.follow_program(tool)
    if script is not None:
        trail.follow_script(script)
    return trail


def test_only_the_program_itself_is_bound_when_its_folder_proves_nothing(root: Path) -> None:
    tool = program(root / "bin" / "tool")
    (root / "secret").write_text("x")
    found = look(tool)
    assert str(root) not in found.folders
    assert str(tool.parent) not in found.folders


def test_a_home_folder_that_is_a_prefix_shows_only_its_interpreter_parts(root: Path) -> None:
    home = root / "me"
    (home / "lib" / "python3.11").mkdir(parents=True)
    (home / ".ssh").mkdir()
    found = look(program(home / "bin" / "python3"))
    assert {f"{home}/bin", f"{home}/lib"} <= set(found.folders)
    assert all(".ssh" not in path and path != str(home) for path in found.folders)


def test_links_outside_bound_folders_are_made_again(root: Path) -> None:
    tool = program(root / "opt" / "tool-1.0")
    link = root / "links" / "tool"
    link.parent.mkdir()
    link.symlink_to(tool)
    found = look(link)
    assert Link(path=str(link), target=str(tool)) in found.links
    assert str(tool) in found.folders


def test_a_circle_of_links_is_refused(root: Path) -> None:
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    with pytest.raises(Misconfigured):
        look(root / "a")


def test_a_script_brings_the_interpreter_of_its_first_line(root: Path) -> None:
    inner = program(root / "opt" / "shell")
    script = program(root / "bin" / "script", f"#!{inner} -e\n")
    assert str(inner) in look(script).folders


def test_a_script_of_env_brings_the_program_that_env_finds(root: Path) -> None:
    script = program(root / "bin" / "script", "#!/usr/bin/env -S sh -e\n")
    assert str(script) in look(script).folders


def test_a_node_package_brings_its_whole_tree(root: Path) -> None:
    entry = program(root / "app" / "node_modules" / "server" / "node_modules" / "x" / "index.js", "")
    node = program(root / "bin" / "node")
    assert f"{root}/app/node_modules" in look(node, script=entry).folders


def test_a_listed_path_must_be_there(root: Path) -> None:
    trail = Trail(DEFAULT_SEARCH_PATH)
    trail.follow_listed(str(root))
    assert trail.folders == [str(root)]
    with pytest.raises(Misconfigured, match="does not exist"):
        trail.follow_listed(str(root / "none"))


def test_shims_and_relative_folders_find_nothing(root: Path) -> None:
    program(root / "shims" / "tool")
    real = program(root / "real" / "tool")
    assert which("tool", f"{root}/shims:real:{root}/real") == str(real)
    assert which("tool", f"{root}/shims:real") is None

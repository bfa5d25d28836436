"""The survey of the host: programs, interpreters, links and listed paths."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants
from sekisho.sandbox.host.closure import survey, zone_name
from sekisho.sandbox.plans.spec import Closure, Link, SandboxSpec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Path(os.path.realpath(tmp_path))


def program(path: Path, text: str = "\x7fELF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def look(
    *argv: str | Path,
    files: FileGrant | None = None,
    runtime: tuple[str, ...] = (),
    search: str | None = None,
) -> Closure:
    return survey(
        SandboxSpec(
            name="notes",
            argv=tuple(str(word) for word in argv),
            grants=Grants(files=files or FileGrant()),
            runtime_paths=runtime,
            search_path=search,
        )
    )


def test_a_plain_name_is_found_on_the_search_path(root: Path) -> None:
    tool = program(root / "bin" / "tool")
    found = look("tool", search=str(tool.parent))
    assert found.argv == (str(tool),)
    assert str(tool) in found.read_only


def test_a_missing_program_is_refused_by_name() -> None:
    with pytest.raises(Misconfigured, match="'no-such-tool'") as caught:
        look("no-such-tool", search="/usr/bin")
    assert caught.value.code == "sandbox_unavailable"


def test_a_relative_program_and_a_relative_search_folder_are_refused(root: Path) -> None:
    program(root / "tool")
    with pytest.raises(Misconfigured, match="neither"):
        look("./tool")
    with pytest.raises(Misconfigured):
        look("tool", search=".:" + str(root / "empty"))


def test_a_shim_is_passed_over_for_the_real_program(root: Path) -> None:
    program(root / "shims" / "tool")
    real = program(root / "real" / "tool")
    assert look("tool", search=f"{root}/shims:{root}/real").argv == (str(real),)


def test_a_virtual_environment_brings_its_base_interpreter(root: Path) -> None:
    base = program(root / "base" / "bin" / "python3.11")
    (root / "base" / "lib" / "python3.11").mkdir(parents=True)
    (root / "base" / "share").mkdir()
    venv = root / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "lib" / "python3.11").mkdir(parents=True)
    (venv / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
    (venv / "bin" / "python3").symlink_to(base)
    (venv / "bin" / "python").symlink_to("python3")
    found = look(venv / "bin" / "python")
    wanted = {f"{venv}/bin", f"{venv}/lib", f"{venv}/pyvenv.cfg", f"{root}/base/bin", f"{root}/base/lib"}
    assert wanted <= set(found.read_only)
    assert f"{root}/base/share" not in found.read_only
    assert found.argv[0] == str(venv / "bin" / "python")


def test_an_environment_reached_through_a_linked_folder_is_laid_out_where_it_really_is(root: Path) -> None:
    venv = root / "disk" / "venv"
    program(venv / "bin" / "python3")
    (venv / "lib" / "python3.11").mkdir(parents=True)
    (venv / "lib64").symlink_to("lib")
    (venv / "pyvenv.cfg").write_text(f"home = {root}\n")
    (root / "desk").symlink_to(root / "disk")
    found = look(root / "desk" / "venv" / "bin" / "python3")
    assert found.argv[0] == f"{root}/desk/venv/bin/python3"
    assert Link(path=f"{root}/desk", target=f"{root}/disk") in found.links
    assert Link(path=f"{venv}/lib64", target="lib") in found.links
    shown = [*found.read_only, *(link.path for link in found.links)]
    assert not [path for path in shown if path.startswith(f"{root}/desk/")]


def test_the_script_argument_is_bound_and_later_arguments_are_not(root: Path) -> None:
    script, data = root / "server.py", root / "data.db"
    script.write_text("")
    data.write_text("")
    found = look(program(root / "bin" / "python"), "-u", script, data)
    assert str(script) in found.read_only
    assert str(data) not in found.read_only


def test_a_runtime_path_is_bound_and_must_exist(root: Path) -> None:
    tool = program(root / "bin" / "tool")
    (root / "lib").mkdir()
    assert f"{root}/lib" in look(tool, runtime=(f"{root}/lib",)).read_only
    with pytest.raises(Misconfigured, match="does not exist"):
        look(tool, runtime=(f"{root}/none",))


def test_a_granted_path_must_exist(root: Path) -> None:
    tool = program(root / "bin" / "tool")
    with pytest.raises(Misconfigured, match="does not exist") as caught:
        look(tool, files=FileGrant(read_only_paths=(f"{root}/none",)))
    assert caught.value.code == "sandbox_unavailable"
    look(tool, files=FileGrant(writable_paths=(f"{root}/bin/",)))


@pytest.mark.threat("T-READ-HOST")
def test_a_granted_link_is_refused_and_names_its_target(root: Path) -> None:
    tool = program(root / "bin" / "tool")
    (root / "secret").mkdir()
    (root / "secret" / "inner").mkdir()
    (root / "data").symlink_to(root / "secret")
    for path in (f"{root}/data", f"{root}/data/inner"):
        with pytest.raises(Misconfigured, match=f"{root}/secret"):
            look(tool, files=FileGrant(read_only_paths=(path,)))


def test_blocked_paths_are_told_apart_and_followed(root: Path) -> None:
    tool = program(root / "bin" / "tool")
    (root / "folder").mkdir()
    (root / "file").write_text("x")
    (root / "link").symlink_to(root / "file")
    found = look(tool, files=FileGrant(blocked_paths=(f"{root}/folder", f"{root}/link", f"{root}/none")))
    assert found.blocked == ((f"{root}/folder", True), (f"{root}/file", False))
    assert found.missing_blocked == (f"{root}/none",)


def test_the_system_folders_are_bound_or_linked_as_on_the_host() -> None:
    found = look(shutil.which("true") or "/bin/true")
    shown = {*found.read_only, *(link.path for link in found.links)}
    assert {"/usr", "/bin", "/lib"} <= shown
    assert not any(path in {"/etc", "/home", "/root", "/var", "/run"} for path in found.read_only)


def test_the_interpreter_of_these_tests_is_found_with_its_parts() -> None:
    found = look(sys.executable)
    real = os.path.realpath(sys.executable)
    assert any(real == path or real.startswith(path + "/") for path in found.read_only)


def test_single_files_and_file_systems_inside_are_told_where_writes_are_collected(root: Path) -> None:
    (root / "file").touch()
    (root / "folder").mkdir()
    tool = program(root / "tool")
    listed = (str(root / "file"), str(root / "folder"))
    found = look(tool, files=FileGrant(writable_paths=listed, persist="review"))
    assert found.files == (str(root / "file"),)
    assert found.mounts_below == ()
    inside = look(tool, files=FileGrant(writable_paths=("/dev",), persist="review"))
    assert "/dev/shm" in inside.mounts_below or not os.path.ismount("/dev/shm")


@pytest.mark.parametrize(
    ("link", "text", "name"),
    [
        ("/usr/share/zoneinfo/Asia/Tokyo", "", "Asia/Tokyo"),
        (
            "../usr/share/zoneinfo/America/Argentina/Buenos_Aires",
            "Etc/UTC\n",
            "America/Argentina/Buenos_Aires",
        ),
        ("/usr/share/zoneinfo/Etc/GMT+5", "", "Etc/GMT+5"),
        ("", "Europe/Berlin\n", "Europe/Berlin"),
        ("/etc/my-own-file", "", ""),
        ("/usr/share/zoneinfo/../../../etc/shadow", "", ""),
        ("", "two words\n", ""),
        ("", "Europe/Berlin\nsecond line\n", ""),
        ("", "\u00fcber/all", ""),
        ("", "", ""),
    ],
)
def test_the_name_of_the_time_zone_is_read_where_hosts_keep_it(
    tmp_path: Path, link: str, text: str, name: str
) -> None:
    if link:
        (tmp_path / "localtime").symlink_to(link)
    if text:
        (tmp_path / "timezone").write_text(text, encoding="utf-8")
    assert zone_name(tmp_path) == name

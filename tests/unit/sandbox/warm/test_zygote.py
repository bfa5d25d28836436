"""The fork server's parts that need no wall; what it does inside one is shown in tests/real/test_warm.py."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sekisho.sandbox.warm import zygote

SOURCE: Final = Path(zygote.__file__)
OLDEST: Final = (3, 9)
WAIT_S: Final = 30.0


def test_it_imports_the_standard_library_only_and_reads_as_old_python() -> None:
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=OLDEST)
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_serves_nobody_outside_a_wall() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-I", str(SOURCE), str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        ours.settimeout(WAIT_S)
        ours.send(json.dumps({"preload": [], "scratch": [], "mode": "code", "target": ""}).encode())
        assert json.loads(ours.recv(4096))["event"] == "unfit"
        assert process.wait(WAIT_S) == 0


def test_what_is_left_is_listed_deepest_first_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").touch()
    scratch = tmp_path / "scratch"
    (scratch / "a" / "b").mkdir(parents=True)
    (scratch / "a" / "b" / "c").touch()
    (scratch / "link").symlink_to(tmp_path / "outside")
    found = list(zygote.leftovers(str(scratch), scratch.stat().st_dev))
    assert sorted(found) == sorted(str(scratch / one) for one in ("a", "a/b", "a/b/c", "link"))
    assert (
        found.index(str(scratch / "a/b/c"))
        < found.index(str(scratch / "a/b"))
        < found.index(str(scratch / "a"))
    )
    for path in found:
        zygote.remove(path)
    assert list(scratch.iterdir()) == []
    assert (tmp_path / "outside" / "precious").exists()


def test_what_lies_on_another_device_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "granted").touch()
    assert list(zygote.leftovers(str(tmp_path), tmp_path.stat().st_dev + 1)) == []


def test_a_change_of_what_was_there_at_first_is_noticed(tmp_path: Path) -> None:
    scratch = [str(tmp_path)]
    (tmp_path / "link").symlink_to("/here")
    before = zygote.contents(scratch)
    assert zygote.contents(scratch) == before
    (tmp_path / "other").symlink_to("/there")
    (tmp_path / "other").replace(tmp_path / "link")
    assert zygote.contents(scratch) != before


def test_a_module_that_cannot_be_imported_is_left_to_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sekisho_breaks.py").write_text("raise ValueError('at import')\n")
    (tmp_path / "sekisho_leaves.py").write_text("raise SystemExit(1)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert zygote.preload(["sekisho_breaks", "json", "sekisho_leaves", "no_such_module"]) == ["json"]


def test_a_table_of_segments_counts_below_its_head(tmp_path: Path) -> None:
    table = tmp_path / "shm"
    assert not zygote.holds_segments(str(table))
    table.write_text("key shmid\n")
    assert not zygote.holds_segments(str(table))
    table.write_text("key shmid\n0 1\n")
    assert zygote.holds_segments(str(table))


def test_processes_that_are_not_the_plugin_are_collected_too() -> None:
    program = "from sekisho.sandbox.warm import zygote\nimport os\npids = [os.fork() or os._exit(3) for _ in range(3)]\n"
    program += "for pid in pids: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)\n"
    program += "print(zygote.reap(pids[1]), zygote.reap(pids[1]))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, timeout=WAIT_S, check=True
    )
    assert done.stdout.split() == [b"3", b"None"]
    assert os.getpid()

"""The parts of a child's way to its walls that need no namespace; the rest is shown in tests/real."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from sekisho.launcher import child
from sekisho.launcher.kernel import memory_file


def test_a_mark_becomes_its_number_and_other_words_stay() -> None:
    numbers = {"gate": 7, "/etc/passwd": 9}
    words = ("{fd:gate}", "{fd:/etc/passwd}", "{fd:other}", "gate", "x{fd:gate}")
    assert [child.fill(word, numbers) for word in words] == ["7", "9", "{fd:other}", "gate", "x{fd:gate}"]


@pytest.mark.threat("T-READ-HOST")
def test_a_source_that_became_a_link_is_refused(tmp_path: Path) -> None:
    folder = tmp_path.resolve() / "work"
    folder.mkdir()
    words = ["--setenv", "A", "--bind", "--ro-bind", "/dev/null", "/x", "--bind", str(folder), str(folder)]
    child.refuse_links(words)
    folder.rmdir()
    folder.symlink_to("/etc")
    with pytest.raises(ValueError, match="symbolic link"):
        child.refuse_links(words)


@pytest.mark.threat("T-READ-HOST")
def test_a_program_that_our_uid_may_write_is_run_from_a_copy_that_nobody_can(tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/true", tmp_path / "program"))
    copy = child.beyond_reach(str(program))
    assert isinstance(copy, int)
    try:
        assert os.pread(copy, 1 << 20, 0) == program.read_bytes()
        with pytest.raises(PermissionError):
            os.pwrite(copy, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(copy, 0)
    finally:
        os.close(copy)


def test_a_program_of_somebody_else_is_run_as_it_is(tmp_path: Path) -> None:
    program = Path("/bin/true").resolve()
    if os.geteuid() == 0:
        program = Path(shutil.copy(program, tmp_path / "program"))
        os.chown(program, 65534, 65534)
    assert child.beyond_reach(str(program)) == str(program)


def test_a_memory_file_with_another_content_reads_from_its_start() -> None:
    fd = memory_file(b"what was there before, and longer")
    try:
        child.rewrite(fd, b"new")
        assert os.read(fd, 100) == b"new"
    finally:
        os.close(fd)

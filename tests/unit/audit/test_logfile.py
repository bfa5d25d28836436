"""The file under the log: one writer, whole additions."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sekisho.audit.logfile import LogFile
from sekisho.errors import Misconfigured, Tampered, Unavailable


@contextmanager
def file_size_limit(limit: int) -> Iterator[None]:
    """Let the kernel refuse file growth beyond `limit`; Python ignores SIGXFSZ, so writes fail with EFBIG."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_second_writer_is_turned_away(tmp_path: Path) -> None:
    first = LogFile.open_locked(tmp_path / "log")
    with pytest.raises(Misconfigured, match="another process"):
        LogFile.open_locked(tmp_path / "log")
    first.close()
    LogFile.open_locked(tmp_path / "log").close()


def test_the_log_is_private_and_no_symbolic_link(tmp_path: Path) -> None:
    LogFile.open_locked(tmp_path / "deep" / "log").close()
    assert (tmp_path / "deep" / "log").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="link"):
        LogFile.open_locked(tmp_path / "link")


@pytest.mark.threat("T-FULLDISK")
def test_a_partial_write_is_rolled_back_and_the_next_one_tried(tmp_path: Path) -> None:
    file = LogFile.open_locked(tmp_path / "log")
    file.append(b"first\n")
    with file_size_limit(100), pytest.raises(Unavailable, match="cannot be written"):
        file.append(b"x" * 1000)  # the kernel takes 94 bytes of it
    assert (tmp_path / "log").read_bytes() == b"first\n"
    file.append(b"second\n")
    file.close()
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\n"


@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("change", ["longer", "shorter", "removed"])
def test_a_file_changed_by_somebody_else_is_not_written_to(tmp_path: Path, change: str) -> None:
    path = tmp_path / "log"
    file = LogFile.open_locked(path)
    file.append(b"first\n")
    match change:
        case "longer":
            with path.open("ab") as other:
                other.write(b"forged\n")
        case "shorter":
            os.truncate(path, 3)
        case _:
            path.unlink()
    with pytest.raises(Tampered, match="somebody else"):
        file.append(b"second\n")
    file.close()


@pytest.mark.threat("T-LOG")
def test_a_replaced_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile.open_locked(path)
    file.check_in_place()
    path.rename(tmp_path / "moved")
    with pytest.raises(Tampered, match="replaced"):
        file.check_in_place()
    path.touch()
    with pytest.raises(Tampered, match="replaced"):
        file.check_in_place()
    file.close()


def test_a_cut_file_goes_on_at_its_new_end(tmp_path: Path) -> None:
    file = LogFile.open_locked(tmp_path / "log")
    file.append(b"one\ntorn")
    file.cut(4)
    file.append(b"two\n")
    file.sync()
    with file.reader() as reader:
        assert reader.read() == b"one\ntwo\n"
    file.close()

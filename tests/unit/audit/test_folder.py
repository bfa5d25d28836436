"""The folder beside the log: files that appear whole or not at all, and a list of hashes nobody trusts."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.audit.folder import LogFolder, folder_of, replace_file
from sekisho.audit.ledger import Leaves


def hashes(first: int, count: int) -> list[bytes]:
    return [bytes([i]) * 32 for i in range(first, first + count)]


def test_leaf_hashes_are_stored_at_their_place(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    assert folder.told_leaves(0, 5) == []
    folder.store(Leaves(0, b"".join(hashes(0, 3))))
    folder.store(Leaves(2, b"".join(hashes(2, 4))))
    assert folder.told_leaves(0, 100) == hashes(0, 6)
    assert folder.told_leaves(4, 1) == hashes(4, 1)
    assert folder.told_leaves(6, 1) == []


def test_half_a_hash_tells_nothing(tmp_path: Path) -> None:
    folder = LogFolder(tmp_path)
    folder.store(Leaves(0, b"".join(hashes(0, 2))[:63]))
    assert folder.told_leaves(0, 2) == hashes(0, 1)


def test_a_failed_replacement_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    target.mkdir()
    (target / "occupied").touch()
    with pytest.raises(OSError, match="checkpoint"):
        replace_file(target, b"new", durable=True)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]


def test_replaced_files_are_private(tmp_path: Path) -> None:
    replace_file(tmp_path / "f", b"old", durable=True)
    replace_file(tmp_path / "f", b"new", durable=True)
    assert (tmp_path / "f").read_bytes() == b"new"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600


def test_the_folder_stands_beside_the_log() -> None:
    assert folder_of(Path("/var/log/sekisho/audit.log")).root == Path("/var/log/sekisho/audit.log.tlog")

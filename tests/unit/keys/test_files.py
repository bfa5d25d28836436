from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.keys import files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_private_file_is_written_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "key"
    files.write_private(path, b"secret")
    assert files.read_private(path) == b"secret"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700


@pytest.mark.parametrize("loose", [0o640, 0o604, 0o660, 0o620, 0o644])
def test_a_private_file_others_may_touch_is_refused(tmp_path: Path, loose: int) -> None:
    path = tmp_path / "key"
    files.write_private(path, b"secret")
    path.chmod(loose)
    with pytest.raises(Misconfigured) as caught:
        files.read_private(path)
    assert caught.value.code == "key_unavailable"


@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize("loose", [0o777, 0o722, 0o770, 0o1777])
def test_a_folder_into_which_others_can_put_keys_is_refused_and_one_they_can_look_at_is_not(
    tmp_path: Path, loose: int
) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    folder.chmod(loose)
    with pytest.raises(Misconfigured, match="others can put keys") as caught:
        files.write_private(folder / "key", b"secret")
    assert caught.value.code == "key_unavailable"
    folder.chmod(0o755)
    files.write_private(folder / "key", b"secret")


def test_a_folder_of_keys_that_somebody_else_owns_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives a folder away")
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4321, -1)
    with pytest.raises(Misconfigured, match="others can put keys"):
        files.ensure_folder(folder)


def test_replacing_a_file_leaves_nothing_else_behind(tmp_path: Path) -> None:
    path = tmp_path / "page"
    files.write_public(path, b"one")
    files.write_public(path, b"two")
    assert files.read_public(path) == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page"]


NO_ROOM = """
import resource, sys
from pathlib import Path
from sekisho.errors import Misconfigured
from sekisho.keys import files
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
try:
    files.write_private(Path(sys.argv[1]), b"secret")
except Misconfigured as error:
    sys.exit(error.remedy)
"""


def test_a_full_disk_is_called_one(tmp_path: Path) -> None:
    words = [sys.executable, "-c", NO_ROOM, str(tmp_path / "key")]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert ended.stderr == "free space there, then type it again\n"
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="absent"):
        files.read_public(tmp_path / "absent")


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    path.write_bytes(b"x" * (files.MAX_FILE_BYTES + 1))
    with pytest.raises(Misconfigured):
        files.read_public(path)


def test_a_folder_that_is_a_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(Misconfigured):
        files.ensure_folder(path / "below")
    with pytest.raises(Misconfigured), files.locked(path / "lock"):
        pass


def test_a_lock_can_be_taken_again_after_it_was_left(tmp_path: Path) -> None:
    for _ in range(2):
        with files.locked(tmp_path / "lock"):
            pass
    assert len(files.random_bytes(16)) == 16


def test_what_is_no_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(Misconfigured, match="not a file"):
            files.read_public(path)


def test_a_folder_can_be_synced_and_a_file_is_none(tmp_path: Path) -> None:
    files.sync_folder(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        files.sync_folder(tmp_path / "file")

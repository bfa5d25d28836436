"""A tree is judged before it is believed, read-only afterwards, and a change to it is noticed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sekisho.errors import Refused, Tampered
from sekisho.install.manifest import Entry, digests_of, write_manifest
from sekisho.install.tree import (
    TreeLimits,
    hash_all,
    look,
    remove_tree,
    stamps_of,
    sync_all,
    take,
    tree_bytes,
)

LIMITS = TreeLimits(max_bytes=1 << 20, max_files=50)


def _plant(folder: Path) -> Path:
    root = folder / "tree"
    (root / "bin").mkdir(parents=True)
    (root / "lib").mkdir()
    (root / "lib" / "code.py").write_bytes(b"print(1)\n")
    (root / "run").write_bytes(b"#!/bin/sh\n")
    (root / "run").chmod(0o755)
    (root / "bin" / "run").symlink_to("../run")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return _plant(tmp_path)


def test_a_tree_is_listed_with_kind_size_and_two_digests(root: Path) -> None:
    code = b"print(1)\n"
    assert {entry.path: entry for entry in take(root, LIMITS)} == {
        "bin": Entry(kind="d", path="bin"),
        "bin/run": Entry(kind="l", path="bin/run", size=6, digests=digests_of(b"../run")),
        "lib": Entry(kind="d", path="lib"),
        "lib/code.py": Entry(kind="f", path="lib/code.py", size=len(code), digests=digests_of(code)),
        "run": Entry(kind="x", path="run", size=10, digests=digests_of(b"#!/bin/sh\n")),
    }


def test_what_was_taken_can_be_written_by_nobody_and_has_one_date(root: Path) -> None:
    (root / "lib" / "code.py").chmod(0o666)
    (root / "lib").chmod(0o777)
    take(root, LIMITS)
    for path in (root, *root.rglob("*")):
        status = path.lstat()
        assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o222
        assert status.st_mtime == 315_532_800


def test_two_trees_with_the_same_content_are_the_same(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first, second = _plant(tmp_path / "one"), _plant(tmp_path / "two")
    (second / "lib" / "code.py").chmod(0o600)
    os.utime(second / "run", (1, 1))
    assert write_manifest(take(first, LIMITS)) == write_manifest(take(second, LIMITS))


def _fifo(root: Path) -> None:
    os.mkfifo(root / "pipe")


def _unix_socket(root: Path) -> None:
    here = Path.cwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("sock")
    finally:
        os.chdir(here)


def _set_uid(root: Path) -> None:
    (root / "run").chmod(0o4755)


def _set_gid_folder(root: Path) -> None:
    (root / "lib").chmod(0o2755)


def _absolute_link(root: Path) -> None:
    (root / "link").symlink_to("/etc/passwd")


def _link_out(root: Path) -> None:
    (root / "lib" / "link").symlink_to("../../secret")


def _another_name(root: Path) -> None:
    os.link(root / "lib" / "code.py", root.parent / "kept")


def _another_name_in_it(root: Path) -> None:
    os.link(root / "lib" / "code.py", root / "lib" / "more.py")


def _control_character(root: Path) -> None:
    (root / "a\nb").write_bytes(b"")


def _no_unicode(root: Path) -> None:
    Path(os.fsdecode(os.fsencode(root) + b"/\xff\xfe")).write_bytes(b"")


def _too_many(root: Path) -> None:
    for number in range(60):
        (root / str(number)).touch()


def _too_large(root: Path) -> None:
    with (root / "large").open("wb") as file:
        file.truncate(2 << 20)


def _deep(root: Path, levels: int = 1200) -> None:
    """Folders within folders, further than one path or one function that calls itself can go."""
    here = os.open(root, os.O_RDONLY)
    try:
        for _ in range(levels):
            os.mkdir("deep", dir_fd=here)
            inner = os.open("deep", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = inner
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    finally:
        os.close(here)


@pytest.mark.parametrize(
    "attack",
    [
        _fifo, _unix_socket, _set_uid, _set_gid_folder, _absolute_link, _link_out, _another_name, _another_name_in_it,
        _control_character, _no_unicode, _too_many, _too_large,
    ],
)  # fmt: skip
def test_a_tree_with_something_no_package_needs_is_refused(
    root: Path, attack: Callable[[Path], None]
) -> None:
    attack(root)
    with pytest.raises(Refused) as caught:
        take(root, LIMITS)
    assert caught.value.code == "package_refused"


def test_a_device_is_refused(root: Path) -> None:
    try:
        os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("making a device needs a capability that this machine does not give")
    with pytest.raises(Refused):
        take(root, LIMITS)


def _append(root: Path) -> None:
    path = root / "lib" / "code.py"
    path.chmod(0o644)
    with path.open("ab") as file:
        file.write(b"evil()\n")
    path.chmod(0o444)


def _same_size_same_date(root: Path) -> None:
    path = root / "lib" / "code.py"
    path.chmod(0o644)
    path.write_bytes(b"print(2)\n")
    path.chmod(0o444)
    os.utime(path, (315_532_800, 315_532_800))


def _added(root: Path) -> None:
    root.chmod(0o755)
    (root / "sitecustomize.py").write_bytes(b"")
    (root / "sitecustomize.py").chmod(0o444)
    root.chmod(0o555)


def _removed(root: Path) -> None:
    (root / "lib").chmod(0o755)
    (root / "lib" / "code.py").unlink()
    (root / "lib").chmod(0o555)


def _relinked(root: Path) -> None:
    (root / "bin").chmod(0o755)
    (root / "bin" / "run").unlink()
    (root / "bin" / "run").symlink_to("../lib")
    (root / "bin").chmod(0o555)


def _runnable(root: Path) -> None:
    (root / "lib" / "code.py").chmod(0o555)


def _writable(root: Path) -> None:
    (root / "lib" / "code.py").chmod(0o646)


def _open_folder(root: Path) -> None:
    root.chmod(0o777)


def _fifo_instead(root: Path) -> None:
    root.chmod(0o755)
    (root / "run").unlink()
    os.mkfifo(root / "run", 0o555)
    root.chmod(0o555)


CHANGES = [
    _append, _same_size_same_date, _added, _removed, _relinked, _runnable, _writable, _open_folder, _fifo_instead,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_noticed_by_a_look(root: Path, change: Callable[[Path], None]) -> None:
    entries = take(root, LIMITS)
    stamps = stamps_of(root)
    assert look(root, entries, stamps)
    change(root)
    with pytest.raises(Tampered) as caught:
        look(root, entries, stamps)
    assert caught.value.code == "package_tampered"
    with pytest.raises(Tampered):
        hash_all(root, entries)


def test_a_copy_of_a_sound_tree_is_hashed_and_found_sound(root: Path) -> None:
    entries = take(root, LIMITS)
    stamps = {**stamps_of(root), "lib/code.py": (1, 1, 1)}
    assert not look(root, entries, stamps)
    assert not look(root, entries, {})
    hash_all(root, entries)


def test_a_growing_folder_is_measured(root: Path) -> None:
    before = tree_bytes(root, LIMITS)
    (root / "more").write_bytes(os.urandom(100_000))
    assert tree_bytes(root, LIMITS) >= before + 90_000
    assert tree_bytes(root, TreeLimits(max_bytes=1 << 20, max_files=3)) > 1 << 20


def test_a_read_only_tree_is_removed_and_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (root / "link").symlink_to(outside)
    (root / "lib").chmod(0o555)
    remove_tree(root)
    remove_tree(root)
    assert not root.exists()
    assert (outside / "kept").exists()


def test_a_tree_of_any_depth_is_refused_and_removed(root: Path) -> None:
    _deep(root)
    try:
        with pytest.raises(Refused):
            take(root, LIMITS)
    finally:
        remove_tree(root)  # nobody else could
    assert not root.exists()


def test_a_link_instead_of_a_tree_is_refused(tmp_path: Path, root: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    with pytest.raises(Refused):
        take(link, LIMITS)
    take(root, LIMITS)


def test_a_folder_is_written_to_the_disk(root: Path) -> None:
    sync_all(root)

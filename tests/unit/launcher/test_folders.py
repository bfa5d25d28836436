"""Where mounts are placed: what a link does, and that a folder is looked for anew when something was mounted on it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.calls import unshare
from sekisho.launcher.folders import Folders, put, reach
from sekisho.launcher.mounts import NODEV, fresh, host, open_plain
from sekisho.launcher.network import map_ids
from sekisho.sandbox.host.probe import try_native

pytestmark = pytest.mark.real

if complaint := try_native():
    pytest.skip(f"no namespaces here: {complaint}", allow_module_level=True)

NEWNS_NEWUSER = 0x0002_0000 | 0x1000_0000


def tmpfs() -> int:
    return fresh("tmpfs", {"size": "65536", "mode": "0755"}, 0)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A folder, held open."""
    fd = open_plain(str(folder.resolve()))
    yield fd
    os.close(fd)


def apart(body: object) -> str:
    """What a body says in a mount namespace of its own."""

    def inside() -> object:
        outer = os.geteuid(), os.getegid()
        unshare(NEWNS_NEWUSER, "unshare")
        map_ids((0, 0), outer)
        return body()  # type: ignore[operator]  # a function of the test's

    return in_a_child(inside)


def test_folders_on_the_way_are_made_and_the_last_stays_open(tmp_path: Path) -> None:
    with opened(tmp_path) as root, Folders(root) as folders:
        first, name = folders.above("/a/b/c")
        assert (name, (tmp_path / "a" / "b").is_dir()) == ("c", True)
        assert folders.above("/a/b/d") == (first, "d")
        assert folders.above("/e") == (folders.root, "e")
        other, _ = folders.above("/a/x/y")
        assert os.path.samestat(os.fstat(other), os.stat(tmp_path / "a" / "x"))  # noqa: PTH116


def test_a_folder_that_is_mounted_over_is_looked_for_anew(tmp_path: Path) -> None:
    """Else what comes next would be placed below the mount, where nobody sees it."""
    root = tmp_path.resolve()
    (root / "a" / "b").mkdir(parents=True)

    def body() -> object:
        with Folders(open_plain(str(root))) as folders:
            for over in ("/a/b", "/a"):
                before = os.fstat(folders.above("/a/b/x")[0])
                folders.put(tmpfs(), over)
                after = os.fstat(folders.above("/a/b/x")[0])
                if os.path.samestat(before, after):
                    return f"still the old one after {over}"
        return "anew"

    assert apart(body) == "anew"


@pytest.mark.parametrize("place", ["link", "link/inner"])
def test_a_mount_is_placed_neither_on_a_link_nor_behind_one(tmp_path: Path, place: str) -> None:
    root = tmp_path.resolve()
    (root / "real" / "inner").mkdir(parents=True)
    (root / "link").symlink_to("real")
    (root / "file").write_text("")

    def body() -> object:
        try:
            put(open_plain(str(root)), tmpfs(), place)
        except OSError:
            return "refused"
        return "placed"

    assert apart(body) == "refused"
    assert apart(lambda: put(open_plain(str(root)), tmpfs(), "real/inner")) == "None"


def test_a_file_is_placed_neither_on_a_link_nor_over_what_it_leads_to(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "secret").write_text("kept")
    (root / "link").symlink_to("secret")

    def body() -> object:
        source = fresh_file()
        try:
            put(open_plain(str(root)), source, "link")
        except OSError as error:
            return "is a link" in str(error)
        return "placed"

    assert apart(body) == "True"
    assert apart(lambda: put(open_plain(str(root)), fresh_file(), "secret")) == "None"
    assert (root / "secret").read_text() == "kept"


def fresh_file() -> int:
    return host("/etc/hostname", NODEV)


def test_a_folder_is_reached_below_its_root_alone(tmp_path: Path) -> None:
    root = tmp_path.resolve() / "root"
    root.mkdir()
    with opened(root) as fd, pytest.raises(OSError, match="openat2"):
        reach(fd, "../outside")
    assert not (tmp_path / "outside").exists()

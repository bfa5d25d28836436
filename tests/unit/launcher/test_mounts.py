"""A root of our own from detached mounts, built and looked at inside namespaces of a child."""

# ruff: noqa: PTH102, PTH108, PTH115, PTH116, PTH208 - the calls themselves are tried here
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher.calls import unshare
from sekisho.launcher.mounts import build
from sekisho.launcher.network import map_ids
from sekisho.sandbox.host.probe import try_native

pytestmark = pytest.mark.real

if complaint := try_native():
    pytest.skip(f"no namespaces here: {complaint}", allow_module_level=True)

NEWNS_NEWUSER_NEWPID = 0x0002_0000 | 0x1000_0000 | 0x2000_0000


def mount(kind: str, path: str, source: str = "", size: int = 1 << 20, mode: str = "") -> dict[str, Any]:
    return {"kind": kind, "path": path, "source": source, "size": size, "mode": mode}


BASE = (mount("read", "/usr", "/usr"), mount("proc", "/proc"), mount("dev", "/dev"))


def built(mounts: list[dict[str, Any]], body: Any, data: dict[str, bytes] | None = None) -> str:
    def inside() -> object:
        outer = os.geteuid(), os.getegid()
        unshare(NEWNS_NEWUSER_NEWPID, "unshare")
        map_ids((1000, 1000), outer)

        def first() -> object:
            build([*BASE, *mounts], data or {})
            return body()

        return in_a_child(first)

    return in_a_child(inside)


def attempt(body: Any) -> str:
    try:
        return str(body())
    except OSError as error:
        return type(error).__name__


def test_nothing_is_there_but_what_is_listed(tmp_path: Path) -> None:
    assert built([], lambda: sorted(os.listdir("/"))) == "['dev', 'proc', 'usr']"
    assert built([], lambda: attempt(lambda: os.mkdir("/x"))) == "OSError"
    assert built([], lambda: Path("/dev/null").write_text("x")) == "1"
    assert "shm" in built([], lambda: os.listdir("/dev"))


def test_a_granted_folder_is_read_only_or_writable_as_a_whole(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    for name in ("read", "write"):
        (root / name / "sub").mkdir(parents=True)
    mounts = [mount(kind, f"{root}/{kind}", f"{root}/{kind}") for kind in ("read", "write")]

    def body() -> object:
        return [attempt(lambda p=p: (root / p / "sub" / "x").write_text("x")) for p in ("read", "write")]

    assert built(mounts, body) == "['OSError', '1']"
    assert (root / "write" / "sub" / "x").exists()


def test_a_source_that_is_a_link_or_behind_one_is_refused(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "real" / "inner").mkdir(parents=True)
    (root / "link").symlink_to("real")
    for source in ("link", "link/inner"):
        said = built([mount("read", f"{root}/x", f"{root}/{source}")], lambda: "built")
        assert "Too many levels of symbolic links" in said
    assert built([mount("read", f"{root}/x", f"{root}/real/inner")], lambda: "built") == "built"


def test_a_place_is_never_reached_through_a_link(tmp_path: Path) -> None:
    """A link inside a writable grant, left by an earlier life, does not move a cover elsewhere."""
    root = tmp_path.resolve()
    (root / "data" / "secret").mkdir(parents=True)
    (root / "data" / "link").symlink_to("secret")
    mounts = [mount("write", f"{root}/data", f"{root}/data"), mount("cover", f"{root}/data/link/deep")]
    assert "Error" in built(mounts, lambda: "built")


def test_covers_hide_and_stay(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    (root / "private").mkdir()
    (root / "private" / "x").write_text("secret")
    (root / "key").write_text("secret")
    mounts = [
        mount("write", str(root), str(root)),
        mount("cover", f"{root}/private"),
        mount("cover", f"{root}/key", "/dev/null"),
    ]

    def body() -> object:
        return [
            os.listdir(root / "private"),
            attempt(lambda: (root / "private" / "y").write_text("")),
            attempt((root / "key").read_text),
            attempt(lambda: os.unlink(root / "key")),
        ]

    assert built(mounts, body) == "[[], 'OSError', 'PermissionError', 'OSError']"
    assert (root / "key").read_text() == "secret"


def test_files_links_and_scratch_space_are_made(tmp_path: Path) -> None:
    mounts = [
        mount("link", "/bin", "usr/bin"),
        mount("file", "/etc/hostname", mode="0444"),
        mount("tmpfs", "/tmp", size=1 << 20, mode="1777"),
    ]

    def body() -> object:
        full = attempt(lambda: Path("/tmp/x").write_bytes(bytes(2 << 20)))
        return [os.readlink("/bin"), Path("/etc/hostname").read_text(), oct(os.stat("/tmp").st_mode), full]

    assert built(mounts, body, {"/etc/hostname": b"plugin"}) == "['usr/bin', 'plugin', '0o41777', 'OSError']"


def test_an_unknown_kind_is_refused() -> None:
    assert "cannot be mounted" in built([mount("overlay?", "/x")], lambda: "built")

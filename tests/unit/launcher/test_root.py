"""The root that is put together for bwrap: its words, and the tree itself inside namespaces of a child."""

# ruff: noqa: PTH116, PTH208 - the calls themselves are tried here
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.launcher.forked import in_a_child

from sekisho.launcher import root
from sekisho.launcher.mounts import host
from sekisho.launcher.staging import enter
from sekisho.sandbox.host.probe import try_native

NAMESPACES = try_native()
HERE = f"{root.STAGE}/{root.ROOT}"


def mount(kind: str, path: str, source: str = "", size: int = 1 << 20, mode: str = "") -> dict[str, Any]:
    return {"kind": kind, "path": path, "source": source, "size": size, "mode": mode}


def test_one_bind_stands_for_all_mounts_and_the_rest_of_the_words_stays() -> None:
    words = [
        "--unshare-user",
        "--hostname",
        "plugin",
        "--proc",
        "/proc",
        "--ro-bind",
        "/proc/sys",
        "/proc/sys",
    ]
    words += [
        "--perms",
        "0555",
        "--size",
        "4096",
        "--tmpfs",
        "/proc/acpi",
        "--dev",
        "/dev",
        "--symlink",
        "usr/bin",
        "/bin",
    ]
    words += [
        "--perms",
        "0444",
        "--file",
        "{fd:/etc/hosts}",
        "/etc/hosts",
        "--bind",
        "/srv",
        "/srv",
        "--remount-ro",
        "/",
    ]
    after = ["--clearenv", "--setenv", "A", "--bind", "--setenv", "B", "/srv", "--seccomp", "{fd:filter}"]
    mounts = [
        mount("proc", "/proc"),
        mount("read", "/proc/sys", "/proc/sys"),
        mount("cover", "/proc/acpi"),
        mount("cover", "/proc/keys", "/dev/null"),
        mount("dev", "/dev"),
        mount("write", "/srv", "/srv"),
        mount("read", "/processes", "/processes"),
    ]
    assert root.bind_whole([*words, *after], mounts) == [
        "--unshare-user", "--hostname", "plugin",
        "--dev-bind", HERE, "/",
        "--proc", "/proc",
        "--ro-bind", f"{root.STAGE}/proc-sys", "/proc/sys",
        "--ro-bind", f"{root.STAGE}/empty", "/proc/acpi",
        "--ro-bind", f"{root.STAGE}/dev-null", "/proc/keys",
        *after,
    ]  # fmt: skip


def test_parts_of_proc_that_somebody_else_covers_are_left_out_and_nothing_else() -> None:
    mounts = [
        mount("proc", "/proc"), mount("read", "/proc/sys", "/proc/sys"), mount("cover", "/proc/acpi"),
        mount("cover", "/srv/a/private"), mount("read", "/usr", "/usr"),
    ]  # fmt: skip
    words = ["--hostname", "plugin", "--proc", "/proc", "--clearenv", "--chdir", "/"]
    whole, bare = (root.bind_whole(words, mounts, covers=covers) for covers in (True, False))
    assert bare == ["--hostname", "plugin", "--dev-bind", HERE, "/", "--proc", "/proc", *words[-3:]]
    assert [one["path"] for one in mounts if root.covers_proc(one)] == ["/proc/sys", "/proc/acpi"]
    assert [word for word in whole if word not in bare] == [
        "--ro-bind", f"{root.STAGE}/proc-sys", "/proc/sys", "--ro-bind", f"{root.STAGE}/empty", "/proc/acpi",
    ]  # fmt: skip


@given(st.lists(st.text(min_size=1), max_size=5))
def test_what_stands_behind_the_options_is_never_read_as_one(values: list[str]) -> None:
    words = ["--ro-bind", "/usr", "/usr", "--clearenv", *values]
    assert root.bind_whole(words, [])[5:] == ["--clearenv", *values]


def looked_at(mounts: list[dict[str, Any]], body: Any, owner: int | None = None) -> str:
    def inside() -> object:
        enter()
        trees = {one["source"]: host(one["source"], 0) for one in mounts if one["kind"] in {"read", "write"}}
        parts = root.gather(
            [mount("proc", "/proc"), mount("cover", "/proc/keys", "/dev/null"), *mounts], trees, owner
        )
        root.put_together(parts, {"/etc/hostname": b"plugin"}, owner)
        return body()

    return in_a_child(inside)


def attempt(body: Any) -> str:
    try:
        return str(body())
    except OSError as error:
        return type(error).__name__


@pytest.mark.real
@pytest.mark.skipif(bool(NAMESPACES), reason=f"no namespaces here: {NAMESPACES}")
class TestTree:
    def test_it_holds_what_is_listed_and_nobody_changes_it(self, tmp_path: Path) -> None:
        for name in ("read", "write"):
            (tmp_path / name).mkdir()
        mounts = [mount("read", "/usr", "/usr"), mount("dev", "/dev"), mount("link", "/bin", "usr/bin")]
        mounts += [mount("tmpfs", "/tmp", mode="1777"), mount("file", "/etc/hostname", mode="0444")]
        mounts += [mount(kind, f"/{kind}", f"{tmp_path}/{kind}") for kind in ("read", "write")]

        def body() -> object:
            return [
                sorted(os.listdir(HERE)),
                [
                    attempt(lambda p=p: Path(HERE, p, "x").write_text("x"))
                    for p in ("", "etc", "dev", "read", "usr")
                ],
                [attempt(lambda p=p: Path(HERE, p, "x").write_text("x")) for p in ("write", "tmp")],
                Path(HERE, "dev/null").write_text("x"),
                sorted(os.listdir(root.STAGE)),
                attempt(lambda: Path(root.STAGE, "x").write_text("x")),
                attempt(lambda: Path(root.STAGE, "dev-null").read_text()),
            ]

        assert looked_at(mounts, body) == str([
            ["bin", "dev", "etc", "proc", "read", "tmp", "usr", "write"],
            ["OSError"] * 5,
            ["1", "1"],
            1,
            ["dev-null", "empty", "root"],
            "OSError",
            "PermissionError",
        ])  # fmt: skip
        assert (tmp_path / "write" / "x").exists()

    def test_what_is_missing_is_found_out_before_anything_is_changed(self) -> None:
        def inside() -> object:
            enter()
            before = Path("/proc/self/mountinfo").read_text()
            said = attempt(lambda: root.gather([mount("cover", "/x", "/no/such/thing")], {}, None))
            return said, before == Path("/proc/self/mountinfo").read_text()

        assert in_a_child(inside) == "('FileNotFoundError', True)"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files for somebody else")
    def test_what_is_ours_in_it_belongs_to_the_plugins_user(self) -> None:
        mounts = [
            mount("dev", "/dev"),
            mount("tmpfs", "/home/plugin", mode="0700"),
            mount("file", "/etc/hostname"),
        ]
        places = ("", "etc", "etc/hostname", "home", "home/plugin", "dev", "dev/pts/ptmx", "proc")

        def body() -> object:
            owners = {os.stat(f"{HERE}/{place}").st_uid for place in places}
            return owners, os.stat("/proc/self").st_uid

        assert looked_at(mounts, body, owner=42_017) == "({42017}, 0)"

"""Which attempts are refusals: judged on a small tree that stands for a plugin's root."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.launcher.places import Places, Refusal, Wish, walk

TABLE = [
    ("/", "root"), ("/usr", "read"), ("/data", "write"), ("/data/kept", "read"), ("/data/secret", "blocked"),
    ("/tmp", "private"), ("/dev", "devices"), ("/proc", "kernel"),
]  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """What a plugin would see."""
    for folder in ("usr/lib", "data/kept", "data/secret", "tmp", "dev", "proc"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("usr/lib/file", "data/file", "data/kept/file", "dev/null"):
        (tmp_path / file).write_text("")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "data/out").symlink_to("/home/key")
    (tmp_path / "data/loop").symlink_to("loop")
    (tmp_path / "data/up").symlink_to("/usr/lib/file")
    fd = os.open(tmp_path, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("wish", "path", "expected"),
    [
        ("read", "/home/key", ("read", "/home/key", "unlisted")),
        ("read", "/data/../home/key", ("read", "/home/key", "unlisted")),
        ("read", "/data/out", ("read", "/home/key", "unlisted")),
        ("read", "/tmp/hosts-own", ("read", "/tmp/hosts-own", "unlisted")),
        ("read", "/dev/mem", ("read", "/dev/mem", "unlisted")),
        ("read", "/data/secret", ("read", "/data/secret", "blocked")),
        ("read", "/data/secret/key", ("read", "/data/secret/key", "blocked")),
        ("write", "/usr/lib/file", ("write", "/usr/lib/file", "read_only")),
        ("write", "/data/up", ("write", "/usr/lib/file", "read_only")),
        ("make", "/data/kept/new", ("write", "/data/kept/new", "read_only")),
        ("make", "/data/kept/file", ("write", "/data/kept/file", "read_only")),
        ("make", "/new", ("write", "/new", "unlisted")),
        ("make", "/home/new", ("write", "/home/new", "unlisted")),
        ("make", "/data/out", ("write", "/home/key", "unlisted")),
        ("new", "/lib/folder", ("write", "/usr/lib/folder", "read_only")),
        ("new", "/dev/folder", ("write", "/dev/folder", "read_only")),
        ("entry", "/data/kept/file", ("write", "/data/kept/file", "read_only")),
        ("entry", "/data/secret/file", ("write", "/data/secret/file", "blocked")),
        ("entry", "/home/key", ("write", "/home/key", "unlisted")),
    ],
)  # fmt: skip
def test_what_the_walls_refuse_has_a_place_and_a_reason(
    root: int, wish: Wish, path: str, expected: tuple[str, str, str]
) -> None:
    found = judged(root, wish, path)
    assert found is not None
    assert (found.act, found.path, found.reason) == expected


@pytest.mark.parametrize(
    ("wish", "path"),
    [
        ("read", "/usr/lib/file"), ("read", "/usr/lib/missing"), ("read", "/lib/file"), ("read", "/"),
        ("read", "/data/file"), ("read", "/data/missing"), ("read", "/data/up"), ("read", "/dev/null"),
        ("read", "/proc/12/environ"), ("read", "/data/loop"), ("read", "/data/file/below"), ("read", "/a\0b"),
        ("write", "/data/file"), ("write", "/dev/null"), ("make", "/data/new"), ("make", "/tmp/new"),
        ("new", "/data/kept"), ("new", "/usr"), ("new", "/data/new"), ("new", "/"), ("new", "/data/.."),
        ("entry", "/data/file"), ("entry", "/data/out"), ("entry", "/tmp/gone"),
        ("make", "/usr/lib/__pycache__/a.pyc"), ("new", "/usr/lib/__pycache__"),
    ],
)  # fmt: skip
def test_what_they_allow_and_what_nobody_has_is_no_refusal(root: int, wish: Wish, path: str) -> None:
    found = judged(root, wish, path)
    assert found is None or found.on_host, found


def judged(root: int, wish: Wish, path: str) -> Refusal | None:
    return Places(TABLE, root, is_shared=False).refusal(wish, path)


@pytest.mark.parametrize(
    "path",
    [
        b"/tmp/a", b"//tmp/a", b"/./tmp/a", b"/usr//../tmp", b"/usr/../tmp/a", b"/usr/..", b"/data", b"/usr//lib", b"",
        b"/proc/self/root/tmp/a", b"//proc/self/cwd", b"/dev/fd/3/a", b"usr/lib", b"./usr", b"\xff/tmp",
    ],
)  # fmt: skip
def test_what_the_plugin_might_move_meanwhile_is_not_still(root: int, path: bytes) -> None:
    assert not Places(TABLE, root, is_shared=False).is_still(path)


@pytest.mark.parametrize("path", [b"/", b"/usr/lib/file", b"/usr/.venv/a.b", b"/usr/a..b/.c", b"/\xff\xfe"])
def test_what_only_the_host_could_move_is_still(root: int, path: bytes) -> None:
    assert Places(TABLE, root, is_shared=False).is_still(path)


def test_what_a_root_of_its_own_shows_may_be_read_and_nothing_else_is_said_of_it(root: int) -> None:
    bare = [(path, kind) for path, kind in TABLE if kind != "blocked"]
    asked = ("/lib/file", "/data/out", "/none")
    shown = [Places(bare, root, is_shared=False).refusal("read", path) for path in asked]
    assert [one and one.path for one in shown] == [None, "/home/key", "/none"], "a link starts at this root"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"/usr/lib/file", True), (b"/lib/file", True), (b"/data/up", True), (b"/", True), (b"/usr/lib/missing", False),
        (b"/home/key", False), (b"/data/out", False), (b"/data/loop", False), (b"/\xff\xfe", False),
    ],
)  # fmt: skip
def test_what_is_there_is_read_without_a_further_question_where_nothing_is_covered(
    root: int, path: bytes, expected: bool
) -> None:
    open_table = [(where, kind) for where, kind in TABLE if kind != "blocked"]
    places = Places(open_table, root, is_shared=False)
    assert places.is_there(path) is expected
    assert not (expected and places.refusal("read", os.fsdecode(path)))
    for careful in (Places(TABLE, root, is_shared=False), Places(open_table, root, is_shared=True)):
        assert not careful.is_there(path), "a cover, or the host's own file, is there and refused"


def test_an_image_is_read_and_never_written_and_the_hosts_own_files_are_told(
    root: int, tmp_path: Path
) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/server").write_text("")
    places = Places([("/", "image"), ("/data", "write"), ("/data/secret", "blocked")], root, is_shared=False)
    assert places.refusal("read", "/opt/server") is None
    assert places.refusal("write", "/opt/server") == Refusal("write", "/opt/server", "read_only")
    assert places.refusal("new", "/opt/folder") == Refusal("write", "/opt/folder", "read_only")
    assert places.refusal("make", "/data/new") is None
    told = places.refusal("read", "/home/key")
    assert told is not None
    assert told.on_host == "/home/key"
    assert places.refusal("read", "/usr/lib/locale/archive") is None, (
        "another system's libraries are elsewhere"
    )


def test_what_is_absent_is_asked_of_the_host(root: int) -> None:
    absent = [
        judged(root, "read", "/home/key"),
        judged(root, "make", "/home/new"),
        judged(root, "entry", "/home/key"),
    ]
    assert [one.on_host for one in absent if one is not None] == ["/home/key", "/home", "/home/key"]
    blocked = judged(root, "read", "/data/secret/key")
    assert blocked is not None
    assert blocked.on_host == "", "whatever the host has there, it was blocked by name"


def test_the_same_refusal_is_one_however_it_was_found() -> None:
    assert Refusal("read", "/a", "unlisted", on_host="/a") == Refusal("read", "/a", "unlisted")


def test_in_the_hosts_own_file_system_what_is_not_listed_is_refused_though_it_is_there(
    tmp_path: Path,
) -> None:
    for folder in ("listed", "open", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_text("")
    root = os.open("/", os.O_PATH)
    try:
        table = [(f"{tmp_path}/listed", "read"), (f"{tmp_path}/open", "write")]
        places = Places(table, root, is_shared=True)
        asked: list[tuple[Wish, str]] = [
            ("read", "listed/file"), ("write", "open/file"), ("make", "open/new"), ("read", "other/no"), ("read", "."),
            ("read", "other/file"), ("write", "listed/file"), ("make", "other/new"), ("entry", "listed/file"),
        ]  # fmt: skip
        found = [places.refusal(wish, f"{tmp_path}/{path}") for wish, path in asked]
        assert [one and one.reason for one in found] == [
            None, None, None, None, None, "unlisted", "read_only", "unlisted", "read_only",
        ]  # fmt: skip
        assert places.refusal("read", "/proc/self/status") is None
    finally:
        os.close(root)


def test_a_path_is_followed_link_by_link_from_its_own_root(root: int, tmp_path: Path) -> None:
    assert walk(root, "/data/out") == "/home/key"
    assert walk(root, "/lib/../lib/./x/") == "/usr/lib/x"
    assert walk(root, "/data/loop") is None
    assert walk(root, "/../..") == "/"
    (tmp_path / "data/in").symlink_to("kept/file")
    assert walk(root, "/data/in") == "/data/kept/file"
    assert walk(root, "/data/out", ("/home/",)) is None


@pytest.mark.parametrize(
    "path", ["/x", "/usr/lib/x", "/data/way/x", "/usr/lib/file/x", "/a/b/x", "/data/out", "/data/way/../x"]
)
def test_what_is_absent_lies_where_a_walk_would_end(root: int, tmp_path: Path, path: str) -> None:
    (tmp_path / "data/way").symlink_to("/usr/lib")
    refusal = Places([("/", "root")], root, is_shared=False).refusal("read", path)
    assert refusal is not None
    assert refusal.path == walk(root, path)


names = st.sampled_from(["..", ".", "", "usr", "data", "out", "loop", "home", "secret", "x", "tmp"])


@given(st.lists(names, max_size=12), st.sampled_from(["read", "write", "make", "new", "entry"]))
def test_every_path_has_an_answer_and_the_answer_has_no_way_round_in_it(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], wish: Wish
) -> None:
    base = tmp_path_factory.mktemp("root")
    (base / "data").mkdir()
    (base / "data/out").symlink_to("/home/../secret")
    (base / "data/loop").symlink_to("../data/loop")
    root = os.open(base, os.O_PATH)
    try:
        found = judged(root, wish, "/" + "/".join(parts))
    finally:
        os.close(root)
        shutil.rmtree(base)
    assert found is None or (
        found.path.startswith("/")
        and found.path != "/data/out"
        and not {"..", "."} & set(found.path.split("/"))
    )

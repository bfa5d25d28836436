"""Longest prefix, narrowest on a tie, nothing when unlisted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.policy import FileGrant, verdict

RANK = {"none": 0, "read": 1, "write": 2}
PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4).map(lambda parts: "/" + "/".join(parts))
GRANTABLE = PATHS.filter(lambda path: path != "/")
GRANTS = st.builds(
    lambda read, write, blocked: FileGrant(read_only_paths=read, writable_paths=write, blocked_paths=blocked),
    st.lists(GRANTABLE, max_size=3).map(tuple),
    st.lists(GRANTABLE, max_size=3).map(tuple),
    st.lists(PATHS, max_size=3).map(tuple),
)


@pytest.mark.requirement("A3.3")
def test_the_sample_grant_reads_as_written() -> None:
    files = FileGrant(
        read_only_paths=("/app/config",),
        writable_paths=("/tmp/plugin-cache",),
        blocked_paths=("/", "/etc", "/var"),
    )
    assert verdict(files, "/app/config/site.toml") == "read"
    assert verdict(files, "/tmp/plugin-cache/x") == "write"
    assert verdict(files, "/tmp/plugin-cached") == "none"
    assert verdict(files, "/etc/shadow") == "none"
    assert verdict(files, "/app") == "none"


def test_the_longest_prefix_decides_at_every_depth() -> None:
    files = FileGrant(read_only_paths=("/a/b/c",), writable_paths=("/a",), blocked_paths=("/a/b",))
    assert [verdict(files, path) for path in ("/a/x", "/a/b", "/a/b/x", "/a/b/c/d")] == [
        "write",
        "none",
        "none",
        "read",
    ]


def test_on_a_tie_the_narrower_statement_wins() -> None:
    assert verdict(FileGrant(read_only_paths=("/a",), writable_paths=("/a",)), "/a") == "read"
    assert verdict(FileGrant(writable_paths=("/a",), blocked_paths=("/a/",)), "/a/b") == "none"


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("path", ["", "a", "a/b", "/a/../etc", "/a\0b", "/a/\0", "../a", "/a/.."])
def test_a_path_that_is_not_plainly_absolute_gets_nothing(path: str) -> None:
    assert verdict(FileGrant(writable_paths=("/a",)), path) == "none"


def test_doubled_slashes_and_dots_change_nothing() -> None:
    assert verdict(FileGrant(writable_paths=("/a/b",)), "//a/./b///c") == "write"


@given(files=GRANTS, path=PATHS, block=PATHS)
def test_adding_a_block_never_allows_more(files: FileGrant, path: str, block: str) -> None:
    narrowed = FileGrant(
        read_only_paths=files.read_only_paths,
        writable_paths=files.writable_paths,
        blocked_paths=(*files.blocked_paths, block),
    )
    assert RANK[verdict(narrowed, path)] <= RANK[verdict(files, path)]


@given(path=PATHS)
def test_an_empty_grant_gives_nothing(path: str) -> None:
    assert verdict(FileGrant(), path) == "none"

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.plugin_server.roots import narrowed_roots, roots_bytes, told_roots
from sekisho.policy import FileGrant, Grants, Root, narrow

OURS = [("file:///data/a", "a"), ("file:///home/u/b", "b")]
SEGMENT = st.sampled_from(["data", "a", "home", "u", "b", "..", ".", "%2e%2e", "x y", "%2f", ""])
URI = st.lists(SEGMENT, max_size=6).map(lambda parts: "file:///" + "/".join(parts))


def _uris(answer: Any) -> list[str]:
    told = json.loads(narrowed_roots(OURS, json.dumps(answer).encode()))
    return [root["uri"] for root in told["roots"]]


@pytest.mark.parametrize(
    ("theirs", "kept"),
    [
        (["file:///data/a"], ["file:///data/a"]),
        (["file:///data"], ["file:///data/a"]),
        (["file:///"], ["file:///data/a", "file:///home/u/b"]),
        (["file:///data/a/deep"], ["file:///data/a/deep"]),
        (["file://localhost/home/u/b/"], ["file:///home/u/b"]),
        ([], []),
        (["file:///data/ab"], []),
        (["file:///data/a/../../etc"], []),
        (["file:///data/a/%2e%2e/%2e%2e/etc"], []),
        (["file://other/data/a"], []),
        (["https://data/a"], []),
        (["file:data/a"], []),
        (["file:///data/a?x"], []),
        (["file://[/data/a"], []),
        (["file:///data/a%00"], []),
    ],
)
def test_a_client_s_roots_only_narrow(theirs: list[str], kept: list[str]) -> None:
    assert _uris({"roots": [{"uri": uri} for uri in theirs]}) == kept


@given(st.lists(URI, max_size=4))
def test_no_answer_leads_out_of_the_grants(theirs: list[str]) -> None:
    for uri in _uris({"roots": [{"uri": one, "name": "n"} for one in theirs]}):
        path = PurePosixPath(uri.removeprefix("file://").replace("%20", " "))
        assert ".." not in path.parts
        assert any(path.is_relative_to(grant.removeprefix("file://")) for grant, _ in OURS)


@pytest.mark.parametrize("answer", [[], {"roots": 7}, {"roots": [{"uri": 7}]}, {}, 7])
def test_an_answer_that_cannot_be_read_leaves_none(answer: Any) -> None:
    assert _uris(answer) == []


def test_without_a_client_ours_are_stated_as_they_are() -> None:
    assert json.loads(roots_bytes(OURS)) == {"roots": [{"uri": uri, "name": name} for uri, name in OURS]}


STATED = (
    Root(uri="file:///srv/data", name="the data", write=True, read=True),
    Root(uri="file:///srv/more", name="", read=True),
    Root(uri="https://api.example.com", name="an endpoint", reaches=(("api.example.com", 443),)),
)
GRANTS = Grants(files=FileGrant(writable_paths=("/srv/data",), read_only_paths=("/srv/more/a b",)))


def test_a_plugin_is_told_of_the_folders_it_may_reach_under_the_operators_names() -> None:
    narrowed = narrow(GRANTS, STATED)
    assert told_roots(narrowed.grants.files, narrowed.roots, is_walled=True) == (
        ("file:///srv/data", "the data"),
        ("file:///srv/more/a%20b", "a b"),
    )


def test_without_roots_it_is_told_of_its_grants() -> None:
    assert told_roots(GRANTS.files, None, is_walled=True) == (
        ("file:///srv/data", "data"),
        ("file:///srv/more/a%20b", "a b"),
    )
    assert told_roots(GRANTS.files, (), is_walled=False) == ()


def test_a_plugin_elsewhere_is_told_of_the_stated_folders_and_of_no_address() -> None:
    assert told_roots(FileGrant(), STATED, is_walled=False) == (
        ("file:///srv/data", "the data"),
        ("file:///srv/more", ""),
    )

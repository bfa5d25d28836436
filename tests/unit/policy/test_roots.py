"""Roots narrow what was granted, and never give."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, NetworkGrant
from sekisho.policy.hosts import permits
from sekisho.policy.paths import verdict
from sekisho.policy.roots import Root, narrow

GRANTS = Grants(
    files=FileGrant(
        read_only_paths=("/srv/read", "/srv/data/fixed"),
        writable_paths=("/srv/data",),
        blocked_paths=("/srv/data/secret",),
    ),
    network=NetworkGrant(
        allowed_domains=("api.example.com", "*.cdn.example.com"),
        blocked_domains=("bad.cdn.example.com",),
        allow_localhost=True,
        localhost_ports=(5432,),
    ),
)


def folder(path: str, *, read: bool = True, write: bool = False) -> Root:
    return Root(uri=f"file://{path}", name="", read=read, write=write)


def site(uri: str, *reaches: tuple[str, int]) -> Root:
    return Root(uri=uri, name="", reaches=reaches)


def test_a_root_keeps_what_is_granted_inside_it() -> None:
    narrowed = narrow(GRANTS, (folder("/srv", write=True),))
    assert set(narrowed.grants.files.read_only_paths) == {"/srv/read", "/srv/data/fixed"}
    assert narrowed.grants.files.writable_paths == ("/srv/data",)
    assert narrowed.grants.files.blocked_paths == ("/srv/data/secret",)
    assert narrowed.idle == ()


def test_a_root_inside_a_grant_keeps_itself_alone() -> None:
    narrowed = narrow(GRANTS, (folder("/srv/data/one", write=True),))
    assert narrowed.grants.files.writable_paths == ("/srv/data/one",)
    assert narrowed.grants.files.read_only_paths == ()


def test_a_root_to_read_makes_what_is_writable_readable() -> None:
    narrowed = narrow(GRANTS, (folder("/srv/data"),))
    assert set(narrowed.grants.files.read_only_paths) == {"/srv/data", "/srv/data/fixed"}
    assert narrowed.grants.files.writable_paths == ()


@pytest.mark.parametrize("path", ["/elsewhere", "/srv/data/secret/x", "/srv/database"])
def test_a_root_outside_the_grants_gives_nothing_and_is_named(path: str) -> None:
    narrowed = narrow(GRANTS, (folder(path, write=True),))
    assert narrowed.grants.files.read_only_paths == narrowed.grants.files.writable_paths == ()
    assert narrowed.roots == ()
    assert narrowed.idle == (f"root file://{path} gives nothing: filesystem_policy grants nothing in it",)


def test_a_root_without_a_leave_gives_nothing_and_is_named() -> None:
    narrowed = narrow(GRANTS, (folder("/srv/data", read=False), site("https://api.example.com")))
    assert narrowed.roots == ()
    assert [line.split(": ", 1)[1] for line in narrowed.idle] == [
        "it has neither allow-read nor allow-write",
        "it has no allow-net",
    ]


def test_a_site_keeps_its_host_and_port() -> None:
    narrowed = narrow(GRANTS, (site("https://api.example.com", ("api.example.com", 443)),))
    network = narrowed.grants.network
    assert (network.allowed_domains, network.allowed_ports) == (("api.example.com",), (443,))
    assert not network.allow_localhost
    assert not permits(network, "api.example.com", 80)


def test_every_host_keeps_its_own_ports() -> None:
    here, there = ("api.example.com", 443), ("plain.example.com", 80)
    granted = Grants(network=NetworkGrant(allowed_domains=("*.example.com",), allowed_ports=(80, 443)))
    network = narrow(
        granted, (site("https://api.example.com", here), site("http://plain.example.com", there))
    ).grants.network
    assert permits(network, *here)
    assert permits(network, *there)
    assert not permits(network, "api.example.com", 80)
    assert not permits(network, "plain.example.com", 443)


def test_hosts_with_the_same_ports_need_no_pairs() -> None:
    granted = Grants(network=NetworkGrant(allowed_domains=("a.example", "b.example"), allowed_ports=(443,)))
    roots = (site("https://a.example", ("a.example", 443)), site("https://b.example", ("b.example", 443)))
    assert narrow(granted, roots).grants == granted


ENDPOINTS = st.tuples(
    st.sampled_from(["a.example", "b.example", "c.example"]), st.sampled_from([80, 443, 8443])
)


@given(st.lists(ENDPOINTS, min_size=1, max_size=6))
def test_what_is_reached_within_roots_is_what_they_and_the_grants_name(wanted: list[tuple[str, int]]) -> None:
    granted = NetworkGrant(allowed_domains=("a.example", "b.example"), allowed_ports=(80, 443))
    roots = tuple(site(f"https://{host}:{port}", (host, port)) for host, port in wanted)
    network = narrow(Grants(network=granted), roots).grants.network
    for host in ("a.example", "b.example", "c.example"):
        for port in (80, 443, 8443):
            asked = (host, port)
            assert permits(network, *asked) == (permits(granted, *asked) and asked in wanted)


@pytest.mark.parametrize(
    "reached",
    [("other.example.com", 443), ("api.example.com", 8443), ("bad.cdn.example.com", 443), ("localhost", 22)],
)
def test_a_site_that_is_not_granted_gives_nothing(reached: tuple[str, int]) -> None:
    narrowed = narrow(GRANTS, (site("https://api.example.com", reached),))
    assert narrowed.grants.network.is_closed
    assert len(narrowed.idle) == 1


def test_a_service_of_this_machine_needs_its_grant_too() -> None:
    narrowed = narrow(GRANTS, (site("http://localhost:5432", ("localhost", 5432)),))
    assert narrowed.grants.network.localhost_ports == (5432,)
    assert narrowed.grants.network.allowed_domains == ()


def test_no_roots_at_all_leave_nothing() -> None:
    narrowed = narrow(GRANTS, ())
    assert narrowed.grants.network.is_closed
    assert narrowed.grants.files.read_only_paths == narrowed.grants.files.writable_paths == ()


@pytest.mark.parametrize(
    "uri",
    [
        "file:///",
        "file:///..",
        "file:///a/../b",
        "file:///a/%2e%2e/b",
        "file:///a%00",
        "file://host/a",
        "file:a",
        "/a",
        "ftp://example.com",
        "https://127.0.0.1",
        "https://[::1]",
        "https://[::1",
        "https://user@example.com",
        "https://example.com?x",
        "https://example.com#x",
        "https://example.com:99999",
        "https://example.com\\x",
        "https://example.com/a/../b",
        "https://exämple.com",
        "file:///a\nb",
        "file:///%ff",
        "",
    ],
)
def test_a_root_that_can_be_read_in_two_ways_is_refused(uri: str) -> None:
    with pytest.raises(Misconfigured):
        Root(uri=uri, name="")


def test_folders_do_not_open_hosts_and_sites_are_not_read() -> None:
    with pytest.raises(Misconfigured):
        Root(uri="file:///a", name="", reaches=(("x.example.com", 443),))
    with pytest.raises(Misconfigured):
        Root(uri="https://x.example.com", name="", read=True)


def test_a_root_knows_its_place() -> None:
    assert Root(uri="file://localhost/a//b%20c/", name="").path == "/a/b c"
    assert Root(uri="file:///a//b%20c/", name="").uri == "file:///a/b%20c"
    one = Root(uri="https://x.example.com/v1/y", name="")
    assert (one.origin, one.segments) == (("https", "x.example.com", 443), ("v1", "y"))


PATH = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))
PATHS = st.lists(PATH, max_size=3, unique=True).map(tuple)
FILES = st.builds(FileGrant, read_only_paths=PATHS, writable_paths=PATHS, blocked_paths=PATHS)
ROOTS = st.lists(st.tuples(PATH, st.booleans()), max_size=3, unique_by=lambda one: one[0])
ORDER = ("none", "read", "write")


@pytest.mark.requirement("B8")
@given(FILES, ROOTS, PATH)
def test_roots_only_narrow(files: FileGrant, roots: list[tuple[str, bool]], path: str) -> None:
    narrowed = narrow(Grants(files=files), [folder(one, write=write) for one, write in roots])
    left = verdict(narrowed.grants.files, path)
    assert ORDER.index(left) <= ORDER.index(verdict(files, path))
    inside = [write for one, write in roots if PurePosixPath(path).is_relative_to(one)]
    assert left == "none" or inside
    assert left != "write" or any(inside)


@given(FILES, ROOTS, PATH)
def test_what_is_granted_in_a_root_for_writing_remains(
    files: FileGrant, roots: list[tuple[str, bool]], path: str
) -> None:
    """Where every root around a path lets it be written, the grant stands as it was."""
    around = [write for one, write in roots if PurePosixPath(path).is_relative_to(one)]
    narrowed = narrow(Grants(files=files), [folder(one, write=write) for one, write in roots])
    if around and all(around):
        assert verdict(narrowed.grants.files, path) == verdict(files, path)

"""Flags and answers for Deno come from one place, and say what the walls say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, NetworkGrant
from sekisho.policy.paths import verdict
from sekisho.sandbox.deno.access import DenoAccess
from sekisho.sandbox.plans.spec import INNER_HOME

GRANTS = Grants(
    files=FileGrant(
        read_only_paths=("/srv/read", "/srv/data/fixed"),
        writable_paths=("/srv/data",),
        blocked_paths=("/srv/data/secret", "/etc", "/"),
    ),
    network=NetworkGrant(
        allowed_domains=("api.example.com", "*.cdn.example.com"),
        blocked_domains=("*", "bad.cdn.example.com"),
        allowed_ports=(443,),
        allow_localhost=True,
        localhost_ports=(5432,),
    ),
)
HOSTS = (
    "api.example.com:443",
    "*.cdn.example.com:443",
    "localhost:5432",
    "127.0.0.1:5432",
    "[::1]:5432",
    "127.0.0.1:3128",
)
ACCESS = DenoAccess(grants=GRANTS, code=("/opt/server",))


def test_the_flags_are_the_grants() -> None:
    assert ACCESS.flags() == (
        "--allow-read=/opt/server,/srv/read,/srv/data/fixed,/srv/data,/tmp,/home/plugin",
        "--allow-write=/srv/data,/tmp,/home/plugin",
        "--deny-read=/srv/data/secret",
        "--deny-write=/srv/data/secret,/opt/server,/srv/read,/srv/data/fixed",
        f"--allow-net={','.join(HOSTS)}",
        "--deny-net=bad.cdn.example.com",
        "--allow-env",
        "--allow-sys=homedir",
    )


def test_while_it_learns_every_host_is_asked_of_the_gate() -> None:
    network = NetworkGrant(mode="learn", blocked_domains=("bad.example.com",))
    access = DenoAccess(grants=Grants(network=network))
    assert {"--allow-net", "--deny-net=bad.example.com"} <= set(access.flags())
    assert access.refusal("net", "any.example.com:443") is None
    assert access.refusal("net", "bad.example.com:443")
    assert access.refusal("net", "127.0.0.1:22")


def test_nothing_granted_is_nothing_but_scratch() -> None:
    assert DenoAccess(grants=Grants()).flags() == (
        "--allow-read=/tmp,/home/plugin",
        "--allow-write=/tmp,/home/plugin",
        "--allow-env",
        "--allow-sys=homedir",
    )


def test_a_denial_above_a_grant_is_left_to_the_outer_wall() -> None:
    files = FileGrant(writable_paths=("/a", "/a/b/c"), blocked_paths=("/a/b",))
    flags = DenoAccess(grants=Grants(files=files)).flags()
    assert not [one for one in flags if one.startswith("--deny")]


def test_what_is_listed_below_its_scratch_is_judged_by_the_list() -> None:
    files = FileGrant(read_only_paths=("/tmp/a/fixed",), blocked_paths=("/tmp/a/secret",))
    access = DenoAccess(grants=Grants(files=files), code=("/tmp/a/code",))
    assert access.refusal("write", "/tmp/a/x") is None
    assert access.refusal("read", "/tmp/a/fixed/x") is None
    assert access.refusal("write", "/tmp/a/fixed/x")
    assert access.refusal("write", "/tmp/a/code/x")
    assert access.refusal("read", "/tmp/a/secret/x")
    assert "--deny-write=/tmp/a/secret,/tmp/a/code,/tmp/a/fixed" in access.flags()


def test_a_path_that_deno_would_read_as_two_is_refused() -> None:
    with pytest.raises(Misconfigured, match="comma"):
        DenoAccess(grants=Grants(files=FileGrant(read_only_paths=("/a,/",)))).flags()


@pytest.mark.parametrize(
    ("permission", "value"),
    [
        ("env", "HOME"),
        ("env", None),
        ("read", "/srv/read/x"),
        ("read", "/srv/read/./x/../y"),
        ("read", "/opt/server/index.js"),
        ("read", "/tmp/x"),
        ("write", "/srv/data/x"),
        ("write", f"{INNER_HOME}/x"),
        ("net", "api.example.com:443"),
        ("net", "a.cdn.example.com:443"),
        ("net", "localhost:5432"),
        ("net", "127.0.0.1:5432"),
        ("net", "127.0.0.1:3128"),
        ("write", "<TMP>"),
        ("sys", "homedir"),
    ],
)
def test_what_is_granted_is_allowed(permission: str, value: str | None) -> None:
    assert ACCESS.refusal(permission, value) is None


@pytest.mark.parametrize(
    ("permission", "value"),
    [
        ("read", None),
        ("read", ""),
        ("read", "srv/read"),
        ("read", "<TMP>"),
        ("read", "./x"),
        ("write", "x"),
        ("read", "/etc/passwd"),
        ("read", "/srv/read/../../etc/passwd"),
        ("read", "//etc/passwd"),
        ("read", "/srv/data/secret/x"),
        ("read", "/srv/read\0"),
        ("read", "/srv/reading"),
        ("write", None),
        ("write", "/srv/read/x"),
        ("write", "/srv/data/fixed/x"),
        ("write", "/opt/server/index.js"),
        ("net", None),
        ("net", "api.example.com"),
        ("net", "api.example.com:80"),
        ("net", "bad.cdn.example.com:443"),
        ("net", "evil.example:443"),
        ("net", "169.254.169.254:80"),
        ("net", "[::1]:22"),
        ("net", "127.0.0.1:22"),
        ("net", "unix:/var/run/docker.sock"),
        ("net", "0.0.0.0:8000"),
        ("net", ":443"),
        ("run", "id"),
        ("run", None),
        ("ffi", "/x.so"),
        ("sys", "hostname"),
        ("import", "deno.land:443"),
        ("something-new", None),
    ],
)
def test_what_is_not_granted_is_denied_with_its_rule(permission: str, value: str | None) -> None:
    assert ACCESS.refusal(permission, value)


def test_without_a_network_the_proxy_is_no_way_either() -> None:
    assert DenoAccess(grants=Grants()).refusal("net", "127.0.0.1:3128")


PATH = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map(
    lambda parts: "/" + "/".join(parts)
)
PATHS = st.lists(PATH, max_size=3, unique=True).map(tuple)


@given(st.builds(FileGrant, read_only_paths=PATHS, writable_paths=PATHS, blocked_paths=PATHS), PATH)
def test_it_never_says_more_than_the_walls(files: FileGrant, path: str) -> None:
    access = DenoAccess(grants=Grants(files=files))
    assert (access.refusal("read", path) is None) == (verdict(files, path) != "none")
    assert (access.refusal("write", path) is None) == (verdict(files, path) == "write")


@given(st.text(), st.none() | st.text())
def test_any_question_has_an_answer(permission: str, value: str | None) -> None:
    ACCESS.refusal(permission, value)


def test_hosts_whose_ports_are_their_own_are_listed_as_pairs() -> None:
    pairs = (("a.example", 443), ("b.example", 80))
    network = NetworkGrant(allowed_domains=("a.example", "b.example"), endpoints=pairs)
    access = DenoAccess(grants=Grants(network=network))
    assert "--allow-net=a.example:443,b.example:80,127.0.0.1:3128" in access.flags()
    assert access.refusal("net", "a.example:80")

"""Only what was approved is unchanged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sekisho.policy import SecretGrant, SecretHost, SecretReference
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.protocol.names import PluginName
from sekisho.registry import (
    DriftState,
    ItemId,
    ItemKind,
    Listing,
    LockedPlugin,
    Surface,
    compare,
    grants_digest,
    lock_entry,
    surface_of,
)

# a busy machine is not a failure: no assertion about the wall clock
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ARGV = ("node", "server.js")
GRANTS = grants_digest(Grants())


def surface(**tools: str) -> Surface:
    return surface_of(
        Listing(
            tools=tuple(
                f'{{"name":"{name}","description":"{text}"}}'.encode() for name, text in tools.items()
            )
        )
    )


def approved(**tools: str) -> LockedPlugin:
    return lock_entry(
        name=PluginName("p"),
        argv=ARGV,
        grants=GRANTS,
        surface=surface(**tools),
        approved_by="aya",
        approved_at="2026-11-21T12:00:00Z",
    )


def tool(name: str) -> ItemId:
    return ItemId(ItemKind.TOOL, name)


def test_a_plugin_nobody_approved_is_unknown() -> None:
    drift = compare(None, surface(a="x"), ARGV, GRANTS)
    assert drift.state is DriftState.UNKNOWN
    assert not drift.is_unchanged
    assert tool("a") in drift.added


def test_what_was_approved_is_unchanged() -> None:
    drift = compare(approved(a="x", b="y"), surface(b="y", a="x"), ARGV, GRANTS)
    assert drift.is_unchanged
    assert drift.summary() == "unchanged"


@pytest.mark.requirement("B4.1")
@pytest.mark.threat("T-RUGPULL")
def test_added_removed_and_changed_tools_are_named() -> None:
    drift = compare(approved(a="x", b="y"), surface(a="X", c="z"), ARGV, GRANTS)
    assert drift.state is DriftState.CHANGED
    assert (drift.added, drift.removed, drift.changed) == ((tool("c"),), (tool("b"),), (tool("a"),))
    assert drift.summary() == "1 added, 1 removed, 1 changed"


@pytest.mark.parametrize("argv", [(), ("node",), ("server.js", "node"), ("node", "server.js", "--evil")])
def test_another_launcher_is_a_change(argv: tuple[str, ...]) -> None:
    drift = compare(approved(a="x"), surface(a="x"), argv, GRANTS)
    assert drift.argv_changed
    assert not drift.is_unchanged
    assert not drift.surface_changed


def test_other_permissions_are_a_change() -> None:
    wider = grants_digest(Grants(network=NetworkGrant(allowed_domains=("example.com",))))
    drift = compare(approved(a="x"), surface(a="x"), ARGV, wider)
    assert drift.grants_changed
    assert not drift.is_unchanged


def test_a_root_that_does_not_follow_from_the_items_is_a_change() -> None:
    broken = replace(approved(a="x"), root="sha256:00")
    assert not compare(broken, surface(a="x"), ARGV, GRANTS).is_unchanged


@PATIENT
@given(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy"), max_size=4),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xy"), max_size=4),
)
def test_unchanged_means_equal_and_nothing_else(then: dict[str, str], now: dict[str, str]) -> None:
    assert compare(approved(**then), surface(**now), ARGV, GRANTS).is_unchanged is (then == now)


@pytest.mark.parametrize(
    "wider",
    [
        Grants(files=FileGrant(read_only_paths=("/srv",))),
        Grants(files=FileGrant(writable_paths=("/srv",))),
        Grants(files=FileGrant(blocked_paths=("/srv",))),
        Grants(network=NetworkGrant(blocked_domains=("*",))),
        Grants(network=NetworkGrant(allowed_ports=(443,))),
        Grants(network=NetworkGrant(allow_localhost=True, localhost_ports=(1,))),
        Grants(environment=("API_KEY",)),
        Grants(allowed_operations=("a",)),
    ],
)
def test_every_permission_counts(wider: Grants) -> None:
    assert grants_digest(wider) != GRANTS


def test_limits_and_order_do_not_ask_for_a_new_review() -> None:
    assert grants_digest(Grants(limits=LimitGrant(max_memory_mb=2048))) == GRANTS
    one = Grants(allowed_operations=("a", "b"), network=NetworkGrant(allowed_domains=("a.com", "b.com")))
    other = Grants(allowed_operations=("b", "a"), network=NetworkGrant(allowed_domains=("b.com", "a.com")))
    assert grants_digest(one) == grants_digest(other)


def test_a_secret_opened_tls_or_weaker_walls_change_the_permissions_and_their_absence_does_not() -> None:
    secret = SecretGrant(
        name="TOKEN", reference=SecretReference("env", "TOKEN"), hosts=(SecretHost("api.example.com", 443),)
    )
    opened = replace(secret, in_environment=True)
    elsewhere = replace(secret, hosts=(SecretHost("other.example.com", 443),))
    found = {grants_digest(Grants(secrets=one)) for one in ((), (secret,), (opened,), (elsewhere,))}
    found.add(grants_digest(Grants(network=NetworkGrant(intercept_tls=True))))
    found |= {
        grants_digest(Grants(isolation=level)) for level in ("strict", "standard", "minimal", "unsafe-none")
    }
    assert len(found) == 8
    # what was approved before secrets existed
    assert (
        grants_digest(Grants()) == "sha256:f0e2dfe6d43f450d6f36c716366eb7043fa1863a4f75ce28cee9dfba01401112"
    )


def test_what_widens_the_walls_besides_is_part_of_what_was_approved_in_any_order() -> None:
    one, other = (grants_digest(Grants(widened=words)) for words in (("a = 1", "b = 2"), ("b = 2", "a = 1")))
    assert one == other
    assert len({one, GRANTS, grants_digest(Grants(widened=("a = 1",)))}) == 3


def test_learning_is_a_wider_reach_and_speed_is_none() -> None:
    plain = NetworkGrant(allowed_domains=("example.com",))
    digest = grants_digest(Grants(network=plain))
    assert grants_digest(Grants(network=replace(plain, mode="learn"))) != digest
    assert grants_digest(Grants(network=replace(plain, max_connections=1, max_mb_per_minute=0))) == digest
    assert grants_digest(Grants(network=replace(plain, endpoints=(("example.com", 443),)))) != digest


def test_where_writes_go_is_part_of_what_was_approved_and_the_usual_way_changes_no_approval() -> None:
    found = {
        grants_digest(Grants(files=FileGrant(persist=persist))) for persist in ("direct", "review", "discard")
    }
    assert len(found) == 3
    assert GRANTS in found


@pytest.mark.threat("T-RUGPULL")
def test_other_files_of_a_package_are_a_change_that_is_named() -> None:
    def packaged(tree: str, text: str = "x") -> Surface:
        return surface_of(Listing(tools=(f'{{"name":"a","description":"{text}"}}'.encode(),), tree=tree))

    first, second = (f"sha256:{letter * 64}" for letter in "ab")
    locked = lock_entry(
        name=PluginName("p"),
        argv=ARGV,
        grants=GRANTS,
        surface=packaged(first),
        approved_by="aya",
        approved_at="2026-11-21T12:00:00Z",
    )
    assert compare(locked, packaged(first), ARGV, GRANTS).is_unchanged
    for tree in (second, ""):
        drift = compare(locked, packaged(tree), ARGV, GRANTS)
        assert not drift.is_unchanged
        assert drift.is_package_alone
        assert drift.summary() == "files of the package changed"
    both = compare(locked, packaged(second, "y"), ARGV, GRANTS)
    assert not both.is_package_alone
    assert both.summary() == "2 changed"
    assert not compare(locked, packaged(second), (*ARGV, "-v"), GRANTS).is_package_alone

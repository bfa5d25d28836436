"""Only what was learned is proposed, name by name, and what is proposed can be pasted."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.proposal import propose
from sekisho.egress.record import LedgerEntry
from sekisho.policy import NetworkGrant, permits

LEARNING = NetworkGrant(mode="learn", allowed_domains=("api.example.com",))
HOSTS = st.from_regex(r"([a-z]{1,4}\.){1,3}(com|net)", fullmatch=True)


def entry(host: str, port: int = 443, *, allowed: bool = True, learned: bool = True) -> LedgerEntry:
    return LedgerEntry(
        time="t", kind="tls", host=host, port=port, allowed=allowed, reason="", bytes=10, learned=learned
    )


def test_hosts_are_counted_and_listed_beside_those_there_are() -> None:
    proposal = propose(
        [
            entry("b.example"),
            entry("a.example", 80),
            entry("b.example"),
            entry("old.example", learned=False),
            entry("evil.example", allowed=False),
        ],
        LEARNING,
    )
    assert proposal.allowed_domains == ("api.example.com", "a.example", "b.example")
    assert [(one.host, one.port, one.count, one.bytes) for one in proposal.learned] == [
        ("a.example", 80, 1, 10),
        ("b.example", 443, 2, 20),
    ]


@pytest.mark.threat("T-EGRESS")
def test_a_star_is_a_remark_and_never_a_rule() -> None:
    names = [f"{one}.cdn.example" for one in ("a", "b", "c")] + ["x.com", "y.com", "z.com"]
    proposal = propose([entry(name) for name in names], NetworkGrant(mode="learn"))
    assert proposal.merges == (("*.cdn.example", ("a.cdn.example", "b.cdn.example", "c.cdn.example")),)
    assert not any("*" in domain for domain in proposal.allowed_domains)
    lines = list(proposal.toml("network_policy"))
    assert lines[-1].startswith("# ")


@given(hosts=st.lists(st.tuples(HOSTS, st.sampled_from([80, 443])), min_size=1, max_size=10))
def test_the_table_can_be_pasted_and_allows_what_was_seen(hosts: list[tuple[str, int]]) -> None:
    proposal = propose([entry(host, port) for host, port in hosts], LEARNING)
    table = tomllib.loads("\n".join(proposal.toml("network_policy")))["network_policy"]
    network = NetworkGrant(
        mode=table["mode"],
        allowed_domains=tuple(table["allowed_domains"]),
        allowed_ports=tuple(table["allowed_ports"]),
    )
    assert all(permits(network, host, port) for host, port in hosts)
    assert not permits(network, "never.seen.example", 443)


@given(host=st.text(max_size=30))
def test_nothing_that_is_no_name_is_proposed(host: str) -> None:
    proposal = propose([entry(host)], NetworkGrant(mode="learn"))
    tomllib.loads("\n".join(proposal.toml("t")))
    NetworkGrant(allowed_domains=proposal.allowed_domains)

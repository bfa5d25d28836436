"""Names by rule, addresses never, special ranges in no spelling."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Refused
from sekisho.policy import (
    NetworkGrant,
    canonical_host,
    carried_address,
    is_learned,
    is_listed,
    is_public,
    permits,
)

LABELS = st.sampled_from(["a", "b", "api", "evil"])
HOSTS = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
RULES = st.one_of(HOSTS, HOSTS.map("*.".__add__))
BLOCKS = st.one_of(RULES, st.just("*"))
GRANTS = st.builds(
    lambda allowed, blocked: NetworkGrant(allowed_domains=tuple(allowed), blocked_domains=tuple(blocked)),
    st.lists(RULES, max_size=4),
    st.lists(BLOCKS, max_size=3),
)
SPECIAL_IPV4 = st.one_of(
    st.integers(0x7F000000, 0x7FFFFFFF),
    st.integers(0x0A000000, 0x0AFFFFFF),
    st.integers(0xC0A80000, 0xC0A8FFFF),
    st.integers(0xAC100000, 0xAC1FFFFF),
    st.integers(0xA9FE0000, 0xA9FEFFFF),
    st.sampled_from([0, 0xA9FEA9FE, 0xA83F8110, 0x646464C8, 0xC00000C0, 0xFFFFFFFF]),
).map(IPv4Address)


def spellings(address: IPv4Address) -> list[str]:
    """Every way a C library, a browser or a shell has ever written an IPv4 address."""
    number = int(address)
    a, b, c, d = address.packed
    texts = [
        str(address),
        str(number),
        f"{number:#x}",
        f"{number:#X}",
        f"0{number:o}",
        f"{a}.{number & 0xFFFFFF}",
        f"{a}.{b}.{number & 0xFFFF}",
        ".".join(f"0{part:o}" for part in (a, b, c, d)),
        ".".join(f"{part:#x}" for part in (a, b, c, d)),
        ".".join(f"{part:03d}" for part in (a, b, c, d)),
        f"{a:#x}.{b}.0{c:o}.{d}",
        f"[::ffff:{address}]",
        f"::ffff:{address}",
        f"::{address}",
        f"[64:ff9b::{address}]",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::]",
        str(address).translate({ord(str(digit)): 0xFF10 + digit for digit in range(10)}),
        str(address).replace(".", "。"),
        str(address).replace(".", "%2e"),
    ]
    dressed = (
        [text + "." for text in texts]
        + [f"user@{text}" for text in texts]
        + [f"{text}\0.example.com" for text in texts]
    )
    return texts + dressed + [f" {text}" for text in texts] + [f"{text}:80" for text in texts]


@pytest.mark.requirement("A3.3")
@pytest.mark.threat("T-EGRESS")
def test_only_listed_names_and_ports_are_permitted() -> None:
    network = NetworkGrant(allowed_domains=("wordpress.example.com", "*.cdn.example"), blocked_domains=("*",))
    assert permits(network, "wordpress.example.com", 443)
    assert permits(network, "a.b.cdn.example", 80)
    assert not permits(network, "cdn.example", 443)
    assert not permits(network, "wordpress.example.com", 22)
    assert not permits(network, "evilwordpress.example.com", 443)
    assert not permits(network, "wordpress.example.com.evil.example", 443)
    assert not permits(network, "evilcdn.example", 443)


def test_a_specific_block_beats_an_allow() -> None:
    network = NetworkGrant(
        allowed_domains=("*.example.com", "x.bad.example.com"), blocked_domains=("*.bad.example.com",)
    )
    assert permits(network, "good.example.com", 443)
    assert not permits(network, "x.bad.example.com", 443)


@given(network=GRANTS, host=HOSTS, block=BLOCKS)
def test_adding_a_block_never_allows_more(network: NetworkGrant, host: str, block: str) -> None:
    narrowed = replace(network, blocked_domains=(*network.blocked_domains, block))
    assert is_listed(narrowed, host) <= is_listed(network, host)


@given(network=GRANTS, host=HOSTS)
def test_nothing_is_permitted_that_no_rule_names(network: NetworkGrant, host: str) -> None:
    is_named = any(
        host.endswith(rule[1:]) if rule.startswith("*") else host == rule for rule in network.allowed_domains
    )
    assert permits(network, host, 443) <= is_named


def test_localhost_needs_its_own_switch_and_port() -> None:
    by_name = NetworkGrant(allowed_domains=("localhost", "*.localhost"), allowed_ports=(8000,))
    assert not permits(by_name, "localhost", 8000)
    assert not permits(by_name, "x.localhost", 8000)
    by_switch = NetworkGrant(allow_localhost=True, localhost_ports=(8000,))
    assert permits(by_switch, "localhost", 8000)
    assert not permits(by_switch, "localhost", 443)
    assert not permits(replace(by_switch, blocked_domains=("localhost",)), "localhost", 8000)
    assert permits(replace(by_switch, blocked_domains=("*",)), "localhost", 8000)


def test_a_canonical_host_is_lower_case_and_stays_itself() -> None:
    assert canonical_host("API.Example.COM") == "api.example.com"
    assert canonical_host(canonical_host("xn--Bcher-kva.Example")) == "xn--bcher-kva.example"


@pytest.mark.threat("T-REBIND")
@given(address=SPECIAL_IPV4)
def test_no_spelling_of_a_special_address_is_a_host(address: IPv4Address) -> None:
    for text in spellings(address):
        with pytest.raises(Refused) as refusal:
            canonical_host(text)
        assert refusal.value.code == "egress_refused"


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a..b", ".a", "a.", "-a", "a-", "a_b", "a b", "a\tb", "a/b", "a?b", "a#b",
        "a@b", "a:443", "a%2eb",
        "a\r\nb", "a\0", "a" * 64, ("a" * 63 + ".") * 4 + "a", "[::1]", "::1", "fe80::1%eth0", "ⓔxample.com",
        "exampl\u212a.com", "example.com\u200b", "1.1", "0x7f.1", "a.0x7f000001", "127.0.0.1", "2130706433",
        "*.a",
    ],
)  # fmt: skip
def test_what_is_not_a_plain_name_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        canonical_host(text)


@given(text=st.text(max_size=40))
def test_what_is_accepted_is_never_readable_as_an_address(text: str) -> None:
    try:
        host = canonical_host(text)
    except Refused:
        return
    assert host.isascii()
    assert host == host.lower()
    last = host.rpartition(".")[2]
    assert last[0].isalpha()
    with pytest.raises(ValueError, match="does not appear to be"):
        ip_address(host)


@pytest.mark.threat("T-REBIND")
@given(address=SPECIAL_IPV4)
def test_special_addresses_are_not_public_in_any_ipv6_form(address: IPv4Address) -> None:
    number = int(address)
    forms: list[IPv4Address | IPv6Address] = [
        address,
        IPv6Address(0xFFFF << 32 | number),
        IPv6Address(number),
        IPv6Address((0x0064_FF9B << 96) | number),
        IPv6Address((0x0064_FF9B_0001 << 80) | number),
        IPv6Address((0x2002 << 112) | (number << 80) | 1),
        IPv6Address((0x2001_0000 << 96) | (number ^ 0xFFFFFFFF)),
        IPv6Address((0x2A00_1450 << 96) | (0x0200_5EFE << 32) | number),
    ]
    assert [form for form in forms if is_public(form)] == []


@pytest.mark.parametrize(
    "text",
    [
        "::", "::1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254", "ff02::1",
        "2001:db8::1", "2001::1", "fe80::1%2", "2606:4700::1111%2", "::ffff:0:8.8.8.8", "2001:20::1",
        "100.100.100.200", "168.63.129.16", "169.254.170.2", "fe80::5efe:808:808",
        "fd00::5efe:808:808", "2002:808:808::1", "3fff::1", "64:ff9b:1::808:808", "::ffff:8.8.8.8",
        "::8.8.8.8", "100::1", "5f00::1", "4000::1", "0.0.0.0", "0.1.2.3", "100.127.255.255", "172.31.0.1",
        "192.0.0.192", "192.88.99.1", "198.19.0.1", "203.0.113.7", "224.0.0.1", "239.255.255.250",
        "240.0.0.1", "255.255.255.255",
    ],
)  # fmt: skip
def test_special_ranges_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    "text", ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8"]
)
def test_addresses_of_the_open_internet_are_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(number=st.integers(0, (1 << 32) - 1))
def test_public_is_never_wider_than_what_the_standard_library_calls_global(number: int) -> None:
    address = IPv4Address(number)
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(number=st.integers(0, (1 << 128) - 1), global_part=st.integers(0, (1 << 125) - 1))
def test_public_ipv6_is_never_wider_either(number: int, global_part: int) -> None:
    for address in (IPv6Address(number), IPv6Address(1 << 125 | global_part)):
        assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(number=st.integers(0, (1 << 32) - 1))
def test_the_address_inside_another_one_is_found(number: int) -> None:
    inner = IPv4Address(number)
    carriers = [
        IPv6Address((0x0064_FF9B << 96) | number),
        IPv6Address((0x2A00_1450 << 96) | (0x5EFE << 32) | number),
        IPv6Address((0x2A00_1450 << 96) | (0x0200_5EFE << 32) | number),
    ]
    assert [carried_address(one) for one in carriers] == [inner] * 3
    assert {is_public(one) for one in carriers} == {is_public(inner)}
    assert carried_address(inner) is None
    assert carried_address(IPv6Address("2606:4700::1111")) is None


LEARNING = NetworkGrant(
    mode="learn", allowed_domains=("api.example.com",), blocked_domains=("*.bad.example", "*")
)


def test_while_it_learns_every_name_is_reached_on_the_ports_of_the_web_and_marked() -> None:
    assert [permits(LEARNING, "new.example", port) for port in (80, 443, 22, 8080)] == [
        True,
        True,
        False,
        False,
    ]
    assert is_listed(LEARNING, "new.example")
    assert is_learned(LEARNING, "new.example", 443)
    assert not is_learned(LEARNING, "api.example.com", 443)
    assert not LEARNING.is_closed


@pytest.mark.threat("T-EGRESS")
def test_learning_opens_neither_blocked_names_nor_this_machine() -> None:
    for host in ("x.bad.example", "localhost", "x.localhost"):
        assert not permits(LEARNING, host, 443)
        assert not is_listed(LEARNING, host)
        assert not is_learned(LEARNING, host, 443)
    ruled = replace(LEARNING, allow_localhost=True, localhost_ports=(443,))
    assert permits(ruled, "localhost", 443)
    assert not is_learned(ruled, "localhost", 443)


@given(network=GRANTS, host=HOSTS, port=st.sampled_from([22, 80, 443]))
def test_what_is_enforced_is_never_learned_and_learning_takes_nothing_away(
    network: NetworkGrant, host: str, port: int
) -> None:
    learning = replace(network, mode="learn")
    assert not is_learned(network, host, port)
    assert permits(network, host, port) <= permits(learning, host, port)
    assert is_learned(learning, host, port) == (
        permits(learning, host, port) and not permits(network, host, port)
    )


def test_where_pairs_are_listed_a_port_stays_with_its_host() -> None:
    pairs = (("a.example", 80), ("b.example", 443))
    network = NetworkGrant(
        allowed_domains=("a.example", "b.example"), allowed_ports=(80, 443), endpoints=pairs
    )
    asked = [(host, port) for host in network.allowed_domains for port in network.allowed_ports]
    assert [one for one in asked if permits(network, *one)] == list(pairs)
    assert all(permits(replace(network, endpoints=()), *one) for one in asked)

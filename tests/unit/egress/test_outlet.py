"""Resolved once, checked, and dialled at the address that was checked."""

import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress.outlet import MAX_ADDRESSES, MAX_JUDGED, Outlet, SystemResolver, is_outside
from sekisho.egress.tunnel import Target
from sekisho.errors import Refused, Unavailable
from sekisho.policy import Address, NetworkGrant, is_public

NETWORK = NetworkGrant(allowed_domains=("api.example.com",), allow_localhost=True, localhost_ports=(5432,))
API = Target(host="api.example.com", port=443)
PUBLIC, OTHER_PUBLIC = "93.184.216.34", "2606:4700::1111"
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6), st.sampled_from([ip_address(PUBLIC)]))


class World:
    """A resolver and a dialler that remember what they were asked."""

    def __init__(self, *addresses: str, dead: frozenset[str] = frozenset()) -> None:
        self.addresses = [ip_address(text) for text in addresses]
        self.asked: list[str] = []
        self.dialled: list[tuple[str, int]] = []
        self._dead = dead

    async def resolve(self, host: str) -> Sequence[Address]:
        self.asked.append(host)
        return self.addresses

    async def dial(self, address: Address, port: int) -> socket.socket:
        self.dialled.append((str(address), port))
        if str(address) in self._dead:
            raise ConnectionRefusedError
        return socket.socket()

    def outlet(self) -> Outlet:
        return Outlet(NETWORK, resolve=self.resolve, dial=self.dial, is_allowed_address=is_public)


async def test_a_listed_name_is_dialled_at_its_public_address() -> None:
    world = World(PUBLIC)
    (await world.outlet().open(API)).close()
    assert (world.asked, world.dialled) == (["api.example.com"], [(PUBLIC, 443)])


@pytest.mark.threat("T-EGRESS")
@pytest.mark.parametrize(
    "target",
    [
        Target(host="other.example.com", port=443),
        Target(host="api.example.com", port=22),
        Target(host="localhost", port=443),
    ],
)
async def test_what_is_not_listed_is_not_even_resolved(target: Target) -> None:
    world = World(PUBLIC)
    with pytest.raises(Refused):
        await world.outlet().open(target)
    assert world.asked == []


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "::1",
        "fd00:ec2::254",
        "::ffff:7f00:1",
    ],
)
async def test_a_listed_name_that_leads_inside_is_refused(address: str) -> None:
    world = World(address)
    with pytest.raises(Refused, match="not public"):
        await world.outlet().open(API)
    assert world.dialled == []


@pytest.mark.threat("T-REBIND")
@given(addresses=st.lists(ADDRESSES, max_size=8))
async def test_only_checked_addresses_are_ever_dialled(addresses: list[Address]) -> None:
    world = World(*map(str, addresses), dead=frozenset(map(str, addresses)))
    with pytest.raises((Refused, Unavailable)):
        await world.outlet().open(API)
    assert all(is_public(ip_address(address)) for address, _port in world.dialled)
    assert len(world.dialled) <= MAX_ADDRESSES
    assert len(world.asked) == 1


@pytest.mark.threat("T-FLOOD")
async def test_of_a_name_with_thousands_of_addresses_only_the_first_are_judged() -> None:
    world = World(*(f"10.0.{number // 256}.{number % 256}" for number in range(4000)), PUBLIC)
    judged: list[Address] = []

    def judge(address: Address) -> bool:
        judged.append(address)
        return is_public(address)

    outlet = Outlet(NETWORK, resolve=world.resolve, dial=world.dial, is_allowed_address=judge)
    with pytest.raises(Refused, match="not public"):
        await outlet.open(API)
    assert (len(judged), world.dialled) == (MAX_JUDGED, [])


async def test_the_next_address_is_tried_and_the_last_problem_told() -> None:
    world = World(PUBLIC, "10.0.0.1", OTHER_PUBLIC, dead=frozenset({PUBLIC}))
    (await world.outlet().open(API)).close()
    assert [address for address, _port in world.dialled] == [PUBLIC, OTHER_PUBLIC]
    with pytest.raises(Unavailable):
        await World(PUBLIC, dead=frozenset({PUBLIC})).outlet().open(API)


async def test_localhost_is_loopback_and_never_resolved() -> None:
    world = World(PUBLIC)
    (await world.outlet().open(Target(host="localhost", port=5432))).close()
    assert (world.asked, world.dialled) == ([], [("127.0.0.1", 5432)])


async def test_the_system_resolver_reads_the_hosts_file() -> None:
    resolver = SystemResolver()
    try:
        assert set(await resolver("localhost")) <= {IPv4Address("127.0.0.1"), IPv6Address("::1")}
    finally:
        resolver.close()


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "10.0.0.1", "0.0.0.0"])
def test_inside_addresses_are_not_outside(text: str) -> None:
    assert not is_outside(ip_address(text))


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("own", ["203.0.113.200", "64:ff9b::808:808", "8.8.8.8", "2600::1"])
def test_an_address_of_this_machine_is_inside_and_so_is_one_that_carries_it(own: str) -> None:
    def is_away(address: Address) -> bool:
        return address != ip_address(own)

    outside = {
        text for text in ("8.8.8.8", "64:ff9b::808:808", "2600::1") if is_outside(ip_address(text), is_away)
    }
    inside = {"8.8.8.8": {"8.8.8.8", "64:ff9b::808:808"}}.get(own, {own})
    assert outside == {"8.8.8.8", "64:ff9b::808:808", "2600::1"} - inside

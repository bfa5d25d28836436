"""The kernel says which addresses are its own. With interfaces of every kind: tests/real/test_own_addresses.py."""

import errno
import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.egress import routes
from sekisho.egress.routes import leads_away


@pytest.mark.threat("T-REBIND")
@pytest.mark.parametrize("text", ["127.0.0.1", "127.1.2.3", "::1", "255.255.255.255", "224.0.0.1"])
def test_what_the_kernel_keeps_for_itself_leads_nowhere_else(text: str) -> None:
    assert not leads_away(ip_address(text))


@pytest.mark.parametrize("text", ["198.51.100.7", "2001:db8::7"])
def test_an_address_of_nobody_here_leads_away_with_a_route_or_without(text: str) -> None:
    assert leads_away(ip_address(text))


def _refusal(number: int) -> bytes:
    return struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -number) + bytes(16)


def test_only_that_there_is_no_way_counts_as_away_among_refusals() -> None:
    assert routes._is_away(_refusal(errno.ENETUNREACH))
    assert not routes._is_away(_refusal(errno.EPERM))
    assert not routes._is_away(_refusal(0))


def test_only_a_route_says_that_an_address_is_away() -> None:
    route = struct.pack("=8BI", 2, 32, 0, 0, 254, 3, 0, 1, 0)
    answers = {kind: struct.pack("=IHHII", 28, kind, 0, 1, 0) + route for kind in (3, 16, 24, 25, 28)}
    assert [kind for kind, answer in answers.items() if routes._is_away(answer)] == [24]


@given(st.binary(max_size=64))
def test_an_answer_that_is_not_understood_means_no(data: bytes) -> None:
    is_route = data[4:6] == struct.pack("=H", 24) and len(data) >= 28 and data[23] == 1
    is_refusal = data[4:6] == struct.pack("=H", 2)
    assert not routes._is_away(data) or is_route or is_refusal


@pytest.mark.threat("T-REBIND")
def test_a_kernel_that_cannot_be_asked_means_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "AF_NETLINK", socket.AF_UNIX)
    assert not leads_away(ip_address("198.51.100.7"))

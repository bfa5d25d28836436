"""A registry's name leads to the open internet unless the operator says otherwise."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from sekisho.install.outlet import address_rule
from sekisho.install.settings import InstallSettings

PRIVATE = ("10.1.2.3", "192.168.0.9", "172.16.0.1", "100.64.0.1", "fd00::1")
NEVER = ("127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "224.0.0.1", "::ffff:127.0.0.1")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_needs_the_switch(address: str) -> None:
    assert not address_rule(InstallSettings())(ip_address(address))
    assert address_rule(InstallSettings(allow_private_registry=True))(ip_address(address))


@pytest.mark.parametrize("address", NEVER)
def test_this_machine_and_its_link_are_reached_by_no_name(address: str) -> None:
    for switch in (False, True):
        assert not address_rule(InstallSettings(allow_private_registry=switch))(ip_address(address))


def test_a_public_address_is_reached_in_any_case() -> None:
    for switch in (False, True):
        assert address_rule(InstallSettings(allow_private_registry=switch))(ip_address("151.101.0.223"))

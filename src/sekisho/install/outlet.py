"""Which addresses a registry may have.

Guarantees that a registry's name leads to the open internet only, unless the operator said that it may be in a
private network; and then still not to this machine by another name, nor to what a cloud keeps link-local. Judgement
only: `egress` resolves, asks this, and dials what was judged.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv6Address

from sekisho.egress import is_outside
from sekisho.install.settings import InstallSettings
from sekisho.policy import Address

__all__ = ["address_rule"]


def address_rule(settings: InstallSettings) -> Callable[[Address], bool]:
    """The rule for addresses of registries."""
    return _may_be_private if settings.allow_private_registry else is_outside


def _may_be_private(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return False  # no resolver gives these; they only hide another address
    is_of_nobody = address.is_loopback or address.is_unspecified or address.is_multicast
    return not (is_of_nobody or address.is_link_local)

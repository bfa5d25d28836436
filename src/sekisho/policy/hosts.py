"""Which hosts a plugin may reach, and which addresses nobody may be sent to.

- A host is a DNS name in lower-case letters, digits and hyphens whose last label starts with a letter. That
  one rule refuses an address in every spelling (dotted, decimal, hex, octal, short, bracketed), a trailing
  dot, a NUL, Unicode look-alikes and anything a second parser might read differently.
- A rule matches by exact name, or `*.suffix` for everything below the suffix (not the suffix itself).
- A specific block beats every allow; `*` among the blocks states the default, which is no anyway. So adding a
  block never allows more.
- `localhost` is reached only when it was granted by its own switch and port, never through a name rule.
- While a grant learns, every other name counts as listed, but on the ports of the web only; blocks still win, and
  `is_learned` tells what only learning let through. What address a name may have does not change.
- An address is public only if no special range, and no IPv6 form that carries an IPv4 address, says
  otherwise.

Knows no resolver: the egress gate resolves once and asks `is_public` about what it will dial.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

from sekisho.errors import Refused
from sekisho.policy.grants import NetworkGrant

__all__ = [
    "LOCALHOST",
    "Address",
    "canonical_host",
    "carried_address",
    "is_learned",
    "is_listed",
    "is_public",
    "permits",
]

Address: TypeAlias = IPv4Address | IPv6Address

LOCALHOST: Final = "localhost"
_WEB_PORTS: Final = (80, 443)  # all that is reached while learning; anything else is listed by hand
_MAX_HOST_CHARS: Final = 253  # RFC 1035 section 2.3.4, in text form
_HOST: Final = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)

_IPV4_DENIED: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this" network; many kernels take 0.0.0.0 for loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier NAT; one cloud keeps its metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent on a public address
        "169.254.0.0/16",  # link-local and cloud metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; one cloud keeps its metadata at 192.0.0.192
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_IPV6_GLOBAL: Final = IPv6Network("2000::/3")  # everything else is loopback, local, multicast or not assigned
_IPV6_DENIED: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, among them Teredo, which carries an IPv4 address
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address and has no honest use left
        "3fff::/20",
    )
)
_NAT64: Final = IPv6Network(
    "64:ff9b::/96"
)  # RFC 6052; hosts without IPv4 need it, so the inner address decides
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})  # RFC 5214: the next 32 bits are an IPv4 address


def canonical_host(text: str) -> str:
    """The one spelling of a host name.

    Raises:
        Refused: `egress_refused` for everything that is not a plain DNS name.
    """
    # isascii comes first: lower() turns some other letters (the Kelvin sign) into ASCII ones.
    lowered = text.lower() if text.isascii() else ""
    if len(lowered) > _MAX_HOST_CHARS or not _HOST.fullmatch(lowered):
        raise Refused("egress_refused", "the host is not a plain DNS name (addresses are never accepted)")
    return lowered


def permits(network: NetworkGrant, host: str, port: int) -> bool:
    """May a connection to this canonical host and port be made? The address is judged separately."""
    if host == LOCALHOST:
        return network.allow_localhost and port in network.localhost_ports and not _is_blocked(network, host)
    return _is_ruled(network, host, port) or (port in _WEB_PORTS and _learns(network, host))


def is_listed(network: NetworkGrant, host: str) -> bool:
    """May this canonical host be asked for, whatever the port?"""
    return _is_named(network, host) or _learns(network, host)


def is_learned(network: NetworkGrant, host: str, port: int) -> bool:
    """Was this permitted only because the grant is learning?"""
    return host != LOCALHOST and not _is_ruled(network, host, port) and permits(network, host, port)


def _is_ruled(network: NetworkGrant, host: str, port: int) -> bool:
    is_pair = not network.endpoints or (host, port) in network.endpoints
    return port in network.allowed_ports and is_pair and _is_named(network, host)


def _is_named(network: NetworkGrant, host: str) -> bool:
    return (
        not _is_local(host) and _matches_any(network.allowed_domains, host) and not _is_blocked(network, host)
    )


def _learns(network: NetworkGrant, host: str) -> bool:
    return network.mode == "learn" and not _is_local(host) and not _is_blocked(network, host)


def _is_local(host: str) -> bool:
    return host == LOCALHOST or host.endswith("." + LOCALHOST)


def is_public(address: Address) -> bool:
    """True only for an address of the open internet."""
    if isinstance(address, IPv4Address):
        return not any(address in denied for denied in _IPV4_DENIED)
    if address.scope_id is not None:
        return False  # a scope picks an interface of ours; no address of the internet has one
    inner = carried_address(address)
    if inner is not None and not is_public(inner):
        return False
    is_global = address in _IPV6_GLOBAL and not any(address in denied for denied in _IPV6_DENIED)
    return is_global or address in _NAT64


def carried_address(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address may end at, in the forms that are not refused as a whole."""
    if isinstance(address, IPv4Address):
        return None
    low = IPv4Address(int(address) & 0xFFFF_FFFF)
    is_isatap = int(address) >> 32 & 0xFFFF_FFFF in _ISATAP
    return low if is_isatap or address in _NAT64 else None


def _is_blocked(network: NetworkGrant, host: str) -> bool:
    return _matches_any(tuple(rule for rule in network.blocked_domains if rule != "*"), host)


def _matches_any(rules: tuple[str, ...], host: str) -> bool:
    return any(host.endswith(rule[1:]) if rule.startswith("*.") else host == rule for rule in rules)

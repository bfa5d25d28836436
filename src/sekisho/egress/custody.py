"""What the gate holds for one plugin at this moment: its secrets, and the authority with which its TLS is opened.

A value that the gate asks for at each connection, because leases begin and end while it serves. Where TLS is to be opened
and no authority is held, nothing goes through: `opens_tls` comes from the grant, not from a lease.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from sekisho.egress.injection import Injection
from sekisho.egress.interception import InterceptionAuthority

__all__ = ["Custody", "nothing_held"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Custody:
    """`outer`: how real hosts prove themselves where their TLS is opened."""

    injection: Injection = field(repr=False)
    opens_tls: bool = False
    authority: InterceptionAuthority | None = field(default=None, repr=False)
    outer: ssl.SSLContext | None = field(default=None, repr=False)


def nothing_held() -> Custody | None:
    """The custody of a plugin that has no secrets and keeps its TLS to itself."""
    return None

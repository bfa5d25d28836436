"""Names of our own processes: `spiffe://<trust-domain>/<role>/<name>`.

Guarantees that a `SpiffeId` is in the one spelling we issue: lower-case trust domain, a role of the closed
set, a plain name; no query, fragment, port, dot segment or percent-encoding, so that comparing two ids is
comparing values. Knows nothing about certificates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from sekisho.errors import Misconfigured

__all__ = ["Role", "SpiffeId"]

# SPIFFE-ID section 2.1 and 2.2, narrowed: no underscore, no upper case, exactly two path segments.
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,252}[a-z0-9])?")
_NAME: Final = re.compile(r"[a-z0-9](-?[a-z0-9]){0,62}")
_SCHEME: Final = "spiffe://"


class Role(Enum):
    """What a process of ours is."""

    CORE = "core"
    PLUGIN = "plugin"
    EGRESS = "egress"
    CONSOLE = "console"
    WITNESS = "witness"


@dataclass(frozen=True, slots=True, kw_only=True, order=False)
class SpiffeId:
    """One process, named; `str()` gives the URI."""

    trust_domain: str
    role: Role
    name: str

    def __post_init__(self) -> None:
        if not _TRUST_DOMAIN.fullmatch(self.trust_domain) or ".." in self.trust_domain:
            raise _not_an_id(f"trust domain {self.trust_domain!r}")
        if not _NAME.fullmatch(self.name) or len(self.name) > 63:
            raise _not_an_id(f"name {self.name!r}")

    @classmethod
    def parse(cls, text: str) -> SpiffeId:
        """Read a URI; anything but our exact spelling raises `Misconfigured`."""
        if not text.startswith(_SCHEME):
            raise _not_an_id(repr(text[:300]))
        parts = text.removeprefix(_SCHEME).split("/")
        if len(parts) != 3 or parts[1] not in _ROLES:
            raise _not_an_id(repr(text[:300]))
        return cls(trust_domain=parts[0], role=_ROLES[parts[1]], name=parts[2])

    @property
    def uri(self) -> str:
        """The URI that stands in the certificate's subject alternative name."""
        return f"{_SCHEME}{self.trust_domain}/{self.role.value}/{self.name}"

    def __str__(self) -> str:
        return self.uri


_ROLES: Final = {role.value: role for role in Role}


def _not_an_id(what: str) -> Misconfigured:
    return Misconfigured(
        "config_invalid",
        f"{what} is no SPIFFE id of ours",
        remedy="write spiffe://<trust-domain>/<core|plugin|egress|console|witness>/<name> in lower case",
    )

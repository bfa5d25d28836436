"""A secret that a plugin may use without seeing it: under which name, from where, and at which hosts.

- A secret is named by a reference, never by its value; a reference says where `sekisho` finds the value.
- Hosts are exact names with a port. A host means TLS unless it is written as `http://…`, so that a secret meant for
  TLS never goes out in the clear.
- The plugin's environment holds a placeholder under the secret's name. The value itself stands there only when
  `in_environment` says so.

Judgement only: reads no value. Who reads it is `credentials.references`; who puts it in, `egress.injection`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from sekisho.errors import Misconfigured

__all__ = ["DEFAULT_PLACES", "PLACES", "Place", "SecretGrant", "SecretHost", "SecretReference"]

Place: TypeAlias = Literal["headers", "query", "path"]
PLACES: Final[tuple[Place, ...]] = ("headers", "query", "path")
DEFAULT_PLACES: Final[tuple[Place, ...]] = ("headers", "query")
REFERENCES: Final = '"env:NAME", "file:/path", "keyring:service/user" or "credential:NAME"'
_HTTPS_PORT: Final = 443
_HTTP_PORT: Final = 80
_KINDS: Final = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]*"),
    "file": re.compile(r"[^\0~\r\n][^\0\r\n]*"),
    "keyring": re.compile(r"[^\0/\r\n]+/[^\0\r\n]+"),
    "credential": re.compile(r"(?!\.{1,2}$)[^\0/\r\n]{1,255}"),
}
_HOST: Final = re.compile(
    r"(?:(https?)://)?((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)(?::([1-9][0-9]{0,4}))?"
)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a value is: a variable of `sekisho`'s own environment, a private file, a keyring, a systemd credential."""

    kind: Literal["env", "file", "keyring", "credential"]
    where: str

    @classmethod
    def parse(cls, text: str) -> SecretReference:
        """Read `kind:where`. What cannot be read may be the secret itself, so it is not repeated."""
        kind, _, where = text.partition(":")
        if kind not in _KINDS or not _KINDS[kind].fullmatch(where):
            raise Misconfigured(
                "config_invalid",
                "does not say where the value is",
                remedy=f"write {REFERENCES}, never the secret itself",
            )
        return cls(cast("Literal['env', 'file', 'keyring', 'credential']", kind), where)

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}"


@dataclass(frozen=True, slots=True)
class SecretHost:
    """One host that may receive a secret."""

    host: str
    port: int
    is_secure: bool = True

    @classmethod
    def parse(cls, text: str) -> SecretHost:
        """Read `api.example.com`, `api.example.com:8443` or `http://intranet.example.com`."""
        found = _HOST.fullmatch(text)
        port = int(found[3]) if found and found[3] else 0
        if found is None or port > 65535 or len(found[2]) > 253:
            raise Misconfigured(
                "config_invalid",
                f"{text!r} is not a host that can receive a secret",
                remedy="write an exact lower-case name like api.example.com, with http:// before it if it has no TLS",
            )
        is_secure = found[1] != "http"
        return cls(found[2], port or (_HTTPS_PORT if is_secure else _HTTP_PORT), is_secure)

    def __str__(self) -> str:
        usual = _HTTPS_PORT if self.is_secure else _HTTP_PORT
        port = "" if self.port == usual else f":{self.port}"
        return f"{'https' if self.is_secure else 'http'}://{self.host}{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretGrant:
    """One secret of a plugin. `places`: where in a request to its hosts the placeholder may stand for the value."""

    name: str
    reference: SecretReference
    hosts: tuple[SecretHost, ...] = ()
    in_environment: bool = False
    places: tuple[Place, ...] = DEFAULT_PLACES

    def __post_init__(self) -> None:
        if not self.hosts and not self.in_environment:
            raise Misconfigured(
                "config_invalid",
                f"the secret {self.name} names no host that may receive it",
                remedy='add hosts = ["…"]; or environment = true, which hands the value to the plugin itself',
            )
        if not self.places:
            raise Misconfigured(
                "config_invalid",
                f"the secret {self.name} may stand nowhere in a request",
                remedy='write places = ["headers"]',
            )

    @property
    def reach(self) -> str:
        """In words that a person reviews and a digest covers: what the plugin gets, and who may receive the value."""
        if self.in_environment:
            return f"{self.name} from {self.reference}: THE VALUE ITSELF, in its environment"
        hosts = ", ".join(sorted(str(host) for host in self.hosts))
        return f"{self.name} from {self.reference}: a placeholder, for {hosts} in {', '.join(sorted(self.places))}"

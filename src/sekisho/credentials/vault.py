"""What one plugin was given: client registrations and tokens, by issuer, sealed in one private file.

Guarantees
- the file is 0600, replaced whole, and sealed (AES-256-GCM-SIV) with a key that belongs to this plugin alone, bound to
  its name: a file moved to another plugin's place does not open;
- what was given by one issuer is never handed out for another;
- processes that change it take turns, and read what the last one wrote.

Secrets appear in no `repr`. Whoever can read the key folder can open the file; it protects copies and backups of it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from msgspec.structs import replace

from sekisho.errors import Tampered
from sekisho.keys import KeyFolder
from sekisho.keys.files import ensure_folder, locked, random_bytes, read_private, write_private

__all__ = ["Client", "Held", "Identity", "Tokens", "Vault"]

MAX_ISSUERS: Final = 8  # the newest are kept: a server that keeps changing its issuer does not fill the disk
_NONCE_BYTES: Final = 12


class _Secretive(msgspec.Struct, frozen=True, kw_only=True):
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class Client(_Secretive, frozen=True, kw_only=True):
    """Who we are to one authorization server."""

    client_id: str
    secret: str = ""
    method: str = "none"
    redirect_uri: str = ""


class Tokens(_Secretive, frozen=True, kw_only=True):
    """What one authorization server gave us."""

    access: str
    kind: str = "Bearer"
    refresh: str = ""
    expires_at: float | None = None
    scopes: tuple[str, ...] = ()
    resource: str = ""


class Identity(_Secretive, frozen=True, kw_only=True):
    """What the company's identity provider said of the person who logged in there."""

    issuer: str
    id_token: str
    refresh: str = ""


class Held(_Secretive, frozen=True, kw_only=True):
    """Everything held for one plugin."""

    issuer: str = ""  # of the server in use
    clients: dict[str, Client] = {}
    tokens: dict[str, Tokens] = {}
    wanted: tuple[str, ...] = ()  # scopes that were found missing, for the next login
    dpop_key: str = ""
    identity: Identity | None = None

    @property
    def current(self) -> Tokens | None:
        """The tokens of the server in use."""
        return self.tokens.get(self.issuer)

    def with_client(self, issuer: str, client: Client) -> Held:
        """The same, and who we are to this issuer."""
        return replace(self, clients=_newest({**_without(self.clients, issuer), issuer: client}))

    def with_tokens(self, issuer: str, tokens: Tokens) -> Held:
        """The same, with these tokens in use, and nothing wanted any more."""
        kept = _newest({**_without(self.tokens, issuer), issuer: tokens})
        return replace(self, issuer=issuer, tokens=kept, wanted=())


T = TypeVar("T")


def _without(by_issuer: dict[str, T], issuer: str) -> dict[str, T]:
    return {key: value for key, value in by_issuer.items() if key != issuer}


def _newest(by_issuer: dict[str, T]) -> dict[str, T]:
    return dict(list(by_issuer.items())[-MAX_ISSUERS:])


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    sealed: str


class Vault:
    """The file of one plugin."""

    def __init__(self, folder: Path, plugin: str, keys: KeyFolder) -> None:
        self._path = folder / f"{plugin}.json"
        self._plugin = plugin
        self._cipher = AESGCMSIV(keys.ensure_secret(f"credentials-{plugin}"))
        ensure_folder(folder)

    def read(self) -> Held:
        """What is held; nothing if nobody logged in yet."""
        if not self._path.exists():
            return Held()
        try:
            file = msgspec.json.decode(read_private(self._path), type=_File)
            sealed = base64.b64decode(file.sealed, validate=True)
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], self._purpose)
            return msgspec.json.decode(plain, type=Held)
        except (InvalidTag, binascii.Error, ValueError) as error:
            raise Tampered(
                "key_unavailable",
                f"{self._path} does not open",
                remedy=f"remove it, then log in again: sekisho login {self._plugin}",
            ) from error

    def write(self, held: Held) -> None:
        """Replace what is held."""
        nonce = random_bytes(_NONCE_BYTES)
        sealed = nonce + self._cipher.encrypt(nonce, msgspec.json.encode(held), self._purpose)
        file = _File(version=1, sealed=base64.b64encode(sealed).decode())
        write_private(self._path, msgspec.json.encode(file))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Others wait; short work only, and none that waits itself."""
        with locked(self._path.with_suffix(".lock")):
            yield

    def stamp(self) -> int:
        """Changes whenever another process has written."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def _purpose(self) -> bytes:
        return b"sekisho credentials 1 " + self._plugin.encode()

"""The key folder: where authority, identities and secrets lie on disk.

- Folders are 0700 and private files 0600; a private file that group or world may read is refused, not mended:
  nobody knows who has read it.
- Every file is replaced whole (temporary file, fsync, rename), so a reader never sees half a key.
- Processes that create or renew take turns through a lock file.
- Renewing a leaf keeps its key, so pins hold; `rotate_key` moves to the key that peers already pin as `next`.

Layout: `authority/ca.{crt,key}`, `identities/<role>-<name>/{tls.crt,tls.key,next.key,hpke.key,token.key}`,
`public/<role>-<name>.json`, `public/revoked.json`, `secrets/<name>`, `clients/{<client>.token,tokens.json}`.
Judges nothing about peers; `gate` does. Time is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sekisho.errors import Misconfigured
from sekisho.keys import files
from sekisho.keys.authority import LEAF_LIFE_S, Authority
from sekisho.keys.bearer import TokenBook, new_token, token_hash
from sekisho.keys.gate import Revocations
from sekisho.keys.identity import Identity, PublicIdentity, private_pem, spki_pin
from sekisho.keys.spiffe import SpiffeId

__all__ = ["KeyFolder", "ensure_bearer", "load_token_book"]

_PLAIN_NAME: Final = re.compile(r"[a-z0-9](-?[a-z0-9]){0,62}")
SECRET_BYTES: Final = 32


class KeyFolder:
    """One folder of keys; safe to open from several processes."""

    def __init__(self, path: Path, trust_domain: str = "sekisho.local") -> None:
        self.path = path
        self.trust_domain = trust_domain
        files.ensure_folder(path)

    # the authority

    def ensure_authority(self, now: float) -> Authority:
        """Load our authority, or make it on first use."""
        with self._turn():
            return self._authority(now)

    def ca_pem(self) -> bytes:
        """The authority's certificate, which every process needs and may know."""
        return files.read_public(self.path / "authority" / "ca.crt")

    @property
    def holds_authority(self) -> bool:
        """True where certificates can be issued; a plugin server elsewhere only holds its own identity."""
        return (self.path / "authority" / "ca.key").exists()

    # identities

    def ensure_identity(
        self,
        spiffe: SpiffeId,
        now: float,
        dns: Sequence[str] = (),
        ips: Sequence[str] = (),
        life_s: float = LEAF_LIFE_S,
    ) -> Identity:
        """Load an identity with at least half its life left; make or renew it otherwise."""
        with self._turn():
            return self._ensure(spiffe, now, dns, ips, life_s)

    def identity(self, spiffe: SpiffeId) -> Identity:
        """Load an identity as it lies there, without issuing anything."""
        folder = self._identity_folder(spiffe)
        identity = Identity.load(folder)
        if identity.spiffe != spiffe:
            raise Misconfigured("key_unavailable", f"{folder} holds {identity.spiffe}, not {spiffe}")
        return identity

    def renew_if_half_life(self, spiffe: SpiffeId, now: float) -> Identity:
        """The identity, re-issued for the same key and names when half its life is over."""
        with self._turn():
            identity = self.identity(spiffe)
            if not identity.is_half_over(now) or not self.holds_authority:
                return identity
            return self._issue(spiffe, now, *identity.names, identity.life_s)

    def rotate_key(self, spiffe: SpiffeId, now: float) -> Identity:
        """Move to the next TLS key, already pinned by peers, and draw a new next one."""
        with self._turn():
            identity = self.identity(spiffe)
            folder = self._identity_folder(spiffe)
            files.write_private(folder / "tls.key", files.read_private(folder / "next.key"))
            files.write_private(folder / "next.key", _new_ec_pem())
            return self._issue(spiffe, now, *identity.names, identity.life_s)

    def public_identity(self, spiffe: SpiffeId) -> PublicIdentity:
        """What peers need to know about an identity."""
        identity = PublicIdentity.load(self._public_path(spiffe))
        if identity.spiffe != spiffe:
            raise Misconfigured("key_unavailable", f"the public file of {spiffe} speaks of {identity.spiffe}")
        return identity

    # revocation

    def revoke(self, serial: int) -> None:
        """Put a certificate on the list that every process re-reads."""
        with self._turn():
            serials = sorted(self.revoked_serials() | {serial})
            # as text: serial numbers have 160 bits, and many JSON readers keep 53 of them
            files.write_public(
                self._revoked_path, msgspec.json.encode([format(number, "x") for number in serials])
            )

    def revoked_serials(self) -> frozenset[int]:
        """The list as it stands; no file means nothing is revoked, an unreadable one is an error."""
        if not self._revoked_path.exists():
            return frozenset()
        data = files.read_public(self._revoked_path)
        try:
            return frozenset(int(text, 16) for text in msgspec.json.decode(data, type=list[str]))
        except ValueError as error:
            raise Misconfigured("key_unavailable", f"{self._revoked_path} is damaged") from error

    def refresh_revoked(self, revoked: Revocations) -> None:
        """Bring a live set up to date with the list."""
        revoked.replace(self.revoked_serials())

    # secrets

    def ensure_secret(self, name: str, nbytes: int = SECRET_BYTES) -> bytes:
        """A secret of this installation, drawn on first use."""
        if not _PLAIN_NAME.fullmatch(name):
            raise Misconfigured("config_invalid", f"{name!r} is not a secret's name")
        path = self.path / "secrets" / name
        with self._turn():
            if not path.exists():
                files.write_private(path, files.random_bytes(nbytes))
            secret = files.read_private(path)
        if len(secret) != nbytes:
            raise Misconfigured("key_unavailable", f"{path} does not hold {nbytes} bytes")
        return secret

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with files.locked(self.path / ".lock"):
            yield

    @property
    def _revoked_path(self) -> Path:
        return self.path / "public" / "revoked.json"

    def _identity_folder(self, spiffe: SpiffeId) -> Path:
        return self.path / "identities" / f"{spiffe.role.value}-{spiffe.name}"

    def _public_path(self, spiffe: SpiffeId) -> Path:
        return self.path / "public" / f"{spiffe.role.value}-{spiffe.name}.json"

    def _authority(self, now: float) -> Authority:
        certificate, key = self.path / "authority" / "ca.crt", self.path / "authority" / "ca.key"
        if not key.exists():
            if certificate.exists():
                raise Misconfigured(
                    "key_unavailable",
                    f"{key} is missing",
                    remedy="issue certificates where the authority's key is",
                )
            authority = Authority.create(self.trust_domain, now)
            # certificate last: a crash between the two leaves a lone key, and both are made anew
            files.write_private(key, authority.key_pem)
            files.write_public(certificate, authority.certificate_pem)
        if not certificate.exists():
            key.unlink()
            return self._authority(now)
        return Authority.load(files.read_public(certificate), files.read_private(key))

    def _ensure(
        self, spiffe: SpiffeId, now: float, dns: Sequence[str], ips: Sequence[str], life_s: float
    ) -> Identity:
        folder = self._identity_folder(spiffe)
        for name, make in _KEY_MAKERS.items():
            if not (folder / name).exists():
                files.write_private(folder / name, make())
        if (folder / "tls.crt").exists():
            identity = Identity.load_if_whole(folder)
            if identity is not None and identity.spiffe == spiffe and not identity.is_half_over(now):
                wanted = (tuple(dns), tuple(ips))
                if identity.names == wanted and self._is_ours(identity, now):
                    self._publish(identity)
                    return identity
        return self._issue(spiffe, now, dns, ips, life_s)

    def _is_ours(self, identity: Identity, now: float) -> bool:
        return not self.holds_authority or identity.was_issued_by(self._authority(now).certificate)

    def _issue(
        self, spiffe: SpiffeId, now: float, dns: Sequence[str], ips: Sequence[str], life_s: float
    ) -> Identity:
        authority = self._authority(now)
        folder = self._identity_folder(spiffe)
        key = serialization.load_pem_private_key(files.read_private(folder / "tls.key"), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Misconfigured("key_unavailable", f"{folder / 'tls.key'} is not a P-256 key")
        leaf = authority.issue(spiffe, key.public_key(), now, life_s=life_s, dns=dns, ips=ips)
        files.write_public(folder / "tls.crt", _chain_pem(leaf))
        identity = self.identity(spiffe)
        self._publish(identity)
        return identity

    def _publish(self, identity: Identity) -> None:
        folder = self._identity_folder(identity.spiffe)
        following = spki_pin(folder / "next.key")
        files.write_public(self._public_path(identity.spiffe), identity.public(following).to_json())


def ensure_bearer(folder: KeyFolder, client: str, *, anew: bool = False) -> Path:
    """The file that holds a client's token, made on first use or replaced; the book keeps its hash only."""
    if not _PLAIN_NAME.fullmatch(client):
        raise Misconfigured("config_invalid", f"{client!r} is not a client's name")
    path = folder.path / "clients" / f"{client}.token"
    with folder._turn():
        if anew or not path.exists():
            files.write_private(path, new_token().encode() + b"\n")
        token = files.read_private(path).decode("ascii", "replace").strip()
        clients = {digest: name for digest, name in _read_book(folder).items() if name != client}
        clients[token_hash(token)] = client
        files.write_private(folder.path / "clients" / "tokens.json", msgspec.json.encode(clients))
    return path


def load_token_book(folder: KeyFolder) -> TokenBook:
    """The book of all clients' token hashes."""
    return TokenBook(_read_book(folder))


def _read_book(folder: KeyFolder) -> dict[str, str]:
    path = folder.path / "clients" / "tokens.json"
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(files.read_private(path), type=dict[str, str])
    except ValueError as error:
        raise Misconfigured("key_unavailable", f"{path} is damaged") from error


def _new_ec_pem() -> bytes:
    return private_pem(ec.generate_private_key(ec.SECP256R1()))


def _chain_pem(leaf: x509.Certificate) -> bytes:
    return leaf.public_bytes(serialization.Encoding.PEM)


_KEY_MAKERS: Final[dict[str, Callable[[], bytes]]] = {
    "tls.key": _new_ec_pem,
    "next.key": _new_ec_pem,
    "hpke.key": lambda: private_pem(X25519PrivateKey.generate()),
    "token.key": lambda: private_pem(Ed25519PrivateKey.generate()),
}

"""One process's keys in use: certificate, TLS key files, HPKE key, token key; and the public half peers hold.

Guarantees that a loaded `Identity` is whole: one SPIFFE id, and a certificate that belongs to the TLS key.
Three keys, because one key must not serve two schemes. Issues nothing; `store` does.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from sekisho.errors import Misconfigured
from sekisho.keys import files
from sekisho.keys.gate import PeerRule, spki_sha256, x5t_s256
from sekisho.keys.spiffe import SpiffeId

__all__ = ["Identity", "PublicIdentity", "private_pem", "spki_pin"]

KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicIdentity:
    """What peers know of an identity: name, key pins {current, next}, HPKE and token keys."""

    spiffe: SpiffeId
    spki_sha256: tuple[str, ...]
    hpke_public: bytes
    token_public: bytes

    def __post_init__(self) -> None:
        if len(self.hpke_public) != KEY_BYTES or len(self.token_public) != KEY_BYTES:
            raise Misconfigured("key_unavailable", f"the public keys of {self.spiffe} are not 32 bytes each")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `public/<role>-<name>.json`."""
        try:
            page = _read_page(files.read_public(path))
            return cls(
                spiffe=SpiffeId.parse(page.spiffe),
                spki_sha256=tuple(page.spki_sha256),
                hpke_public=base64.b64decode(page.hpke_public, validate=True),
                token_public=base64.b64decode(page.token_public, validate=True),
            )
        except ValueError as error:
            raise Misconfigured("key_unavailable", f"{path} is damaged") from error

    @property
    def rule(self) -> PeerRule:
        """The rule that admits exactly this identity."""
        return PeerRule(spiffe=self.spiffe, spki_pins=frozenset(self.spki_sha256))

    def to_json(self) -> bytes:
        """The page as it is written."""
        page = _PublicPage(
            spiffe=self.spiffe.uri,
            spki_sha256=list(self.spki_sha256),
            hpke_public=base64.b64encode(self.hpke_public).decode(),
            token_public=base64.b64encode(self.token_public).decode(),
        )
        return msgspec.json.format(msgspec.json.encode(page), indent=2) + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process's own keys, loaded and consistent."""

    spiffe: SpiffeId
    cert_path: Path
    key_path: Path
    certificate: x509.Certificate
    hpke_private: X25519PrivateKey
    token_private: Ed25519PrivateKey

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read an identity folder; missing, open to others or mismatched raises `Misconfigured`."""
        try:
            certificate = x509.load_pem_x509_certificate(files.read_public(folder / "tls.crt"))
            uris = certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value.get_values_for_type(x509.UniformResourceIdentifier)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise Misconfigured("key_unavailable", f"{folder / 'tls.crt'} cannot be read") from error
        tls = _private(folder / "tls.key")
        hpke = _private(folder / "hpke.key")
        token = _private(folder / "token.key")
        if not isinstance(tls, ec.EllipticCurvePrivateKey) or tls.public_key() != certificate.public_key():
            raise Misconfigured("key_unavailable", f"{folder / 'tls.key'} does not belong to its certificate")
        if (
            not isinstance(hpke, X25519PrivateKey)
            or not isinstance(token, Ed25519PrivateKey)
            or len(uris) != 1
        ):
            raise Misconfigured("key_unavailable", f"{folder} holds keys of the wrong kind")
        return cls(
            spiffe=SpiffeId.parse(uris[0]),
            cert_path=folder / "tls.crt",
            key_path=folder / "tls.key",
            certificate=certificate,
            hpke_private=hpke,
            token_private=token,
        )

    @classmethod
    def load_if_whole(cls, folder: Path) -> Self | None:
        """Like `load`, but None for a certificate that is damaged or of another key: it is re-issued."""
        certificate_bytes = files.read_public(folder / "tls.crt")
        pin = spki_pin(folder / "tls.key")
        try:
            certificate = x509.load_pem_x509_certificate(certificate_bytes)
        except ValueError:
            return None
        return cls.load(folder) if spki_sha256(certificate) == pin else None

    def fresh(self) -> Self:
        """This identity as it lies on disk now, which may have been renewed."""
        identity = self.load(self.cert_path.parent)
        if identity.spiffe != self.spiffe:
            raise Misconfigured("key_unavailable", f"{self.cert_path.parent} holds {identity.spiffe} now")
        return identity

    @property
    def not_after(self) -> float:
        """When the certificate ends, in seconds since the epoch."""
        return self.certificate.not_valid_after_utc.timestamp()

    @property
    def life_s(self) -> float:
        """How long the certificate lives in all, without the head start for clock differences."""
        from_start = self.not_after - self.certificate.not_valid_before_utc.timestamp()
        return from_start - _HEAD_START_S

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def x5t_s256(self) -> str:
        """The thumbprint our own tokens are bound to."""
        return x5t_s256(self.certificate.public_bytes(serialization.Encoding.DER))

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """DNS names and addresses in the certificate."""
        names = self.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = names.get_values_for_type(x509.IPAddress)
        return tuple(names.get_values_for_type(x509.DNSName)), tuple(str(address) for address in addresses)

    def is_half_over(self, now: float) -> bool:
        """True when it is time to renew."""
        return self.not_after - now <= self.life_s / 2

    def was_issued_by(self, authority: x509.Certificate) -> bool:
        """True when this authority signed the certificate."""
        try:
            self.certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def public(self, next_pin: str | None = None) -> PublicIdentity:
        """The half that peers may know; `next_pin` is the key this identity will move to."""
        pins = (spki_sha256(self.certificate),) + (() if next_pin is None else (next_pin,))
        return PublicIdentity(
            spiffe=self.spiffe,
            spki_sha256=pins,
            hpke_public=self.hpke_private.public_key().public_bytes_raw(),
            token_public=self.token_private.public_key().public_bytes_raw(),
        )


def private_pem(key: ec.EllipticCurvePrivateKey | X25519PrivateKey | Ed25519PrivateKey) -> bytes:
    """A private key as it is written: PKCS #8, unencrypted, protected by the folder."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def spki_pin(path: Path) -> str:
    """The pin of the public half of the private key in this file."""
    der = (
        _private(path)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return hashlib.sha256(der).hexdigest()


_HEAD_START_S = 60.0  # authority.CLOCK_SKEW_S: leaves start a minute early


class _PublicPage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    spiffe: str
    spki_sha256: list[str]
    hpke_public: str
    token_public: str


_read_page: Final = msgspec.json.Decoder(_PublicPage).decode


def _private(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(files.read_private(path), password=None)
    except (ValueError, TypeError) as error:
        raise Misconfigured("key_unavailable", f"{path} is not an unencrypted private key") from error

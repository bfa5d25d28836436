"""Our certificate authority: issues short-lived P-256 leaves and nothing else.

- One self-signed P-256 authority with path length 0: it can sign leaves, never another authority.
- A leaf carries exactly one URI (its SPIFFE id), is not an authority, may serve and connect, and lives at
  most a day.
- P-256, because hardware modules and every TLS stack hold it; Ed25519 stays for tokens and log checkpoints.

Judgement: time is an argument; files are the business of `store`. Serial numbers are drawn by the library.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sekisho.errors import Misconfigured
from sekisho.keys.spiffe import SpiffeId

__all__ = ["LEAF_LIFE_S", "Authority", "key_usage"]

LEAF_LIFE_S: Final = 3600.0  # a stolen leaf key is worth at most this long
MAX_LEAF_LIFE_S: Final = 86_400.0
AUTHORITY_LIFE_S: Final = 10 * 365 * 86_400.0
CLOCK_SKEW_S: Final = 60.0  # certificates start a little early: two machines never agree on the second


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The certificate and private key that sign our leaves."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, trust_domain: str, now: float) -> Authority:
        """Make a new authority for `trust_domain`."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [x509.NameAttribute(NameOID.COMMON_NAME, f"Sekisho authority of {trust_domain}"[:64])]
        )
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(now - CLOCK_SKEW_S))
            .not_valid_after(_moment(now + AUTHORITY_LIFE_S))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(identifier, critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate=certificate, private_key=key)

    @classmethod
    def load(cls, certificate_pem: bytes, key_pem: bytes) -> Authority:
        """Read an authority from PEM; a key that does not belong to the certificate is refused."""
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
            key = serialization.load_pem_private_key(key_pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Misconfigured("key_unavailable", "the authority's PEM files cannot be read") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
            raise Misconfigured("key_unavailable", "the authority's key does not belong to its certificate")
        return cls(certificate=certificate, private_key=key)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def issue(
        self,
        spiffe: SpiffeId,
        public_key: ec.EllipticCurvePublicKey,
        now: float,
        *,
        life_s: float = LEAF_LIFE_S,
        dns: Sequence[str] = (),
        ips: Sequence[str] = (),
    ) -> x509.Certificate:
        """Sign a leaf for `spiffe`, valid from a minute ago for `life_s` seconds."""
        if not 0 < life_s <= MAX_LEAF_LIFE_S:
            raise Misconfigured(
                "config_invalid", f"a leaf cannot live {life_s} s", remedy="choose up to one day"
            )
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.private_key.public_key())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(spiffe.uri)]
        names += [x509.DNSName(name) for name in dns]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in ips]
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spiffe.name)]))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_moment(now - CLOCK_SKEW_S))
            .not_valid_after(_moment(now + life_s))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self.private_key, hashes.SHA256())
        )


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """What a certificate's key is for: to sign certificates, or to prove who speaks."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )

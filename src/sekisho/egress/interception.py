"""An authority for one plugin, so that the gate can end the plugin's TLS and judge what is inside.

- The authority's key is made here, stays in this process's memory and is in no file; it ends with the lease.
- It can speak for the hosts of the plugin's allow-list only, and says so itself (name constraints), for no address.
- Certificates of hosts are made when they are first asked for, from one key beside it; a bounded number is kept.
- Outside, the real host must show a certificate that the system's own authorities vouch for, over TLS 1.2 or newer.
- HTTP/1.1 is the only language offered inside.

Knows no connection; `tls_stream` carries, `proxy` decides.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sekisho.keys.authority import key_usage

__all__ = ["InterceptionAuthority", "outer_context"]

MAX_HOSTS: Final = (
    256  # a *.suffix rule lets a plugin invent names; their certificates must not grow our memory
)
LIFE: Final = timedelta(
    days=397
)  # longer than a sandbox lives; some clients accept no certificate that lasts longer
_BEFORE: Final = timedelta(
    hours=24
)  # clocks inside and outside are the same one, but not every client believes that
_ALPN: Final = ["http/1.1"]


class InterceptionAuthority:
    """Makes certificates for the hosts of one plugin."""

    def __init__(self, allowed_domains: Sequence[str] | None, now: datetime) -> None:
        """`allowed_domains`: None while the gate learns which hosts the plugin wants."""
        self._now = now
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._host_key = ec.generate_private_key(ec.SECP256R1())
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sekisho"),
                x509.NameAttribute(NameOID.COMMON_NAME, f"egress gate {os.urandom(8).hex()}"),
            ]
        )
        self._certificate = self._make_authority(allowed_domains)

    @property
    def certificate_pem(self) -> str:
        """The authority's certificate, for the trust store inside the sandbox."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def context_for(self, host: str) -> ssl.SSLContext:
        """How the gate answers as this canonical host."""
        known = self._contexts.pop(host, None)
        if known is None:
            known = self._make_context(host)
            if len(self._contexts) >= MAX_HOSTS:
                del self._contexts[next(iter(self._contexts))]
        self._contexts[host] = known  # the last used comes last
        return known

    def _make_context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(_ALPN)
        context.num_tickets = 0  # a session ends with its connection
        _load(context, self._make_certificate(host), self._host_key)
        return context

    def _make_authority(self, allowed_domains: Sequence[str] | None) -> x509.Certificate:
        names = dict.fromkeys(rule.removeprefix("*.") for rule in allowed_domains or ())
        addresses = [x509.IPAddress(ip_network(text)) for text in ("0.0.0.0/0", "::/0")]
        constraints = x509.NameConstraints(
            permitted_subtrees=[x509.DNSName(name) for name in names] or None, excluded_subtrees=addresses
        )
        key = self._key.public_key()
        return (
            self._builder(self._name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(constraints, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _make_certificate(self, host: str) -> x509.Certificate:
        key = self._host_key.public_key()
        server = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        # The name stands in the extension alone; as a subject it would be bound to 64 characters.
        return (
            self._builder(x509.Name([]), key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs_certificates=False), critical=True)
            .add_extension(server, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self._now - _BEFORE)
            .not_valid_after(self._now - _BEFORE + LIFE)
        )


def outer_context(ca_file: str | None = None) -> ssl.SSLContext:
    """How a real host is asked for its certificate; by default the system's authorities decide."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(_ALPN)
    return context


def _load(context: ssl.SSLContext, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    """Through a file in memory that has no name: OpenSSL, as Python knows it, reads keys from files alone."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    descriptor = os.memfd_create("sekisho-host-key", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)

"""The handshake gate: who may stand at the other end of a TLS connection of ours.

One class, the same on servers and clients, plugged in through `SSLContext.sslobject_class`, so that a peer
is judged inside the handshake, before one byte of HTTP is read:
- TLS 1.3 only, certificate of our authority (OpenSSL verifies chain, purpose and validity);
- then the gate: one SPIFFE id, the expected one; DNS name and key pin where a rule names them; not revoked;
  in time.
- No session tickets: a resumed TLS 1.3 session skips certificate checks and would let a revoked peer back
  in.
- Revocation is a set in memory, asked again for every request by `wire`: a CRL in an OpenSSL store is only
  read at the handshake, ignores a second file of the same second, and piles up.

A rule that names nothing is refused. Knows no sockets; the clock is given.
"""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from sekisho.errors import Misconfigured, Tampered
from sekisho.keys.spiffe import SpiffeId

__all__ = [
    "HandshakeGate",
    "KeyFiles",
    "PeerFacts",
    "PeerRule",
    "Revocations",
    "certificate_shown",
    "client_context",
    "front_context",
    "peer_facts",
    "server_context",
    "spki_sha256",
    "x5t_s256",
]

_PIN: Final = re.compile(r"[0-9a-f]{64}")


class KeyFiles(Protocol):
    """Where a certificate and its key lie; `store.Identity` is one."""

    @property
    def cert_path(self) -> Path: ...
    @property
    def key_path(self) -> Path: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRule:
    """What the peer's certificate must show: everything named here, and at least one thing."""

    spiffe: SpiffeId | None = None
    dns: str | None = None
    spki_pins: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.spiffe is None and not self.dns and not self.spki_pins:
            raise Misconfigured("config_invalid", "a peer rule that names nothing would admit anyone")
        if any(not _PIN.fullmatch(pin) for pin in self.spki_pins):
            raise Misconfigured("config_invalid", "a key pin is the SHA-256 of a public key in hex")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What a certificate that passed the gate says."""

    spiffe: SpiffeId
    serial: int
    not_after: float
    x5t_s256: str
    spki_sha256: str


class Revocations:
    """Serial numbers of certificates that no longer count; shared and changed while connections live.

    `epoch` is another number after every change, so that a connection can see for every call that nothing changed.
    """

    __slots__ = ("_serials", "epoch")

    def __init__(self, serials: Iterable[int] = ()) -> None:
        self._serials = frozenset(serials)
        self.epoch = 0

    def __contains__(self, serial: int) -> bool:
        return serial in self._serials

    def __len__(self) -> int:
        return len(self._serials)

    def revoke(self, serial: int) -> None:
        """Add one."""
        self.replace(self._serials | {serial})

    def replace(self, serials: Iterable[int]) -> None:
        """Take a whole new list, as read from the key folder."""
        replacement = frozenset(serials)
        if replacement != self._serials:
            self._serials = replacement
            self.epoch += 1


class HandshakeGate:
    """Judges a peer's certificate by rules; any one of them that fits is enough, none means no."""

    __slots__ = ("_clock", "_rules", "revoked")

    def __init__(
        self, rules: Sequence[PeerRule], *, clock: Callable[[], float], revoked: Revocations | None = None
    ) -> None:
        if not rules:
            raise Misconfigured("config_invalid", "a gate without rules would have to refuse everyone")
        self._rules = tuple(rules)
        self._clock = clock
        self.revoked = Revocations() if revoked is None else revoked

    def check(self, cert_der: bytes | None, tls_version: str | None) -> PeerFacts:
        """The facts of a peer that may pass; raises `Tampered("peer_untrusted")`."""
        if tls_version != "TLSv1.3":
            raise _untrusted(f"it speaks {tls_version}, not TLS 1.3")
        if not cert_der:
            raise _untrusted("it shows no certificate")
        try:
            certificate = x509.load_der_x509_certificate(cert_der)
            facts, dns = _facts(certificate, cert_der)
        except (ValueError, x509.ExtensionNotFound) as error:
            raise _untrusted("its certificate cannot be read") from error
        if not any(_fits(rule, facts, dns) for rule in self._rules):
            raise _untrusted(f"{facts.spiffe} with key {facts.spki_sha256[:16]}… is not whom we expect")
        if self._clock() < certificate.not_valid_before_utc.timestamp():
            raise _untrusted("its certificate is not valid yet")
        self.recheck(facts)
        return facts

    def recheck(self, facts: PeerFacts) -> None:
        """Ask again for a live connection: a certificate may expire or be revoked while it is in use."""
        if facts.serial in self.revoked:
            raise _untrusted(f"the certificate of {facts.spiffe} is revoked")
        if self._clock() >= facts.not_after:
            raise _untrusted(f"the certificate of {facts.spiffe} has expired")


def server_context(files: KeyFiles, ca_pem: bytes, gate: HandshakeGate) -> ssl.SSLContext:
    """A context for accepting peers of our authority that pass the gate."""
    context = _gated(ssl.PROTOCOL_TLS_SERVER, files, ca_pem, gate)
    context.num_tickets = 0  # a resumed session would skip the gate's certificate
    return context


def client_context(files: KeyFiles, ca_pem: bytes, gate: HandshakeGate) -> ssl.SSLContext:
    """A context for reaching such a peer; the gate judges identity, more strictly than a host name would."""
    return _gated(ssl.PROTOCOL_TLS_CLIENT, files, ca_pem, gate)


def front_context(cert_path: Path, key_path: Path, client_ca_path: Path | None = None) -> ssl.SSLContext:
    """A context for the client-facing door: TLS 1.3, no tickets.

    A client may show a certificate of `client_ca_path`, for tokens that are bound to it (RFC 8705); it need not. One
    that does not verify ends the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    _load_chain(context, cert_path, key_path)
    if client_ca_path is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cafile=client_ca_path)
        except OSError as error:  # ssl.SSLError is one
            raise Misconfigured("key_unavailable", f"{client_ca_path} holds no authority") from error
    return context


def certificate_shown(ssl_object: ssl.SSLObject) -> str | None:
    """The thumbprint of the certificate that a client showed at the front, verified, if it showed one."""
    shown = ssl_object.getpeercert(binary_form=True)
    return None if shown is None else x5t_s256(shown)


def peer_facts(ssl_object: ssl.SSLObject) -> PeerFacts:
    """What the gate found when this connection was opened."""
    facts = getattr(ssl_object, "peer_facts", None)
    if not isinstance(facts, PeerFacts):
        raise _untrusted("the connection did not pass the gate")
    return facts


def spki_sha256(certificate: x509.Certificate) -> str:
    """The pin of a certificate's public key: it stays the same when the certificate is renewed."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).hexdigest()


def x5t_s256(cert_der: bytes) -> str:
    """The certificate thumbprint of RFC 8705, which binds a token to a certificate."""
    return base64.urlsafe_b64encode(hashlib.sha256(cert_der).digest()).rstrip(b"=").decode()


def _gated(protocol: int, files: KeyFiles, ca_pem: bytes, gate: HandshakeGate) -> ssl.SSLContext:
    class GatedObject(ssl.SSLObject):
        peer_facts: PeerFacts

        def do_handshake(self) -> None:
            super().do_handshake()
            try:
                self.peer_facts = gate.check(self.getpeercert(binary_form=True), self.version())
            except Tampered as error:
                # event loops close a connection quietly for an SSLError and take anything else for a bug
                raise ssl.SSLCertVerificationError(error.message) from error

    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_TICKET
    context.sslobject_class = GatedObject
    try:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise Misconfigured("key_unavailable", "the authority's certificate cannot be read") from error
    _load_chain(context, files.cert_path, files.key_path)
    return context


def _load_chain(context: ssl.SSLContext, cert_path: Path, key_path: Path) -> None:
    try:
        context.load_cert_chain(cert_path, key_path, password=_no_password)
    except (OSError, ValueError) as error:
        raise Misconfigured("key_unavailable", f"{cert_path} and its key cannot be used: {error}") from error


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # otherwise OpenSSL would ask on the terminal and block


def _facts(certificate: x509.Certificate, cert_der: bytes) -> tuple[PeerFacts, list[str]]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise _untrusted("its certificate does not carry exactly one SPIFFE id")  # X509-SVID section 2
    if certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        raise _untrusted("it shows an authority's certificate, not a leaf")
    try:
        spiffe = SpiffeId.parse(uris[0])
    except Misconfigured as error:
        raise _untrusted("its certificate carries no SPIFFE id of ours") from error
    facts = PeerFacts(
        spiffe=spiffe,
        serial=certificate.serial_number,
        not_after=certificate.not_valid_after_utc.timestamp(),
        x5t_s256=x5t_s256(cert_der),
        spki_sha256=spki_sha256(certificate),
    )
    return facts, names.get_values_for_type(x509.DNSName)


def _fits(rule: PeerRule, facts: PeerFacts, dns: Sequence[str]) -> bool:
    if rule.spiffe is not None and rule.spiffe != facts.spiffe:
        return False
    if rule.dns is not None and rule.dns not in dns:
        return False
    return not rule.spki_pins or facts.spki_sha256 in rule.spki_pins


def _untrusted(why: str) -> Tampered:
    return Tampered("peer_untrusted", f"the peer is not trusted: {why}")

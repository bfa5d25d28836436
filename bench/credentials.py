"""Certificates for peers that serve TLS, and a signed token for the one that verifies tokens; for one run only."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.jwk import ECKey

__all__ = ["AUDIENCE", "ISSUER", "Credentials", "make_credentials"]

ISSUER, AUDIENCE = "bench", "gateway"
LIFE = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Files for servers; `token` is for clients."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    jwks_file: Path
    token: str


def make_credentials(folder: Path) -> Credentials:
    """An authority, a certificate for 127.0.0.1, a key set and a token signed with it."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("bench authority")
    ca = _builder(ca_name, ca_name, ca_key, now).add_extension(x509.BasicConstraints(True, None), True)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = _builder(_name("bench server"), ca_name, key, now).add_extension(addresses, False)
    files = Credentials(
        ca_file=folder / "ca.pem",
        cert_file=folder / "server.pem",
        key_file=folder / "server.key",
        jwks_file=folder / "jwks.json",
        token=_token(folder / "jwks.json", now),
    )
    files.ca_file.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files.cert_file.write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    files.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + LIFE)
    )


def _token(jwks_file: Path, now: dt.datetime) -> str:
    key = ECKey.generate_key("P-256", {"kid": "bench", "alg": "ES256", "use": "sig"})
    jwks_file.write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "client0", "exp": int((now + LIFE).timestamp())}
    return jwt.encode({"alg": "ES256", "kid": "bench"}, claims, key)

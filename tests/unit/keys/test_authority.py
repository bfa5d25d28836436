from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from sekisho.errors import Misconfigured
from sekisho.keys import Authority, SpiffeId


def leaf_key() -> ec.EllipticCurvePublicKey:
    return ec.generate_private_key(ec.SECP256R1()).public_key()


@pytest.mark.requirement("A4.1")
def test_a_leaf_names_one_process_for_one_hour(core: SpiffeId, now: float) -> None:
    authority = Authority.create("example.org", now)
    leaf = authority.issue(core, leaf_key(), now, dns=["localhost"], ips=["127.0.0.1"])
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [core.uri]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert leaf.not_valid_after_utc.timestamp() == now + 3600
    assert leaf.not_valid_before_utc.timestamp() == now - 60
    leaf.verify_directly_issued_by(authority.certificate)


def test_a_leaf_cannot_sign_certificates(core: SpiffeId, now: float) -> None:
    leaf = Authority.create("example.org", now).issue(core, leaf_key(), now)
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert basic.critical
    assert not basic.value.ca
    assert usage.critical
    assert not usage.value.key_cert_sign
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_the_authority_can_sign_leaves_only(now: float) -> None:
    certificate = Authority.create("example.org", now).certificate
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert basic.value.path_length == 0


def test_the_authority_survives_being_written_and_read(now: float) -> None:
    authority = Authority.create("example.org", now)
    again = Authority.load(authority.certificate_pem, authority.key_pem)
    assert again.certificate == authority.certificate


def test_a_key_of_another_authority_is_refused(now: float) -> None:
    one, other = Authority.create("example.org", now), Authority.create("example.org", now)
    with pytest.raises(Misconfigured):
        Authority.load(one.certificate_pem, other.key_pem)
    with pytest.raises(Misconfigured):
        Authority.load(b"nonsense", one.key_pem)


@pytest.mark.parametrize("life_s", [0.0, -1.0, 86_401.0])
def test_a_long_lived_leaf_is_refused(core: SpiffeId, now: float, life_s: float) -> None:
    authority = Authority.create("example.org", now)
    with pytest.raises(Misconfigured):
        authority.issue(core, leaf_key(), now, life_s=life_s)

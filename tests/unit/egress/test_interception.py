"""An authority for one plugin: whom it can speak for, and where its keys are not."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from sekisho.egress.interception import MAX_HOSTS, InterceptionAuthority, outer_context

NOW = datetime.now(UTC)


def certificate(authority: InterceptionAuthority) -> x509.Certificate:
    return x509.load_pem_x509_certificate(authority.certificate_pem.encode())


def handshake(authority: InterceptionAuthority, asked: str, shown: str | None = None) -> str | None:
    """A client that trusts this authority alone meets the gate as `shown`; the version of TLS they agree on."""
    client_context = ssl.create_default_context(cadata=authority.certificate_pem)
    client_context.set_alpn_protocols(["h2", "http/1.1"])
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=asked)
    server = authority.context_for(shown or asked).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert client.selected_alpn_protocol() == "http/1.1"
    return client.version()


def test_a_client_that_trusts_it_accepts_the_hosts_of_the_allow_list() -> None:
    authority = InterceptionAuthority(("api.example.com", "*.listed.example"), NOW)
    assert handshake(authority, "api.example.com") == "TLSv1.3"
    assert handshake(authority, "a.b.listed.example") == "TLSv1.3"


@pytest.mark.threat("T-SECRET")
@pytest.mark.parametrize("host", ["evil.example", "example.com", "api.example.com.evil.example"])
def test_it_can_speak_for_no_other_host_even_if_it_wanted_to(host: str) -> None:
    authority = InterceptionAuthority(("api.example.com",), NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        handshake(authority, host)


def test_it_can_speak_for_no_address() -> None:
    found = certificate(InterceptionAuthority(("api.example.com",), NOW))
    constraints = found.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    excluded = [one.value for one in constraints.value.excluded_subtrees or ()]
    assert {ip_address("10.0.0.1") in one for one in excluded if one.version == 4} == {True}
    assert {one.version for one in excluded} == {4, 6}


def test_a_host_is_not_answered_with_the_certificate_of_another() -> None:
    authority = InterceptionAuthority(("a.example", "b.example"), NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(authority, "a.example", shown="b.example")


def test_while_learning_every_name_may_come() -> None:
    assert handshake(InterceptionAuthority(None, NOW), "unheard.example") == "TLSv1.3"


def test_two_plugins_do_not_trust_each_others_authority() -> None:
    one, other = (InterceptionAuthority(("api.example.com",), NOW) for _ in range(2))
    assert certificate(one).subject != certificate(other).subject
    with pytest.raises(ValueError, match=r"[Ii]ssuer|signature|name"):
        certificate(one).verify_directly_issued_by(certificate(other))


def test_another_verifier_agrees() -> None:
    """Not OpenSSL's: certificates of hosts must please the strict ones too."""
    authority = InterceptionAuthority(("api.example.com",), NOW)
    store = Store([certificate(authority)])
    context = authority.context_for("api.example.com")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    loose = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    loose.check_hostname, loose.verify_mode = False, ssl.CERT_NONE
    client = loose.wrap_bio(to_client, to_server, server_hostname="api.example.com")
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    shown = x509.load_der_x509_certificate(client.getpeercert(binary_form=True) or b"")
    verifier = PolicyBuilder().store(store).time(NOW)
    verifier.build_server_verifier(x509.DNSName("api.example.com")).verify(shown, [])
    with pytest.raises(VerificationError):
        verifier.build_server_verifier(x509.DNSName("www.example.com")).verify(shown, [])
    assert shown.fingerprint(hashes.SHA256()) != certificate(authority).fingerprint(hashes.SHA256())


def test_invented_hosts_do_not_grow_memory() -> None:
    authority = InterceptionAuthority(("*.listed.example",), NOW)
    first = authority.context_for("first.listed.example")
    for number in range(MAX_HOSTS):
        assert authority.context_for("first.listed.example") is first or number == MAX_HOSTS
        authority.context_for(f"h{number}.listed.example")
    assert authority.context_for("first.listed.example") is first  # what is used stays
    assert len(authority._contexts) <= MAX_HOSTS


def test_no_key_is_left_open_or_written(tmp_path: Path) -> None:
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    InterceptionAuthority(("a.example",), NOW).context_for("a.example")
    assert len(sorted(path.name for path in Path("/proc/self/fd").iterdir())) == len(before)
    assert not list(tmp_path.iterdir())


def test_real_hosts_are_asked_for_a_certificate_over_a_current_tls() -> None:
    context = outer_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2

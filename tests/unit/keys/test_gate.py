from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sekisho.errors import Misconfigured, Tampered
from sekisho.keys import (
    Authority,
    HandshakeGate,
    Identity,
    KeyFolder,
    PeerRule,
    Revocations,
    SpiffeId,
    certificate_shown,
    client_context,
    front_context,
    peer_facts,
    server_context,
    x5t_s256,
)


@dataclass
class Clock:
    """The instant a gate sees."""

    time: float

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    import time

    return Clock(time.time())  # OpenSSL has its own clock, so these leaves must be valid today


@pytest.fixture
def pair(
    tmp_path: Path, core: SpiffeId, plugin: SpiffeId, clock: Clock
) -> tuple[KeyFolder, Identity, Identity]:
    folder = KeyFolder(tmp_path / "real", "example.org")
    folder.ensure_authority(clock())
    mine = folder.ensure_identity(core, clock(), dns=["core.example.org"])
    return folder, mine, folder.ensure_identity(plugin, clock())


def shake_hands(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """A whole handshake in memory; raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = server.wrap_bio(to_server, to_client, server_side=True)
    two = client.wrap_bio(to_client, to_server, server_side=False, session=session)
    open_ends = [two, one]
    while open_ends:
        end = open_ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            open_ends.append(end)
    two.write(b"hello")
    assert one.read(5) == b"hello"
    one.write(b"hello")
    assert two.read(5) == b"hello"  # this also lets the client take up session tickets, if there were any
    return one, two


def gate(rule: PeerRule, clock: Callable[[], float], revoked: Revocations | None = None) -> HandshakeGate:
    return HandshakeGate([rule], clock=clock, revoked=revoked)


def der(identity: Identity) -> bytes:
    return identity.certificate.public_bytes(serialization.Encoding.DER)


def test_rules_and_gates_that_name_nothing_are_refused(clock: Clock) -> None:
    with pytest.raises(Misconfigured):
        PeerRule()
    with pytest.raises(Misconfigured):
        PeerRule(dns="")
    with pytest.raises(Misconfigured):
        PeerRule(spki_pins=frozenset({"not a pin"}))
    with pytest.raises(Misconfigured):
        HandshakeGate([], clock=clock)


@pytest.mark.requirement("A4.1")
def test_the_expected_peer_passes_and_both_ends_learn_who_it_is(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock
) -> None:
    folder, core, plugin = pair
    server = server_context(plugin, folder.ca_pem(), gate(folder.public_identity(core.spiffe).rule, clock))
    client = client_context(core, folder.ca_pem(), gate(folder.public_identity(plugin.spiffe).rule, clock))
    one, two = shake_hands(server, client)
    assert peer_facts(one).spiffe == core.spiffe
    assert peer_facts(one).x5t_s256 == core.x5t_s256
    assert peer_facts(two).serial == plugin.serial
    assert one.version() == "TLSv1.3"


@pytest.mark.requirement("A4.1")
@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize("wrong", ["spiffe", "dns", "pin", "revoked", "authority", "expired"])
def test_every_wrong_peer_is_refused_inside_the_handshake(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock, tmp_path: Path, wrong: str
) -> None:
    folder, core, plugin = pair
    rules = {"spiffe": PeerRule(spiffe=plugin.spiffe), "dns": PeerRule(dns="other.example.org")}
    rules["pin"] = PeerRule(spiffe=core.spiffe, spki_pins=frozenset({"0" * 64}))
    rule = rules.get(wrong, PeerRule(spiffe=core.spiffe))
    revoked = Revocations([core.serial] if wrong == "revoked" else [])
    ca_pem = folder.ca_pem()
    if wrong == "authority":
        ca_pem = Authority.create("example.org", clock()).certificate_pem
    time = Clock(clock() + 4000) if wrong == "expired" else clock
    server = server_context(plugin, ca_pem, gate(rule, time, revoked))
    client = client_context(core, folder.ca_pem(), gate(PeerRule(spiffe=plugin.spiffe), clock))
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client)


def test_dns_names_count_where_a_rule_asks_for_them(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock
) -> None:
    _, core, plugin = pair
    asked = gate(PeerRule(dns="core.example.org"), clock)
    assert asked.check(der(core), "TLSv1.3").spiffe == core.spiffe
    with pytest.raises(Tampered):
        asked.check(der(plugin), "TLSv1.3")


def test_any_one_of_several_rules_is_enough(pair: tuple[KeyFolder, Identity, Identity], clock: Clock) -> None:
    _, core, plugin = pair
    rules = [PeerRule(spiffe=plugin.spiffe), PeerRule(spiffe=core.spiffe)]
    assert HandshakeGate(rules, clock=clock).check(der(core), "TLSv1.3").spiffe == core.spiffe


@pytest.mark.threat("T-MITM")
def test_old_tls_no_certificate_and_garbage_are_refused(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock
) -> None:
    _, core, _ = pair
    asked = gate(PeerRule(spiffe=core.spiffe), clock)
    for certificate, version in (
        (der(core), "TLSv1.2"),
        (der(core), None),
        (None, "TLSv1.3"),
        (b"x", "TLSv1.3"),
    ):
        with pytest.raises(Tampered) as caught:
            asked.check(certificate, version)
        assert caught.value.code == "peer_untrusted"


def test_a_live_connection_is_judged_again(pair: tuple[KeyFolder, Identity, Identity], clock: Clock) -> None:
    _, core, _ = pair
    revoked = Revocations()
    asked = gate(PeerRule(spiffe=core.spiffe), clock, revoked)
    facts = asked.check(der(core), "TLSv1.3")
    asked.recheck(facts)
    revoked.revoke(core.serial)
    with pytest.raises(Tampered, match="revoked"):
        asked.recheck(facts)
    revoked.replace([])
    clock.time = core.not_after
    with pytest.raises(Tampered, match="expired"):
        asked.recheck(facts)
    clock.time = core.not_after - 4000
    with pytest.raises(Tampered, match="not valid yet"):
        asked.check(der(core), "TLSv1.3")


@pytest.mark.threat("T-MITM")
@pytest.mark.parametrize(
    "names",
    [
        [],
        [x509.DNSName("core.example.org")],
        [x509.UniformResourceIdentifier("https://example.org/core/main")],
        [x509.UniformResourceIdentifier(f"spiffe://example.org/core/{name}") for name in ("main", "other")],
    ],
)
def test_a_certificate_without_exactly_one_id_is_refused(
    clock: Clock, core: SpiffeId, names: list[x509.GeneralName]
) -> None:
    authority = Authority.create("example.org", clock())
    certificate = handmade(authority, names, ca=False)
    with pytest.raises(Tampered):
        gate(PeerRule(spiffe=core, dns="core.example.org"), clock).check(certificate, "TLSv1.3")


def test_an_authority_is_no_peer(clock: Clock, core: SpiffeId) -> None:
    authority = Authority.create("example.org", clock())
    certificate = handmade(authority, [x509.UniformResourceIdentifier(core.uri)], ca=True)
    with pytest.raises(Tampered):
        gate(PeerRule(spiffe=core), clock).check(certificate, "TLSv1.3")
    with pytest.raises(Tampered):
        gate(PeerRule(spiffe=core), clock).check(
            authority.certificate.public_bytes(serialization.Encoding.DER), "TLSv1.3"
        )


@pytest.mark.threat("T-MITM")
def test_trap_one_no_session_ticket_lets_a_revoked_peer_resume(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock
) -> None:
    folder, core, plugin = pair
    revoked = Revocations()
    server = server_context(plugin, folder.ca_pem(), gate(PeerRule(spiffe=core.spiffe), clock, revoked))
    client = client_context(core, folder.ca_pem(), gate(PeerRule(spiffe=plugin.spiffe), clock))
    _, first = shake_hands(server, client)
    assert server.num_tickets == 0
    assert first.session is None or not first.session.has_ticket
    _, again = shake_hands(server, client, first.session)
    assert not again.session_reused
    revoked.revoke(core.serial)
    with pytest.raises(ssl.SSLError):
        shake_hands(server, client, first.session)


@pytest.mark.threat("T-MITM")
def test_trap_two_and_three_revocation_counts_at_once_on_a_live_context_and_can_be_reloaded_often(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock
) -> None:
    folder, core, plugin = pair
    revoked = Revocations()
    server = server_context(plugin, folder.ca_pem(), gate(PeerRule(spiffe=core.spiffe), clock, revoked))
    client = client_context(core, folder.ca_pem(), gate(PeerRule(spiffe=plugin.spiffe), clock))
    for _ in range(20):
        revoked.replace([])
        shake_hands(server, client)
        revoked.replace([core.serial])
        with pytest.raises(ssl.SSLError):
            shake_hands(server, client)
    assert len(server.get_ca_certs()) == 1


def test_every_change_of_the_revocations_and_nothing_else_is_a_new_epoch() -> None:
    revoked = Revocations([1])
    epochs = [revoked.epoch]
    revoked.revoke(2)
    epochs.append(revoked.epoch)
    revoked.replace([3])
    epochs.append(revoked.epoch)
    revoked.replace([])
    epochs.append(revoked.epoch)
    assert len(set(epochs)) == 4
    revoked.replace([])
    revoked.revoke(9)
    revoked.revoke(9)
    assert revoked.epoch == epochs[-1] + 1


def test_a_key_rotation_passes_the_pins_that_peers_hold(
    pair: tuple[KeyFolder, Identity, Identity], clock: Clock
) -> None:
    folder, core, plugin = pair
    rule = folder.public_identity(core.spiffe).rule
    server = server_context(plugin, folder.ca_pem(), gate(rule, clock))
    rotated = folder.rotate_key(core.spiffe, clock())
    client = client_context(rotated, folder.ca_pem(), gate(PeerRule(spiffe=plugin.spiffe), clock))
    shake_hands(server, client)


def test_the_front_door_speaks_tls_13_without_tickets(pair: tuple[KeyFolder, Identity, Identity]) -> None:
    folder, core, _ = pair
    front = front_context(core.cert_path, core.key_path)
    assert front.minimum_version == ssl.TLSVersion.TLSv1_3
    assert front.num_tickets == 0
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=folder.ca_pem().decode())
    one, _ = shake_hands(front, client)
    with pytest.raises(Tampered):
        peer_facts(one)


def test_a_client_may_show_a_certificate_where_its_authority_is_known(
    pair: tuple[KeyFolder, Identity, Identity],
) -> None:
    folder, core, plugin = pair
    authority = folder.path / "authority" / "ca.crt"
    asking = front_context(core.cert_path, core.key_path, authority)
    not_asking = front_context(core.cert_path, core.key_path)

    def shown(front: ssl.SSLContext, identity: Identity | None) -> str | None:
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname = False
        client.load_verify_locations(cadata=folder.ca_pem().decode())
        if identity is not None:
            client.load_cert_chain(identity.cert_path, identity.key_path)
        return certificate_shown(shake_hands(front, client)[0])

    assert shown(asking, plugin) == x5t_s256(der(plugin))
    assert shown(asking, None) is None
    assert shown(not_asking, plugin) is None


@pytest.mark.threat("T-TOKEN-STOLEN")
def test_a_client_certificate_of_another_authority_ends_the_handshake(
    pair: tuple[KeyFolder, Identity, Identity], plugin: SpiffeId, clock: Clock, tmp_path: Path
) -> None:
    folder, core, _ = pair
    elsewhere = KeyFolder(tmp_path / "elsewhere", "example.org")
    elsewhere.ensure_authority(clock())
    stranger = elsewhere.ensure_identity(plugin, clock())
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.load_verify_locations(cadata=folder.ca_pem().decode())
    client.load_cert_chain(stranger.cert_path, stranger.key_path)
    with pytest.raises(ssl.SSLError):
        shake_hands(
            front_context(core.cert_path, core.key_path, folder.path / "authority" / "ca.crt"), client
        )


def test_unusable_files_are_reported(pair: tuple[KeyFolder, Identity, Identity], clock: Clock) -> None:
    folder, core, plugin = pair
    with pytest.raises(Misconfigured):
        server_context(core, b"nonsense", gate(PeerRule(spiffe=plugin.spiffe), clock))
    with pytest.raises(Misconfigured):
        front_context(core.cert_path, folder.path / "absent")
    with pytest.raises(Misconfigured):
        front_context(core.cert_path, plugin.key_path)
    for authority in (folder.path / "absent", core.key_path):
        with pytest.raises(Misconfigured):
            front_context(core.cert_path, core.key_path, authority)


def test_an_encrypted_key_is_refused_instead_of_asking_on_the_terminal(
    pair: tuple[KeyFolder, Identity, Identity], tmp_path: Path
) -> None:
    _, core, _ = pair
    key = serialization.load_pem_private_key(core.key_path.read_bytes(), password=None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"word"),
        )
    )
    with pytest.raises(Misconfigured):
        front_context(core.cert_path, locked)


def handmade(authority: Authority, names: list[x509.GeneralName], *, ca: bool) -> bytes:
    """A certificate of our authority that we would never issue."""
    template = authority.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.subject)
        .public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
        .serial_number(1)
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

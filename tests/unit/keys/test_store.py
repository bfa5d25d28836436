from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.keys import KeyFolder, Revocations, Role, SpiffeId, ensure_bearer, load_token_book


def test_everything_private_is_readable_by_the_owner_only(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    folder.ensure_identity(core, now)
    folder.ensure_secret("tickets")
    ensure_bearer(folder, "me")
    secret = [
        path for path in folder.path.rglob("*") if path.is_file() and path.suffix not in {".crt", ".json"}
    ]
    assert len(secret) >= 7
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in secret)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700


def test_the_authority_is_made_once(folder: KeyFolder, now: float) -> None:
    first = folder.ensure_authority(now)
    assert KeyFolder(folder.path, "example.org").ensure_authority(now + 9).certificate == first.certificate
    assert folder.ca_pem() == first.certificate_pem


def test_a_crash_while_the_authority_is_made_is_mended(folder: KeyFolder, now: float) -> None:
    (folder.path / "authority" / "ca.crt").unlink()
    assert folder.ensure_authority(now).certificate_pem == folder.ca_pem()


def test_an_identity_is_kept_until_half_its_life_is_over(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    first = folder.ensure_identity(core, now)
    assert folder.ensure_identity(core, now + 1799).serial == first.serial
    assert folder.renew_if_half_life(core, now + 1799).serial == first.serial
    assert folder.renew_if_half_life(core, now + 1800).serial != first.serial


def test_renewing_keeps_key_names_and_pins(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    first = folder.ensure_identity(core, now, dns=["localhost"], ips=["127.0.0.1"])
    pins = folder.public_identity(core).spki_sha256
    renewed = folder.renew_if_half_life(core, now + 3000)
    assert renewed.certificate.public_key() == first.certificate.public_key()
    assert renewed.names == first.names
    assert folder.public_identity(core).spki_sha256 == pins


def test_a_rotated_key_is_the_one_peers_already_pin(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    folder.ensure_identity(core, now)
    before = folder.public_identity(core).spki_sha256
    folder.rotate_key(core, now + 1)
    after = folder.public_identity(core).spki_sha256
    assert after[0] == before[1]
    assert after[1] not in before


def test_other_names_or_another_authority_cause_a_new_certificate(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    first = folder.ensure_identity(core, now)
    named = folder.ensure_identity(core, now, dns=["core"])
    assert named.serial != first.serial
    for name in ("ca.crt", "ca.key"):
        (folder.path / "authority" / name).unlink()
    folder.ensure_authority(now)
    again = folder.ensure_identity(core, now, dns=["core"])
    assert again.was_issued_by(folder.ensure_authority(now).certificate)


def test_a_crash_between_key_and_certificate_is_mended(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    identity = folder.ensure_identity(core, now)
    identity.key_path.write_bytes((identity.key_path.parent / "next.key").read_bytes())
    assert folder.ensure_identity(core, now).serial != identity.serial
    identity.cert_path.write_bytes(b"torn")
    assert folder.ensure_identity(core, now).spiffe == core


def test_a_place_without_the_authority_key_uses_what_it_has(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    identity = folder.ensure_identity(core, now)
    (folder.path / "authority" / "ca.key").unlink()
    assert not folder.holds_authority
    assert folder.ensure_identity(core, now).serial == identity.serial
    assert folder.renew_if_half_life(core, now + 3000).serial == identity.serial
    other = SpiffeId(trust_domain="example.org", role=Role.PLUGIN, name="new")
    with pytest.raises(Misconfigured) as caught:
        folder.ensure_identity(other, now)
    assert caught.value.code == "key_unavailable"


def test_an_identity_of_another_trust_domain_is_not_taken_for_ours(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    folder.ensure_identity(core, now)
    other = SpiffeId(trust_domain="example.net", role=core.role, name=core.name)
    with pytest.raises(Misconfigured):
        folder.identity(other)
    with pytest.raises(Misconfigured):
        folder.public_identity(other)


def test_the_revocation_list_reaches_live_sets(folder: KeyFolder) -> None:
    live = Revocations()
    folder.refresh_revoked(live)
    assert len(live) == 0
    folder.revoke(1 << 158)
    folder.revoke(7)
    folder.refresh_revoked(live)
    assert (1 << 158) in live
    assert 7 in live
    assert 8 not in live


def test_a_damaged_revocation_list_is_an_error_not_an_empty_one(folder: KeyFolder) -> None:
    folder.revoke(7)
    (folder.path / "public" / "revoked.json").write_bytes(b"[")
    with pytest.raises(Misconfigured):
        folder.revoked_serials()


def test_a_secret_is_drawn_once_and_has_its_length(folder: KeyFolder) -> None:
    secret = folder.ensure_secret("tickets")
    assert len(secret) == 32
    assert folder.ensure_secret("tickets") == secret
    with pytest.raises(Misconfigured):
        folder.ensure_secret("tickets", 16)
    with pytest.raises(Misconfigured):
        folder.ensure_secret("../outside")


@pytest.mark.threat("T-NOTOKEN")
def test_a_bearer_is_made_once_and_only_its_hash_is_in_the_book(folder: KeyFolder) -> None:
    path = ensure_bearer(folder, "me")
    token = path.read_text().strip()
    assert ensure_bearer(folder, "me") == path
    assert path.read_text().strip() == token
    ensure_bearer(folder, "you")
    assert load_token_book(folder).identify(f"Bearer {token}") == "me"
    assert token not in (folder.path / "clients" / "tokens.json").read_text()
    assert len(load_token_book(folder)) == 2


def test_a_replaced_token_file_retires_the_old_token(folder: KeyFolder) -> None:
    path = ensure_bearer(folder, "me")
    path.unlink()
    ensure_bearer(folder, "me")
    assert len(load_token_book(folder)) == 1


def test_a_bad_client_name_or_book_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        ensure_bearer(folder, "../me")
    ensure_bearer(folder, "me")
    book = folder.path / "clients" / "tokens.json"
    book.write_bytes(b"[]")
    with pytest.raises(Misconfigured):
        load_token_book(folder)
    assert len(load_token_book(KeyFolder(tmp_path / "empty"))) == 0

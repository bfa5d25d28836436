from __future__ import annotations

import pytest

from sekisho.errors import Misconfigured
from sekisho.keys import Authority, Identity, KeyFolder, PublicIdentity, SpiffeId
from sekisho.keys.gate import spki_sha256


def test_an_identity_knows_its_life_and_names(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    identity = folder.ensure_identity(core, now, dns=["localhost"], ips=["127.0.0.1", "::1"])
    assert identity.not_after == now + 3600
    assert identity.life_s == 3600
    assert identity.names == (("localhost",), ("127.0.0.1", "::1"))
    assert not identity.is_half_over(now + 1799)
    assert identity.is_half_over(now + 1800)
    assert len(identity.x5t_s256) == 43
    assert identity.serial == identity.certificate.serial_number


def test_an_identity_tells_its_own_authority_from_another(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    identity = folder.ensure_identity(core, now)
    assert identity.was_issued_by(folder.ensure_authority(now).certificate)
    assert not identity.was_issued_by(Authority.create("example.org", now).certificate)


def test_the_public_half_survives_being_written_and_read(
    folder: KeyFolder, core: SpiffeId, now: float
) -> None:
    identity = folder.ensure_identity(core, now)
    public = folder.public_identity(core)
    assert public.spiffe == core
    assert public.spki_sha256[0] == spki_sha256(identity.certificate)
    assert len(public.spki_sha256) == 2
    assert public.rule.spki_pins == frozenset(public.spki_sha256)
    assert public.token_public == identity.token_private.public_key().public_bytes_raw()


def test_a_damaged_key_is_named(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    folder.ensure_identity(core, now)
    (path,) = folder.path.rglob("tls.key")
    path.write_bytes(b"junk")
    with pytest.raises(Misconfigured, match=f"{path} is not an unencrypted private key"):
        folder.ensure_identity(core, now)


def test_a_public_half_with_short_keys_is_refused(core: SpiffeId) -> None:
    with pytest.raises(Misconfigured):
        PublicIdentity(spiffe=core, spki_sha256=(), hpke_public=b"", token_public=b"")


@pytest.mark.parametrize("page", [b"", b"{}", b'{"spiffe":1}', b"[]"])
def test_a_damaged_public_page_is_refused(folder: KeyFolder, core: SpiffeId, page: bytes) -> None:
    path = folder.path / "page.json"
    path.write_bytes(page)
    with pytest.raises(Misconfigured):
        PublicIdentity.load(path)


def test_keys_that_do_not_belong_together_are_refused(
    folder: KeyFolder, core: SpiffeId, plugin: SpiffeId, now: float
) -> None:
    one, other = folder.ensure_identity(core, now), folder.ensure_identity(plugin, now)
    one.key_path.write_bytes(other.key_path.read_bytes())
    with pytest.raises(Misconfigured, match="does not belong"):
        Identity.load(one.key_path.parent)


def test_keys_of_the_wrong_kind_are_refused(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    identity = folder.ensure_identity(core, now)
    (identity.key_path.parent / "hpke.key").write_bytes(identity.key_path.read_bytes())
    with pytest.raises(Misconfigured, match="wrong kind"):
        identity.fresh()


def test_a_fresh_look_finds_the_renewed_certificate(folder: KeyFolder, core: SpiffeId, now: float) -> None:
    identity = folder.ensure_identity(core, now)
    folder.renew_if_half_life(core, now + 1800)
    assert identity.fresh().serial != identity.serial

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sekisho.errors import SekishoError, Tampered
from sekisho.keys import PeerFacts, sign_channel_token
from sekisho.keys.gate import spki_sha256
from sekisho.wire.admission import Admission

if TYPE_CHECKING:
    from tests.unit.wire.conftest import House


def admission_of(house: House) -> Admission:
    """Ours allows `echo` and `hold`."""
    core = house.core
    facts = PeerFacts(
        spiffe=core.spiffe,
        serial=core.serial,
        not_after=core.not_after,
        x5t_s256=core.x5t_s256,
        spki_sha256=spki_sha256(core.certificate),
    )
    return Admission(house.plugin_terms(), facts)


def token(house: House, *ops: str, x5t: str | None = None) -> str:
    x5t = house.core.x5t_s256 if x5t is None else x5t
    return sign_channel_token(house.core, house.plugin.spiffe, ops, cert_x5t=x5t, now=house.now, jti="one")


@pytest.mark.requirement("A4.2")
def test_without_a_token_nothing_is_admitted(house: House) -> None:
    admission = admission_of(house)
    assert not admission.is_admitted("echo", house.now)
    assert admission.refusal("echo", house.now).code == "token_not_accepted"


@pytest.mark.requirement("A2.2")
@pytest.mark.threat("T-OPERATION")
def test_an_operation_is_admitted_if_token_and_own_list_name_it(house: House) -> None:
    admission = admission_of(house)
    admission.take_token(token(house, "echo", "erase"))
    assert admission.is_admitted("echo", house.now)
    for other in ("hold", "erase", ""):  # only ours, only the token's, nobody's
        assert not admission.is_admitted(other, house.now)
        assert admission.refusal(other, house.now).code == "operation_not_allowed"


@pytest.mark.requirement("A4.2")
def test_when_the_token_ends_so_does_what_it_admits(house: House) -> None:
    admission = admission_of(house)
    admission.take_token(token(house, "echo"))
    later = house.now + 3600
    assert not admission.is_admitted("echo", later)
    assert admission.refusal("echo", later).code == "token_not_accepted"


@pytest.mark.threat("T-MITM")
def test_a_certificate_revoked_meanwhile_ends_the_channel(house: House) -> None:
    admission = admission_of(house)
    admission.take_token(token(house, "echo"))
    assert admission.is_admitted("echo", house.now)
    house.revoked.revoke(house.core.serial)
    with pytest.raises(Tampered):
        admission.is_admitted("echo", house.now)


@pytest.mark.threat("T-MITM")
def test_another_ones_revocation_changes_nothing(house: House) -> None:
    admission = admission_of(house)
    admission.take_token(token(house, "echo"))
    house.revoked.revoke(house.core.serial + 1)
    assert admission.is_admitted("echo", house.now)


@pytest.mark.threat("T-REPLAY")
def test_a_token_of_another_certificate_or_a_used_one_grants_nothing(house: House) -> None:
    admission = admission_of(house)
    with pytest.raises(SekishoError):
        admission.take_token(token(house, "echo", x5t="x" * 43))
    assert not admission.is_admitted("echo", house.now)
    once = token(house, "echo")
    admission.take_token(once)
    with pytest.raises(SekishoError):
        admission.take_token(once)


def test_what_is_admitted_and_refused_all_the_same_came_at_a_bad_time(house: House) -> None:
    admission = admission_of(house)
    admission.take_token(token(house, "echo"))
    assert admission.refusal("echo", house.now).code == "busy"

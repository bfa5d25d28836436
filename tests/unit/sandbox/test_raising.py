"""From a wish to a driver: what this host offers, looked at in order."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants
from sekisho.sandbox.raising import driver_for, offer_of, offers
from sekisho.sandbox.spec import SandboxSpec


def spec(**more: str) -> SandboxSpec:
    return SandboxSpec(name="notes", argv=("x",), grants=Grants(), **more)  # type: ignore[arg-type]  # words only


def test_auto_offers_every_driver_in_the_order_of_preference() -> None:
    assert [one.driver for one in offers(spec())] == ["bubblewrap", "native", "oci", "landlock"]


def test_a_driver_that_is_named_is_the_only_one_considered() -> None:
    assert [one.driver for one in offers(spec(driver="native"))] == ["native"]
    with pytest.raises(Misconfigured, match="unknown"):
        spec(driver="chroot")


def test_no_walls_and_a_driver_contradict_each_other() -> None:
    with pytest.raises(Misconfigured, match="no walls"):
        list(offers(spec(isolation="unsafe-none", driver="native")))
    assert driver_for(spec(isolation="unsafe-none")).name == "unsafe-none"


def test_landlock_has_no_gate_and_never_claims_to_be_strict() -> None:
    offer = offer_of("landlock")
    assert not offer.has_gate
    assert offer.level in {"standard", "minimal"}


def test_without_bwrap_our_own_walls_are_tried_and_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert offer_of("bubblewrap").missing
    if not offer_of("native").missing:
        assert driver_for(spec()).name == "native"

"""From a wish to a driver: what this host offers, looked at in order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import Grants
from sekisho.sandbox.host import obstacles
from sekisho.sandbox.oci.engine import Engine
from sekisho.sandbox.plans.spec import SandboxSpec
from sekisho.sandbox.raising import asked, driver_for, offer_of, offers


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


@pytest.mark.parametrize(("label", "is_tried"), [("box (enforce)\n", True), ("unconfined\n", False)])
def test_where_a_profile_confines_us_bwrap_is_tried_before_it_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: str, is_tried: bool
) -> None:
    (tmp_path / "label").write_text(label)
    monkeypatch.setattr(obstacles, "LABEL", str(tmp_path / "label"))
    bwrap = tmp_path / "bwrap"
    bwrap.write_text(
        '#!/bin/sh\necho "bwrap: Creating new namespace failed: Permission denied" >&2\nexit 1\n'
    )
    bwrap.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (offer,) = offers(spec(driver="bubblewrap"))
    assert bool(offer.missing) is is_tried


def test_an_engine_of_the_users_own_is_asked_where_namespaces_are_in_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\necho 'cannot re-exec process' >&2\nexit 125\n")
    program.chmod(0o755)
    own = Engine(name="podman", program=str(program), is_rootless=True)
    assert "cannot re-exec" in str(asked(own))
    assert asked(replace(own, is_rootless=False)) == ()


def test_an_engine_is_asked_with_what_it_would_be_started_with(tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text('#!/bin/sh\n[ -n "$HOME" ] || { echo "HOME was not set" >&2; exit 1; }\n')
    program.chmod(0o755)
    own = Engine(name="podman", program=str(program), is_rootless=True)
    assert "HOME was not set" in str(asked(own))
    assert asked(replace(own, environment={"HOME": "/home/one"})) == ()

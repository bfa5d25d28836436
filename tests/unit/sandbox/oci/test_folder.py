"""What a container is shown of the host is laid down once, and looked at again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.sandbox.plans.test_plan import FOUND, HOST, draw

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant
from sekisho.sandbox.oci.folder import can_start, identities, lay, refuse_links
from sekisho.sandbox.plans.plan import Plan

CONTAINED = replace(HOST, driver="oci")


def drawn(folder: Path) -> Plan:
    files = FileGrant(read_only_paths=(str(folder),))
    bare = replace(FOUND, read_only=())
    return draw(files, host=CONTAINED, closure=bare, environment={"API_TOKEN": "very-secret"})


@pytest.fixture
def granted(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "granted"
    folder.mkdir()
    return folder


def test_its_files_can_be_opened_and_not_listed_and_its_environment_only_by_us(granted: Path) -> None:
    place = granted.with_name("place")
    place.mkdir()
    lay(place, drawn(granted))
    assert place.stat().st_mode & 0o777 == 0o711
    assert (place / "etc" / "passwd").stat().st_mode & 0o777 == 0o444
    assert (place / "environment").stat().st_mode & 0o777 == 0o600
    assert b"API_TOKEN=very-secret\n" in (place / "environment").read_bytes()
    assert not any((place / "empty").iterdir())


@pytest.mark.parametrize("has_alarm", [True, False])
def test_calls_ring_only_where_the_plan_has_an_alarm(granted: Path, has_alarm: bool) -> None:
    place = granted.with_name("place")
    place.mkdir()
    plan = drawn(granted)
    data = {name: content for name, content in plan.data.items() if name != "alarm"}
    lay(place, replace(plan, data={**data, "alarm": b""} if has_alarm else data))
    actions = {rule["action"] for rule in json.loads((place / "filter.json").read_bytes())["syscalls"]}
    assert ("SCMP_ACT_NOTIFY" in actions) == has_alarm


def test_another_folder_at_the_same_place_is_noticed(granted: Path) -> None:
    plan = drawn(granted)
    before = identities(plan)
    assert before == identities(plan)
    assert str(granted) in before
    granted.rename(granted.with_name("away"))
    assert identities(plan) != before
    granted.mkdir()
    assert identities(plan) != before


def test_a_link_on_the_way_is_refused_and_a_folder_is_not(granted: Path) -> None:
    plan = drawn(granted)
    refuse_links(plan)
    granted.rename(granted.with_name("away"))
    granted.symlink_to(granted.with_name("away"))
    with pytest.raises(Misconfigured, match="leads through a symbolic link now"):
        refuse_links(plan)


def test_the_start_program_may_be_run_by_everybody_and_written_by_nobody(granted: Path) -> None:
    place = granted.with_name("place")
    place.mkdir()
    plan = drawn(granted)
    lay(place, replace(plan, data={**plan.data, "alarm": plan.data["filter"]}), "/sekisho-1f")
    start = place / "gate" / "start"
    assert start.stat().st_mode & 0o777 == 0o555
    assert b"/sekisho-1f/door\0" in start.read_bytes()
    assert json.loads((place / "filter.json").read_bytes())["defaultAction"] == "SCMP_ACT_ALLOW"


def test_no_start_program_runs_in_gvisor_or_from_where_nothing_may_run(tmp_path: Path) -> None:
    assert not can_start("runsc", str(tmp_path))
    assert can_start("", str(tmp_path)) == can_start("runc", str(tmp_path))
    if os.statvfs("/proc").f_flag & os.ST_NOEXEC:  # as it is mounted everywhere, but for odd containers
        assert not can_start("", "/proc")

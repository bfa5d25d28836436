"""A plugin has a place for what it writes, one writer for it, and a user of its own where root gives it one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.assembly import housing
from sekisho.assembly.housing import drafts_of, follow_drafts, housed
from sekisho.assembly.places import Places
from sekisho.config import Workload
from sekisho.errors import Misconfigured, Unavailable
from sekisho.policy.grants import FileGrant, Grants
from sekisho.sandbox import SandboxSpec

WAIT_S = 10.0


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """A home."""
    return Places(home=tmp_path / "home", config=tmp_path / "sekisho.toml")


def workload_of(persist: str = "review") -> Workload:
    files = FileGrant(writable_paths=("/srv/notes",), persist=persist)  # type: ignore[arg-type]  # a test's own word
    return Workload(
        name="notes",
        command=("/bin/true",),
        upstream=None,
        working_directory=None,
        runtime_paths=(),
        settings=(),
        grants=Grants(files=files),
        isolation="strict",
        uids="700000-700009",
    )


def spec_of(workload: Workload) -> SandboxSpec:
    return SandboxSpec(name=workload.name, argv=workload.command, grants=workload.grants)


def test_root_gives_a_user_and_others_give_none(places: Places) -> None:
    workload = workload_of()
    spec = housed(spec_of(workload), workload, places, is_root=True)
    assert spec.drafts == str(places.drafts / "notes")
    assert spec.owner is not None
    assert 700_000 <= spec.owner <= 700_009
    assert housed(spec_of(workload), workload, places, is_root=True) == spec
    assert housed(spec_of(workload), replace(workload, uids=""), places, is_root=True).owner is None
    assert housed(spec_of(workload), workload, places, is_root=False).owner is None


def test_one_draft_has_one_writer(places: Places) -> None:
    several = replace(workload_of(), instances="client")
    with pytest.raises(Misconfigured, match="instances"):
        housed(spec_of(several), several, places, is_root=False)
    discarding = replace(workload_of("discard"), instances="client")
    assert housed(spec_of(discarding), discarding, places, is_root=False).drafts is not None


def test_a_plugin_gives_its_drafts_away_when_somebody_waits(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housing, "LOOK_S", 0.01)

    async def follow() -> None:
        async with asyncio.timeout(WAIT_S):
            following = asyncio.ensure_future(follow_drafts(places, workload_of()))
            done, _ = await asyncio.wait([following], timeout=0.1)
            assert not done
            with drafts_of(places, "notes").turn():
                await following

    with pytest.raises(Unavailable, match="kept or discarded"):
        asyncio.run(follow())

"""What is prepared before walls are raised, for which grants."""

from __future__ import annotations

from typing import Literal

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, LimitGrant
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.plans.spec import Closure, DriverName, SandboxSpec
from sekisho.sandbox.plans.staged import NOTHING, draft_name, overlay_tag, staging_of

Persist = Literal["direct", "review", "discard"]


def spec_of(
    *writable: str,
    persist: Persist = "review",
    drafts: str | None = "/var/drafts/p",
    owner: int | None = None,
) -> SandboxSpec:
    files = FileGrant(writable_paths=writable, read_only_paths=("/srv/ro",), persist=persist)
    return SandboxSpec(
        name="p",
        argv=("/bin/true",),
        grants=Grants(files=files, limits=LimitGrant(max_tmp_mb=8)),
        drafts=drafts,
        owner=owner,
    )


CLOSURE = Closure(argv=("/bin/true",))


def test_a_direct_grant_needs_nothing() -> None:
    assert staging_of(spec_of("/srv/data", persist="direct"), CLOSURE, "bubblewrap", ()) == NOTHING


@pytest.mark.parametrize("driver", ["bubblewrap", "native"])
def test_each_outermost_folder_gets_one_draft(driver: DriverName) -> None:
    spec = spec_of("/srv/data/inner", "/srv/data", "/srv/database", "/srv/data/")
    staging = staging_of(spec, CLOSURE, driver, ())
    assert [one.path for one in staging.overlays] == ["/srv/data", "/srv/database"]
    first = staging.drafts[0]
    assert first.upper == f"/var/drafts/p/{draft_name('/srv/data')}/upper"
    assert first.work == f"/var/drafts/p/{draft_name('/srv/data')}/work"


def test_what_is_discarded_is_kept_in_memory_within_the_limit() -> None:
    staging = staging_of(spec_of("/srv/data", persist="discard", drafts=None), CLOSURE, "native", ())
    assert [(one.upper, one.size) for one in staging.overlays] == [("", 8 << 20)]
    assert staging.drafts == ()


def test_the_mount_table_tells_nothing_of_the_host() -> None:
    tag = overlay_tag("/var/somebody/drafts/p/x/upper")
    assert "somebody" not in tag
    assert tag != overlay_tag("/var/somebody/drafts/q/x/upper")


@pytest.mark.parametrize("driver", ["landlock", "unsafe-none", "oci"])
def test_walls_without_mounts_of_ours_refuse_to_collect(driver: DriverName) -> None:
    with pytest.raises(Misconfigured, match="persist"):
        staging_of(spec_of("/srv/data"), CLOSURE, driver, ())


def test_a_grant_that_cannot_be_collected_is_refused_with_the_reason() -> None:
    file = Closure(argv=("/bin/true",), files=("/srv/data",))
    with pytest.raises(Misconfigured, match="single file"):
        staging_of(spec_of("/srv/data"), file, "bubblewrap", ())
    mounted = Closure(argv=("/bin/true",), mounts_below=("/srv/data/disk",))
    with pytest.raises(Misconfigured, match="file system of its own"):
        staging_of(spec_of("/srv/data"), mounted, "bubblewrap", ())
    with pytest.raises(Misconfigured, match="no place"):
        staging_of(spec_of("/srv/data", drafts=None), CLOSURE, "bubblewrap", ())
    for folder in ("/var", "/var/drafts/p", "/var/drafts/p/x"):
        with pytest.raises(Misconfigured, match="inside it"):
            staging_of(spec_of(folder), CLOSURE, "bubblewrap", ())


def test_a_plugins_own_user_sees_what_is_granted_as_its_own_and_the_system_not() -> None:
    mounts = [
        Mount(kind="read", path=path, source=path)
        for path in ("/usr", "/etc/ssl/certs", "/srv/ro", "/opt/venv/lib", "/proc/sys")
    ]
    mounts.append(Mount(kind="write", path="/srv/data", source="/srv/data"))
    staging = staging_of(spec_of("/srv/data", owner=600_001), CLOSURE, "native", mounts)
    assert staging.owner == 600_001
    assert staging.mapped == ("/opt/venv/lib", "/srv/data", "/srv/ro")
    assert (
        staging_of(spec_of("/srv/data", persist="direct", owner=600_001), CLOSURE, "landlock", mounts).owner
        is None
    )

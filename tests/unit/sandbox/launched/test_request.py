"""What the launcher is asked for: each part is told what concerns it, and the private folder has its name."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.unit.sandbox.plans.test_plan import HOST, draw

from sekisho.launcher.request import FOR_CHILD, FOR_WATCHER, read_request
from sekisho.policy.grants import FileGrant, LimitGrant
from sekisho.sandbox.launched.request import launch_message, request_of
from sekisho.sandbox.plans.plan import Plan

SCRATCH = Path("/run/private")
SECRET = {"TOKEN": "opensesame"}


def read(plan: Plan, line: int, scratch: Path | None = None, join: tuple[str, ...] = ()) -> dict[str, Any]:
    """As the launcher's processes read it."""
    fd = os.memfd_create("sekisho")
    try:
        os.write(fd, request_of(plan, scratch, join))
        return read_request(fd, line)
    finally:
        os.close(fd)


def life(plan: Plan, scratch: Path | None = None) -> dict[str, Any]:
    message = json.loads(launch_message(7, plan, scratch))
    assert (message["op"], message["id"]) == ("launch", 7)
    told = message["life"]
    assert isinstance(told, dict)
    return told


def test_the_child_is_told_the_walls_and_the_command() -> None:
    plan = draw()
    told = read(plan, FOR_CHILD, join=("/cg/memory/x/cgroup.procs",))
    assert told["command"] == list(plan.command)
    assert told["join"] == ["/cg/memory/x/cgroup.procs"]
    assert base64.b64decode(told["data"]["filter"]) == plan.data["filter"]
    assert [(one["kind"], one["path"]) for one in told["mounts"]] == [
        (one.kind, one.path) for one in plan.mounts
    ]


def test_neither_launcher_nor_watcher_learns_what_the_plugin_has_in_its_environment() -> None:
    for driver in ("bubblewrap", "native"):
        plan = draw(host=replace(HOST, driver=driver), environment=SECRET)
        assert "opensesame" in json.dumps(read(plan, FOR_CHILD))
        assert "opensesame" not in json.dumps(read(plan, FOR_WATCHER))
        assert "opensesame" not in json.dumps(life(plan))


def test_a_part_of_proc_is_not_prepared_before_there_is_one() -> None:
    staging = read(draw(FileGrant(read_only_paths=("/srv/data",), writable_paths=("/srv/out",))), FOR_CHILD)[
        "staging"
    ]
    assert "/srv/data" in staging["sources"]
    assert staging["writable"] == ["/srv/out"]
    assert not any(source.startswith("/proc/") for source in staging["sources"])


def test_without_a_root_of_its_own_the_private_folder_gets_its_name() -> None:
    plan = draw(host=replace(HOST, driver="landlock", cgroup="none", cgroup_parents=()))
    told = read(plan, FOR_CHILD, SCRATCH)
    assert told["mounts"] == []
    assert any(path.startswith(str(SCRATCH)) for path, _ in told["rules"])
    assert "{scratch}" not in json.dumps(told)
    assert "{scratch}" not in json.dumps(read(plan, FOR_WATCHER, SCRATCH))
    assert life(plan, SCRATCH)["scratch"] == str(SCRATCH)
    assert life(plan)["scratch_bytes"] == 0


def test_the_launcher_watches_only_what_no_control_group_bounds() -> None:
    limits = LimitGrant(max_memory_mb=64)
    assert life(draw(limits=limits))["guard_bytes"] == 0
    guarded = draw(limits=limits, host=replace(HOST, cgroup="none", cgroup_parents=()))
    assert life(guarded)["guard_bytes"] == 64 << 20


def test_a_name_of_the_host_that_is_no_text_arrives_as_it_is() -> None:
    name = os.fsdecode(b"/srv/\xff")
    plan = replace(draw(), command=("/bin/true", name))
    assert read(plan, FOR_CHILD)["command"] == ["/bin/true", name]

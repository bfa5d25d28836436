"""A plan in an engine's words: nothing is left to its defaults that matters."""

from __future__ import annotations

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sandbox.plans.test_plan import FOUND, HOST, draw

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, LimitGrant
from sekisho.sandbox.mount import Mount
from sekisho.sandbox.oci.words import Frame, create_words, environment_file, sealed_below
from sekisho.sandbox.plans.spec import Capabilities

PODMAN = Frame(
    engine="podman",
    name="c",
    image="frame:1",
    folder="/f",
    owner="1-2",
    user=600_007,
    group=600_007,
    is_own=False,
    is_rootless=False,
)
DOCKER = replace(PODMAN, engine="docker", runtime="runsc")
CONTAINED = replace(HOST, driver="oci")
COUNTED = replace(
    CONTAINED, cgroup="v2", cgroup_parents=(("memory", ""), ("pids", ""), ("cpu", ""), ("io", ""))
)


def words(
    frame: Frame = PODMAN,
    *,
    files: FileGrant | None = None,
    limits: LimitGrant | None = None,
    host: Capabilities = COUNTED,
) -> list[str]:
    return list(create_words(draw(files, host=host, limits=limits), frame))


def mounts(said: list[str]) -> list[list[str]]:
    lines = [said[index + 1] for index, word in enumerate(said) if word == "--mount"]
    return [next(csv.reader([line])) for line in lines]


@pytest.mark.parametrize("frame", [PODMAN, DOCKER])
def test_every_wall_is_asked_for_by_name(frame: Frame) -> None:
    said = " ".join(words(frame))
    for option in (
        "--network none", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges",
        "--security-opt seccomp=/f/filter.json", "--user 600007:600007", "--ipc private", "--cgroupns private",
        "--hostname plugin", "--pull never", "--log-driver none", "--ulimit core=0:0",
    ):  # fmt: skip
        assert option in said
    assert "--privileged" not in said


def test_limits_are_the_plans() -> None:
    limits = LimitGrant(max_memory_mb=100, max_cpu_percent=50, max_pids=9, max_open_files=77)
    said = " ".join(words(limits=limits))
    assert f"--memory {100 << 20} --memory-swap {100 << 20} --pids-limit 9 --cpus 0.5" in said
    assert "--ulimit nofile=77:77" in said


def test_environment_values_are_on_no_command_line() -> None:
    drawn = draw(host=CONTAINED, environment={"API_TOKEN": "very-secret"})
    said = create_words(drawn, PODMAN)
    assert "very-secret" not in " ".join(said)
    assert said[said.index("--env-file") + 1] == "/f/environment"
    assert b"API_TOKEN=very-secret\n" in environment_file(drawn.environment)


@pytest.mark.parametrize("value", ["a\nB=c", "a\rb"])
def test_a_value_that_would_be_a_second_variable_is_refused(value: str) -> None:
    with pytest.raises(Misconfigured, match="the value of A has a line end"):
        environment_file({"A": value})


def test_what_is_granted_is_mounted_as_it_was_granted_and_the_rest_is_the_images() -> None:
    seen = mounts(words(files=FileGrant(read_only_paths=("/srv/in",), writable_paths=("/srv/out",))))
    assert ["type=bind", "source=/srv/in", "target=/srv/in", "readonly"] in seen
    assert ["type=bind", "source=/srv/out", "target=/srv/out"] in seen
    assert ["type=bind", "source=/f/etc/passwd", "target=/etc/passwd", "readonly"] in seen
    sources = {one[1] for one in seen if one[0] == "type=bind" and not one[1].startswith("source=/f/")}
    assert sources == {f"source={path}" for path in (*FOUND.read_only, "/srv/in", "/srv/out")}


@given(
    name=st.text(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=20
    )
)
def test_no_name_of_a_folder_can_add_a_word_to_its_mount(name: str) -> None:
    if name in {".", ".."}:
        return
    path = f"/srv/{name}"
    seen = [
        one for one in mounts(words(files=FileGrant(read_only_paths=(path,)))) if one[2] == f"target={path}"
    ]
    assert seen == [["type=bind", f"source={path}", f"target={path}", "readonly"]]


def test_without_root_the_user_inside_is_the_one_who_started_it() -> None:
    said = " ".join(words(replace(PODMAN, is_rootless=True, is_own=True)))
    assert "--userns keep-id:uid=1000,gid=1000 --user 1000:1000" in said
    assert "600007" not in said


def test_a_runtime_is_named_to_docker_as_podman_got_it_before() -> None:
    assert "--runtime runsc" in " ".join(words(DOCKER))
    assert "--runtime" not in " ".join(words(replace(PODMAN, runtime="runsc")))


def test_what_is_mounted_in_a_read_only_folder_is_read_only_too_and_what_is_covered_stays_so() -> None:
    listed = (
        Mount(kind="read", path="/srv", source="/srv"),
        Mount(kind="write", path="/srv/out", source="/srv/out"),
        Mount(kind="cover", path="/srv/secret"),
    )
    below = ("/srv/disk", "/srv/disk/inner", "/srv/out", "/srv/out/disk", "/srv/secret/disk", "/elsewhere")
    sealed = sealed_below(listed, below)
    assert sealed[:3] == listed
    assert [(one.kind, one.path, one.source) for one in sealed[3:]] == [
        ("read", "/srv/disk", "/srv/disk"),
        ("read", "/srv/disk/inner", "/srv/disk/inner"),
    ]


def test_what_the_engine_cannot_count_is_limited_by_the_kernel_or_left_to_who_watches() -> None:
    ours = replace(PODMAN, is_rootless=True, is_own=True)
    said = " ".join(words(ours, limits=LimitGrant(max_pids=9), host=replace(CONTAINED, cgroup_parents=())))
    assert "--memory" not in said
    assert "--pids-limit" not in said
    assert "--cpus" not in said
    assert "--ulimit nproc=9:9" in said
    assert f"--ulimit data={2 << 30}:{2 << 30}" in said


def test_a_user_whom_others_share_is_not_counted_by_number() -> None:
    assert "nproc" not in " ".join(words(replace(DOCKER, is_own=True, runtime="")))
    few = words(replace(DOCKER, runtime=""), limits=LimitGrant(max_pids=9))
    assert "--pids-limit 9" in " ".join(few)
    assert "nproc=8192:8192" in " ".join(few)


def test_every_disk_is_slowed_down_both_ways_when_a_rate_is_granted() -> None:
    frame = replace(PODMAN, disks=("/dev/sda", "/dev/sdb"))
    said = " ".join(words(frame, limits=LimitGrant(io_mbps=2)))
    for disk in frame.disks:
        for way in ("read", "write"):
            assert f"--device-{way}-bps {disk}:{2 << 20}" in said
    assert "--device" not in " ".join(words(frame))


def test_gvisor_gets_threads_for_its_own_work() -> None:
    said = " ".join(words(DOCKER, limits=LimitGrant(max_pids=10)))
    assert "--pids-limit 188" in said


def test_what_docker_leaves_open_of_the_kernels_files_is_covered() -> None:
    assert ["type=bind", "source=/f/empty", "target=/sys", "readonly"] in mounts(words(DOCKER))
    assert "mask=/sys:" in " ".join(words(PODMAN))


@pytest.mark.parametrize("frame", [PODMAN, DOCKER])
def test_with_a_start_program_it_is_the_entry_and_the_whole_command_is_its_own(frame: Frame) -> None:
    plain, started = words(frame), words(replace(frame, start="/sekisho-1f"))
    at = started.index("--entrypoint")
    command = [plain[plain.index("--entrypoint") + 1], *plain[plain.index("--entrypoint") + 3 :]]
    assert started[at + 1] == "/sekisho-1f/start"
    assert started[at + 3 :] == command
    added = [one for one in mounts(started) if one not in mounts(plain)]
    assert added == [["type=bind", "source=/f/gate", "target=/sekisho-1f", "readonly"]]

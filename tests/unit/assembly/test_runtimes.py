"""Which program runs a command inside the walls, and what it is given."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

import sekisho
from sekisho.assembly.runtimes import (
    Runtime,
    access_of,
    asks_broker,
    chosen,
    with_audit,
    with_broker,
    within_runtime,
)
from sekisho.config import Workload
from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.plans.spec import DriverName


def spec(*argv: str) -> SandboxSpec:
    grants = Grants(files=FileGrant(read_only_paths=("/srv/data",)))
    return SandboxSpec(name="p", argv=argv, grants=grants, runtime_paths=("/opt/x",))


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "sums.wasm"
    path.write_bytes(b"")
    path.with_suffix(".json").write_bytes(b"")
    return path


@pytest.mark.parametrize(
    ("runtime", "argv", "expected"),
    [
        ("auto", ("python3", "x.py"), ""),
        ("auto", ("/opt/deno/bin/deno", "run", "x.ts"), "deno"),
        ("auto", ("/x/y.wasm",), "wasm"),
        ("auto", (), ""),
        ("deno", ("npm:x",), "deno"),
        ("wasm", ("/x/y.wasm",), "wasm"),
    ],
)
def test_the_runtime_is_stated_or_seen(runtime: Runtime, argv: tuple[str, ...], expected: str) -> None:
    assert chosen(runtime, argv) == expected


def test_an_ordinary_program_stays_as_it_is() -> None:
    assert within_runtime(spec("python3", "x.py"), "auto") == spec("python3", "x.py")


def test_deno_is_given_the_permissions_of_the_grants_and_is_found_beside_us() -> None:
    made = within_runtime(spec("deno", "run", "x.ts"), "auto")
    assert "--allow-read=/opt/x,/srv/data,/tmp,/home/plugin" in made.argv
    assert made.search_path is not None
    assert made.search_path.endswith(f":{Path(sys.executable).parent}")


def test_a_module_runs_in_our_own_worker_and_sees_itself_alone(module: Path) -> None:
    made = within_runtime(spec(str(module)), "auto")
    assert made.argv == (sys.executable, "-I", "-m", "sekisho.wasm", str(module))
    assert made.runtime_paths == (
        "/opt/x",
        str(Path(sekisho.__file__).parent),
        str(module),
        str(module.with_suffix(".json")),
    )


@pytest.mark.parametrize(
    "argv", [("python3", "x.py"), ("sums.wasm",), ("/x/sums.wasm", "--flag"), ("/x/y.py",)]
)
def test_what_is_no_module_is_refused(argv: tuple[str, ...]) -> None:
    with pytest.raises(Misconfigured, match="runs one module") as caught:
        within_runtime(spec(*argv), "wasm")
    assert "MODULE.wasm" in caught.value.remedy


def test_a_module_without_its_description_is_refused(module: Path) -> None:
    module.with_suffix(".json").unlink()
    with pytest.raises(Misconfigured, match=r"sums\.json cannot be read"):
        within_runtime(spec(str(module)), "wasm")


def workload(*argv: str, cwd: Path | None = None) -> Workload:
    return Workload(
        name="p",
        command=argv,
        upstream=None,
        working_directory=cwd,
        runtime_paths=(Path("/opt/x"),),
        settings=(),
        grants=Grants(),
        isolation="strict",
    )


@pytest.mark.parametrize(
    ("driver", "argv", "cwd", "asks"),
    [
        ("bubblewrap", ("deno", "x.ts"), None, True),
        ("native", ("deno", "x.ts"), None, True),
        ("oci", ("deno", "x.ts"), None, True),
        ("landlock", ("deno", "x.ts"), None, False),
        ("unsafe-none", ("deno", "x.ts"), None, False),
        ("bubblewrap", ("deno", "x.ts"), Path("/srv"), False),
    ],
)
def test_a_broker_is_asked_where_it_can_be_reached_and_can_judge(
    driver: DriverName, argv: tuple[str, ...], cwd: Path | None, asks: bool
) -> None:
    assert asks_broker(workload(*argv, cwd=cwd), driver) is asks


def test_a_deno_without_unix_sockets_is_held_by_its_flags() -> None:
    assert not asks_broker(workload("deno", "x.ts"), "native", has_sockets=False)


def test_what_a_deno_may_do_comes_from_its_grants_and_other_programs_are_not_asked() -> None:
    access = access_of(workload("deno", "x.ts"))
    assert access is not None
    assert access.code == ("/opt/x",)
    assert access_of(workload("python3", "x.py")) is None


def test_where_no_broker_is_asked_deno_says_on_standard_error_what_it_was_asked_for() -> None:
    made = with_audit(spec("deno", "run", "x.ts"))
    assert made.environment["DENO_AUDIT_PERMISSIONS"] == "/proc/self/fd/2"


def test_the_broker_is_named_in_the_environment_and_its_folder_is_shown() -> None:
    made = with_broker(spec("deno", "run", "x.ts"), Path("/run/p.deno/broker.sock"))
    assert made.environment["DENO_PERMISSION_BROKER_PATH"] == "/run/p.deno/broker.sock"
    assert made.runtime_paths == ("/opt/x", "/run/p.deno")


def test_a_module_in_a_container_is_refused(module: Path) -> None:
    with pytest.raises(Misconfigured, match="which no image holds"):
        within_runtime(replace(spec(str(module)), driver="oci", image="x"), "auto")

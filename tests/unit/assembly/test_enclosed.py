"""What stands inside a sandbox in place of secrets."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from sekisho.assembly.enclosed import TRUST_VARIABLES, enclosed
from sekisho.assembly.sandbox_spec import sandbox_spec, sockets_in_reach
from sekisho.config import Workload, load_plugin
from sekisho.egress import take_lease
from sekisho.egress.handoff import listen
from sekisho.egress.lease import LeaseDesk
from sekisho.errors import Misconfigured
from sekisho.policy.environment import is_dangerous
from sekisho.policy.grants import FileGrant

FILE = """
[plugin_server]
name = "github"
command = ["/bin/true"]
environment = ["LEVEL"]
[network_policy]
allowed_domains = ["api.github.com"]
intercept_tls = true
[secrets]
TOKEN = { from = "env:GH", hosts = ["api.github.com"] }
OPEN = { from = "env:OPEN_VALUE", environment = true }
"""
ENVIRONMENT = {"GH": "the-real-value-1", "OPEN_VALUE": "the-real-value-2", "LEVEL": "3"}


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    path = tmp_path / "github.toml"
    path.write_text(FILE)
    return load_plugin(path).workload


async def test_a_plugin_has_placeholders_a_certificate_and_only_the_value_asked_for(
    tmp_path: Path, workload: Workload
) -> None:
    desk = LeaseDesk(workload.grants, ENVIRONMENT, clock=lambda: 1_800_000_000.0)
    with listen(tmp_path / "lease") as listener:
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            task = group.create_task(desk.serve(listener))
            with await take_lease(tmp_path / "lease") as lease:
                spec = sandbox_spec(workload, ENVIRONMENT, enclosed(workload, lease, ENVIRONMENT))
            task.cancel()
    assert spec.environment["TOKEN"] == lease.placeholders["TOKEN"]
    assert "the-real-value-1" not in repr(spec)
    assert spec.environment["OPEN"] == "the-real-value-2"
    assert spec.environment["SSL_CERT_FILE"] == "/etc/sekisho/gate.pem"
    assert spec.certificate == lease.certificate.encode()


def test_a_value_for_the_environment_that_is_missing_stops_the_plugin(workload: Workload) -> None:
    with pytest.raises(Misconfigured, match="OPEN_VALUE"):
        enclosed(workload, None, {})


def test_walls_that_are_drawn_to_be_read_name_secrets_and_need_no_value(workload: Workload) -> None:
    spec = sandbox_spec(workload, {})
    assert {"TOKEN", "OPEN", "SSL_CERT_FILE"} <= set(spec.environment)
    assert spec.environment["OPEN"] == ""
    assert spec.certificate


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize(
    ("word", "listens", "has_them"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("always", True, True),
        ("never", False, False),
    ],
)
def test_where_a_service_listens_in_a_grant_there_are_no_unix_sockets_unless_they_are_asked_for(
    tmp_path: Path, workload: Workload, word: str, listens: bool, has_them: bool
) -> None:
    folder = tmp_path.resolve()
    grants = replace(workload.grants, files=FileGrant(read_only_paths=(str(folder),)))
    wanted = replace(workload, grants=grants, unix_sockets=word)
    with socket.socket(socket.AF_UNIX) as service:
        if listens:
            service.bind(str(folder / "s"))
        assert sandbox_spec(wanted, {}).unix_sockets is has_them
        assert bool(sockets_in_reach(wanted, sandbox_spec(wanted, {}))) is (listens or word == "never")


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("listens", [True, False])
@pytest.mark.parametrize("way", ["command", "runtime_paths"])
def test_a_service_that_listens_in_what_its_program_brings_counts_too(
    tmp_path: Path, workload: Workload, way: str, listens: bool
) -> None:
    modules = tmp_path.resolve() / "node_modules"
    (modules / ".cache").mkdir(parents=True)
    script = modules / "server.js"
    script.touch()
    wanted = replace(workload, command=(*workload.command, str(script)))
    if way == "runtime_paths":
        wanted = replace(workload, runtime_paths=(modules,))
    with socket.socket(socket.AF_UNIX) as service:
        if listens:
            service.bind(str(modules / ".cache" / "d.sock"))
        assert sandbox_spec(wanted, {}).unix_sockets is not listens


def test_walls_of_a_program_that_is_not_here_can_still_be_read(workload: Workload) -> None:
    assert sandbox_spec(replace(workload, command=("/nowhere/at/all",)), {}).unix_sockets


@pytest.mark.parametrize("name", TRUST_VARIABLES)
def test_no_operator_can_pass_what_sekisho_sets(name: str) -> None:
    assert is_dangerous(name)

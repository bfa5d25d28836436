"""Two honest packages from the real registries, installed and used through a real house."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.conftest import ECHO, House, common, plugin, quoted, until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

INSTALL_S: Final = 200
CLOCK: Final = "pypi:mcp-server-time==2026.10.19"
FILES: Final = "npm:@modelcontextprotocol/server-filesystem@2026.8.31"


def _package(name: str, package: str, operation: str, more: str = "") -> str:
    return (
        f'[[plugins.servers]]\nname = "{name}"\npackage = "{package}"\n'
        f'allowed_operations = ["{operation}"]\nmax_requests_per_minute = 1000\n{more}'
    )


def _type(folder: Path, *words: str) -> tuple[int, dict[str, Any]]:
    """One command line of ours, for this house."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\nfrom sekisho.cli.app import main\nsys.exit(main())",
            *words,
            "--json",
        ],
        env={**os.environ, "SEKISHO_HOME": str(folder / "home")},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    return done.returncode, json.loads(done.stdout or done.stderr.splitlines()[-1])


def _install(folder: Path, name: str) -> dict[str, Any]:
    status, said = _type(folder, "install", name)
    if status and said["error"]["code"] == "package_unavailable":
        pytest.skip(f"the registry does not answer from here: {said['error']['message']}")
    assert status == 0, said
    return said


@pytest.fixture
def house(walls: None, tmp_path: Path) -> Iterator[House]:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "hello.txt").write_text("hello from the notes", encoding="utf-8")
    more = (
        f"arguments = {quoted([notes])}\n[plugins.servers.filesystem_policy]\n"
        f"read_only_paths = {quoted([notes])}\n"
    )
    text = (
        common(discovery_s=5)
        # A mirror that a company or a CI machine reaches its registries through stands in a private network.
        + "[install]\nallow_private_registry = true\n"
        + plugin("echo", ECHO, operations=["echo"])
        + _package("clock", CLOCK, "convert_time")
        + _package("files", FILES, "read_text_file", more)
    )
    made = House(tmp_path, text)
    yield made
    made.stop()


@pytest.mark.requirement("B1")
def test_packages_come_in_while_the_house_runs_and_a_changed_one_goes_out(
    house: House, tmp_path: Path
) -> None:
    ask = {"source_timezone": "UTC", "target_timezone": "Asia/Tokyo", "time": "12:00"}
    # Nothing is installed: these two are refused with the remedy, and the others run.
    house.unaffected()
    assert not house.answers("clock__convert_time", **ask)
    log = house.stderr.read_text(encoding="utf-8")
    assert "package_missing" in log
    assert "run sekisho install clock" in log

    clock = _install(tmp_path, "clock")
    assert clock["package"] == CLOCK
    until(lambda: house.answers("clock__convert_time", **ask), "the Python package answers", limit_s=40)
    assert "21:00" in house.call("clock__convert_time", **ask).text

    lock = next(tmp_path.rglob("sekisho.lock")).read_text(encoding="utf-8")
    assert '"server package" = "sha256:' in lock
    _, page = _type(tmp_path, "review", "clock")
    assert any(clock["digest"] in one["text"] for one in page["items"] if one["name"] == "package")

    _install(tmp_path, "files")
    note = str(tmp_path / "notes" / "hello.txt")
    until(lambda: house.answers("files__read_text_file", path=note), "the npm package answers", limit_s=40)
    assert "hello from the notes" in house.call("files__read_text_file", path=note).text

    # It runs from its tree, which it may not write, and has no network, so no registry either.
    _, plan = _type(tmp_path, "sandbox", "plan", "clock")
    assert plan["network"] == "none"
    assert clock["path"] in plan["read_only"]
    assert not plan["writable"]
    assert _type(tmp_path, "install", "clock", "--verify")[1]["state"] == "sound"

    # The same again is done in no time, and gives the same tree.
    again = _install(tmp_path, "clock")
    assert (again["state"], again["digest"]) == ("already installed", clock["digest"])

    # A file of it is changed: it is not started any more, until it is installed again.
    victim = Path(clock["path"]) / "site" / "mcp_server_time" / "server.py"
    victim.chmod(0o644)
    victim.write_bytes(victim.read_bytes() + b"\nimport os\n")
    victim.chmod(0o444)
    status, said = _type(tmp_path, "install", "clock", "--verify")
    assert (status, said["error"]["code"]) == (1, "package_tampered")
    os.kill(house.pid("plugin clock"), 9)
    until(lambda: "package_tampered" in house.stderr.read_text(encoding="utf-8"), "the start is refused")
    assert not house.answers("clock__convert_time", **ask)
    house.unaffected()
    mended = _install(tmp_path, "clock")
    assert mended["digest"] == clock["digest"]
    until(lambda: house.answers("clock__convert_time", **ask), "it answers again", limit_s=40)


def test_rolling_back_needs_a_package_before(house: House, tmp_path: Path) -> None:
    _install(tmp_path, "clock")
    status, said = _type(tmp_path, "rollback", "clock")
    assert (status, said["error"]["code"]) == (1, "package_refused")
    status, said = _type(tmp_path, "rollback", "echo")
    assert (status, said["error"]["code"]) == (2, "config_invalid")
    house.unaffected()

"""`sekisho up` where it cannot work: it says so once and ends, and harms nobody who is there already."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.real.conftest import READY_S, House

pytestmark = [pytest.mark.real]

UP = "import sys\nfrom sekisho.cli.app import main\nsys.exit(main(sys.argv[1:]))"


def _up(config: Path, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", UP, "up", "--config", str(config)],
        env={**os.environ, "SEKISHO_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=READY_S,
        check=False,
    )


def _config(folder: Path, port: int) -> Path:
    path = folder / "sekisho.toml"
    path.write_text(f'[core_server]\nbind_addr = "127.0.0.1:{port}"\nstatus_addr = "127.0.0.1:0"\n')
    return path


def test_a_second_up_in_the_same_home_ends_with_a_remedy_and_takes_nothing(
    house: House, tmp_path: Path
) -> None:
    sockets = sorted((house.home / "run").iterdir())
    ended = _up(_config(tmp_path, free_port()), house.home)
    assert ended.returncode == 2
    assert ended.stdout == ""
    said, remedy = ended.stderr.splitlines()
    assert said == f"sekisho: another sekisho up runs with the home {house.home}"
    assert "a home of its own" in remedy
    assert sorted((house.home / "run").iterdir()) == sockets
    house.unaffected()


def test_a_port_in_use_is_said_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _up(_config(tmp_path, port), tmp_path / "home")
    assert ended.returncode == 2
    assert ended.stderr.count(f"sekisho: cannot listen on 127.0.0.1:{port}") == 1
    assert "process_ended" not in ended.stderr

"""The commands that run processes hand over what was typed, and stop cleanly."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

Type = Callable[..., Any]
MAIN = "import sys; from sekisho.cli import main; sys.exit(main())"
READY_S = 90.0


def first_line(stream: IO[bytes]) -> bytes:
    """One line, or a failure when it does not come."""
    ready, _, _ = select.select([stream], [], [], READY_S)
    assert ready, "nothing was printed in time"
    return stream.readline()


@pytest.fixture
def quiet_core(home: Path) -> Path:
    """A core file that binds free ports and has no plugin."""
    path = home.parent / "quiet.toml"
    path.write_text(
        '[core_server]\nbind_addr = "127.0.0.1:0"\nstatus_addr = "off"\n[plugins]\ndiscovery_timeout_seconds = 0.2\n'
    )
    return path


@pytest.fixture
def running(quiet_core: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`sekisho core` on that file; ended by the test or, at the latest, here."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "core", "--config", str(quiet_core)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    yield process
    process.kill()
    process.communicate(timeout=READY_S)


@pytest.mark.real
def test_a_core_says_when_it_is_ready_and_stops_on_sigterm(
    running: subprocess.Popen[bytes], home: Path
) -> None:
    assert running.stdout is not None
    ready = json.loads(first_line(running.stdout))
    assert ready["event"] == "ready"
    assert ready["url"].startswith("https://127.0.0.1:")
    assert Path(ready["token_file"]).is_relative_to(home)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=READY_S) == 0


@pytest.mark.real
def test_a_core_that_cannot_begin_is_told_to_a_program_in_json(quiet_core: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        quiet_core.write_text(quiet_core.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        line = [sys.executable, "-c", MAIN, "up", "--config", str(quiet_core), "--json"]
        ended = subprocess.run(line, capture_output=True, timeout=READY_S, check=False)
    told = [json.loads(line) for line in ended.stderr.splitlines()]  # each line is JSON
    [error] = [line["error"] for line in told if "error" in line]
    assert (ended.returncode, set(error)) == (2, {"code", "message", "remedy"})


@pytest.mark.parametrize("command", ["up", "core", "egress", "connect"])
def test_without_a_core_file_nothing_starts(typed: Type, home: Path, command: str) -> None:
    Path("sekisho.toml").unlink()
    answer = typed(command)
    assert answer.status == 2
    assert answer.err.startswith("sekisho: sekisho.toml: cannot be read")
    assert not home.exists()


@pytest.mark.requirement("A5.2")
@pytest.mark.parametrize("command", ["up", "core"])
def test_a_path_that_is_missing_stops_the_start(typed: Type, home: Path, command: str) -> None:
    Path("sekisho.toml").write_text('[core_server]\nca_cert_path = "none.pem"\n')
    answer = typed(command, "--json")
    assert answer.status == 2
    assert ":2: core_server.ca_cert_path" in answer.error["message"]


def test_a_plugin_server_wants_the_right_kind_of_file(typed: Type, home: Path) -> None:
    Path("p.toml").write_text('[plugin_server]\nname = "a"\n')
    assert "add --name PLUGIN" in typed("plugin", "--config", "sekisho.toml").err
    assert "leave out --name" in typed("plugin", "--config", "p.toml", "--name", "a").err
    assert typed("plugin").status == 2


def test_a_plugin_that_is_not_in_the_file_is_named(typed: Type, home: Path) -> None:
    answer = typed("plugin", "--config", "sekisho.toml", "--name", "nobody")
    assert answer.status == 2
    assert "no plugin is named nobody" in answer.err


def test_a_front_without_a_token_says_where_it_looked(typed: Type, home: Path) -> None:
    answer = typed("connect", "--json")
    assert (answer.status, answer.error["code"]) == (1, "key_unavailable")
    assert "--token-file" in answer.error["remedy"]


def test_a_front_cannot_guess_a_port_the_kernel_chose(typed: Type, quiet_core: Path) -> None:
    answer = typed("connect", "--config", str(quiet_core))
    assert answer.status == 2
    assert "--url" in answer.err


def test_a_front_with_url_and_token_needs_no_core_file(typed: Type, home: Path) -> None:
    Path("sekisho.toml").unlink()
    answer = typed("connect", "--url", "https://127.0.0.1:1/mcp", "--token-file", "none", "--json")
    assert answer.error["code"] == "key_unavailable"


def test_a_front_for_one_plugin_needs_a_name_that_a_plugin_can_have(typed: Type, home: Path) -> None:
    words = ("connect", "--url", "https://127.0.0.1:1/mcp", "--token-file", "none", "--json")
    assert typed(*words, "--plugin", "../x").error["code"] != "key_unavailable"
    assert typed(*words, "--plugin", "git").error["code"] == "key_unavailable"

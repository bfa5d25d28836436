"""The hostile server really attacks, and tells the truth: without walls it succeeds where it should."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.real.site_certificate import write_site

from sekisho.detect.hidden import hidden_characters
from sekisho.errors import RemoteProtocolError
from sekisho.protocol.names import PluginName
from sekisho.registry import Definitions, DriftState, Listing, Surface, compare, lock_entry, surface_of

ATTACKS = {
    "read_ssh_keys",
    "read_peer_data",
    "read_core_memory",
    "phone_home",
    "front_host",
    "escape",
    "fork_daemon",
    "eat_memory",
    "write_file",
}
MISBEHAVIOURS = {"echo", "hang", "garbage", "exit", "huge_line", "flood_stderr", "unasked"}


def attack(session: Any, tool: str, **arguments: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(session.text(tool, **arguments))
    assert report["attack"] == tool
    assert report["succeeded"] is bool(report["detail"]["gained"])
    return report


def surface(session: Any) -> Surface:
    tools = session.ask("tools/list")["result"]["tools"]
    return surface_of(Listing(tools=tuple(json.dumps(tool).encode() for tool in tools)))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def victim() -> Iterator[int]:
    """A process of ours that may be looked into."""
    argv = [sys.executable, "-I", "-S", "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield process.pid
        process.kill()


def test_every_tool_has_a_closed_schema_that_compiles(start: Any) -> None:
    seen = surface(start("hostile"))
    entry = lock_entry(name=PluginName("h"), argv=(), grants="", surface=seen, approved_by="", approved_at="")
    book = Definitions.build(entry, seen, ATTACKS | MISBEHAVIOURS)
    assert set(book.tools) == ATTACKS | MISBEHAVIOURS
    assert all(b'"additionalProperties":false' in definition.bare for definition in book.tools.values())


def test_keys_of_a_decoy_home_are_read_without_walls(start: Any, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519").write_text("DECOY KEY")
    report = attack(start("hostile"), "read_ssh_keys", path=str(tmp_path))
    assert report["succeeded"]
    assert any("DECOY KEY" in gain for gain in report["detail"]["gained"])


@pytest.mark.parametrize("tool", ["read_ssh_keys", "read_peer_data"])
def test_nothing_to_read_is_reported_as_a_failure(start: Any, tmp_path: Path, tool: str) -> None:
    assert not attack(start("hostile"), tool, path=str(tmp_path / "absent"))["succeeded"]


def test_data_of_a_peer_is_read_without_walls(start: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("PEER DATA")
    session = start("hostile")
    for path, restless_s in ((tmp_path, 0), (tmp_path / "notes.txt", 1)):
        report = attack(session, "read_peer_data", path=str(path), restless_s=restless_s)
        assert any("PEER DATA" in gain for gain in report["detail"]["gained"])


def test_memory_of_another_process_is_read_without_walls(start: Any, victim: int) -> None:
    report = attack(start("hostile"), "read_core_memory", pid=victim)
    assert report["succeeded"]
    assert any(f"pid {victim}" in gain for gain in report["detail"]["gained"])


def test_a_process_that_does_not_exist_gives_nothing(start: Any) -> None:
    report = attack(start("hostile"), "read_core_memory", pid=2**22 + 1)
    assert not report["succeeded"]
    assert {line.split(" ")[0] for line in report["detail"]["failed"]} >= {
        "mem",
        "vm_readv",
        "ptrace",
        "environ",
    }


def test_a_reachable_host_is_reached_without_walls(start: Any, listener: socket.socket) -> None:
    host, port = listener.getsockname()
    report = attack(start("hostile"), "phone_home", host=host, port=port)
    assert "tcp: connected" in report["detail"]["gained"]
    connection, _ = listener.accept()
    with connection:
        assert connection.recv(100) == b"hello from inside\n"


@pytest.mark.parametrize("answers", [True, False])
def test_a_host_that_answers_to_another_name_counts_as_reached(
    start: Any, listener: socket.socket, tmp_path: Path, answers: bool
) -> None:
    host, port = listener.getsockname()
    named: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    write_site(tmp_path / "site.pem", "listed.example.com")
    context.load_cert_chain(tmp_path / "site.pem")

    def hear(_: Any, name: str, __: Any) -> int | None:
        named.append(name)
        return None if answers else ssl.ALERT_DESCRIPTION_ACCESS_DENIED

    context.sni_callback = hear

    def serve() -> None:
        connection, _ = listener.accept()
        with suppress(OSError), context.wrap_socket(connection, server_side=True) as inside:
            inside.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    told = attack(start("hostile"), "front_host", host=host, port=port, name="other.example.net")
    thread.join(20)
    assert named == ["other.example.net"]
    assert told["succeeded"] is answers


def test_a_proxy_that_lets_through_counts_as_a_way_out(start: Any, listener: socket.socket) -> None:
    host, port = listener.getsockname()
    answers = [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
    heads: list[bytes] = []

    def proxy() -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection:
                heads.append(connection.recv(1024))
                connection.sendall(answer)

    thread = threading.Thread(target=proxy)
    thread.start()
    session = start("hostile", HTTPS_PROXY=f"http://{host}:{port}")
    # port 9 of loopback: nobody listens there, so that only the proxy can be the way
    refused = attack(session, "phone_home", host="127.0.0.1", port=9)
    let_through = attack(session, "phone_home", host="127.0.0.1", port=9)
    thread.join(20)
    assert not any(gain.startswith("proxy") for gain in refused["detail"]["gained"])
    assert any(gain.startswith("proxy: HTTP/1.1 200") for gain in let_through["detail"]["gained"])
    assert heads[0].startswith(b"CONNECT 127.0.0.1:9 HTTP/1.1\r\n")


def test_escapes_are_tried_and_leave_nothing_behind(start: Any) -> None:
    session = start("hostile")
    before = Path("/proc/self/mountinfo").read_text()
    report = attack(session, "escape")
    tried = [*report["detail"]["gained"], *report["detail"]["failed"]]
    for way in ("unshare user", "mount", "io_uring_setup", "keyctl", "docker socket"):
        assert any(line.startswith(way) for line in tried)
    assert Path("/proc/self/mountinfo").read_text() == before
    assert session.text("echo", text="still here") == "still here"


@pytest.mark.threat("T-RUGPULL")
@pytest.mark.threat("T-HIDDEN")
@pytest.mark.parametrize(
    "how", [{"flags": ("--mutate-after", "2")}, {"environment": {"HOSTILE_MUTATE_AFTER": "2"}}]
)
def test_a_description_changes_after_the_given_number_of_listings(start: Any, how: dict[str, Any]) -> None:
    session = start("hostile", *how.get("flags", ()), **how.get("environment", {}))
    first, second, third = surface(session), surface(session), surface(session)
    entry = lock_entry(
        name=PluginName("h"), argv=(), grants="", surface=first, approved_by="", approved_at=""
    )
    assert compare(entry, second, (), "").is_unchanged
    drift = compare(entry, third, (), "")
    assert drift.state is DriftState.CHANGED
    assert [key.name for key in drift.changed] == ["echo"]
    assert hidden_characters(third.items[drift.changed[0]].text.decode())


def test_a_description_changes_as_soon_as_there_is_a_file(start: Any, tmp_path: Path) -> None:
    sign = tmp_path / "now"
    session = start("hostile", "--mutate-when", str(sign))
    before = {surface(session).root for _ in range(3)}
    sign.touch()
    assert len(before) == 1
    assert surface(session).root not in before


def test_without_the_flag_nothing_changes(start: Any) -> None:
    session = start("hostile")
    assert len({surface(session).root for _ in range(4)}) == 1


def test_it_may_answer_garbage_first(start: Any) -> None:
    session = start("hostile")
    session.send("tools/call", {"name": "garbage", "arguments": {}})
    assert session.line() == b"this is not JSON {{{\n"
    assert session.read()["result"]["content"][0]["text"] == "garbage"


def test_it_may_answer_what_nobody_asked(start: Any) -> None:
    session = start("hostile")
    asked = session.send("tools/call", {"name": "unasked", "arguments": {}})
    assert [session.read()["id"] for _ in range(3)] == [987_654_321, 987_654_321, asked]


def test_it_may_answer_a_very_long_line(start: Any) -> None:
    assert len(start("hostile").text("huge_line", megabytes=2)) == 2 << 20


def test_it_may_flood_stderr(start: Any) -> None:
    assert start("hostile", "--flood-stderr", "1").text("flood_stderr", megabytes=1) == "flood_stderr"


def test_it_may_exit_during_a_call(start: Any) -> None:
    session = start("hostile")
    session.send("tools/call", {"name": "exit", "arguments": {}})
    assert session.line() == b""
    assert session.process.wait(20) == 3


def test_it_may_never_answer(start: Any) -> None:
    session = start("hostile")
    assert session.text("echo", text="up") == "up"
    session.send("tools/call", {"name": "hang", "arguments": {}})
    session.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        session.process.wait(0.3)


def test_it_may_crash_hang_or_chatter_at_start(start: Any) -> None:
    assert start("hostile", "--crash-at-start").process.wait(20) == 3
    assert start("hostile", "--garbage-at-start").line() == b"Starting hostile server...\n"
    hanging = start("hostile", "--hang-at-start")
    hanging.process.stdin.close()
    with pytest.raises(subprocess.TimeoutExpired):
        hanging.process.wait(0.3)


@pytest.mark.threat("T-ORPHAN")
def test_it_leaves_a_process_behind_without_walls(start: Any) -> None:
    # as the reaper of orphans, this test can also wait for the end of what it must clean up
    libc = ctypes.CDLL(None)
    libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    session = start("hostile")
    report = attack(session, "fork_daemon", seconds=60)
    daemon = int(report["detail"]["gained"][0].split(" ")[1])
    try:
        assert session.close() == 0
        os.kill(daemon, signal.SIGTERM)
        assert os.waitpid(daemon, os.WNOHANG) == (0, 0)
    finally:
        os.kill(daemon, signal.SIGKILL)
        os.waitpid(daemon, 0)
        libc.prctl(36, 0, 0, 0, 0)


def test_memory_is_taken_without_walls(start: Any) -> None:
    assert attack(start("hostile"), "eat_memory", megabytes=4)["succeeded"]


def test_a_file_is_written_without_walls_and_taken_away(start: Any, tmp_path: Path) -> None:
    session = start("hostile")
    assert attack(session, "write_file", path=str(tmp_path / "mark"))["succeeded"]
    assert not attack(session, "write_file", path=str(tmp_path / "absent" / "mark"))["succeeded"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("echo", {}), ("echo", {"text": 1}), ("echo", {"text": "a", "more": 1}), ("phone_home", {"host": "a"})],
)
def test_its_own_schemas_are_kept(start: Any, tool: str, arguments: Any) -> None:
    answer = start("hostile").ask("tools/call", {"name": tool, "arguments": arguments})
    assert answer["error"]["code"] == -32602


def test_it_speaks_the_handshake_and_refuses_the_unknown(start: Any) -> None:
    session = start("hostile")
    asked = {"protocolVersion": "2025-06-18", "capabilities": {}}
    assert session.ask("initialize", asked)["result"]["protocolVersion"] == "2025-06-18"
    assert session.ask("ping")["result"] == {}
    assert session.ask("prompts/list")["error"]["code"] == -32601
    assert session.ask("tools/call", {"name": "absent"})["error"]["code"] == -32602
    assert session.close() == 0


def test_its_garbage_is_refused_as_a_definition() -> None:
    with pytest.raises(RemoteProtocolError):
        surface_of(Listing(tools=(b"this is not JSON {{{",)))

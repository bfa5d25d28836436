"""The benchmark's own server and clients, over real sockets: a wrong answer is never counted as a good one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # bench is no part of the package

from bench.measure import Pace, hold_sessions, load_command, measure
from bench.processes import BenchFailed, first_line, running
from bench.tools import LOAD, UPSTREAM, build_tools
from bench.way import Way
from bench.workloads import Workload

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="the tools are written in C and there is no gcc"),
    pytest.mark.skipif(not Path("/usr/include/openssl/ssl.h").exists(), reason="libssl-dev is not installed"),
]

ROOT: Final = Path(__file__).resolve().parents[2]
PACE: Final = Pace(seconds=0.05, warm_s=0, most_s=1)
PATIENT: Final = Pace(seconds=0.05, warm_s=0, most_s=30)  # on a busy machine the first answer may take longer
SMALL: Final = Workload(name="small", ways=(), clients=2, least=4)
Message = dict[str, Any]
Change = Callable[[Message], Message]


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """Compiled."""
    build_tools()


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Way]:
    """The server, and the way straight to it."""
    log = tmp_path / "log.txt"
    with running([UPSTREAM, "--tools", "60"], log) as process:
        port = int(first_line(process, log))
        yield Way(port=port, root=None, upstream_port=port)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for the name of a Unix socket, as the temporary folder of a run does."""
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        yield Path(folder)


@contextmanager
def liar(change: Change, *, status: int = 200) -> Iterator[Way]:
    """A server that answers rightly, but for one change."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = asked["params"]["arguments"]["text"]
            content = {"content": [{"type": "text", "text": text}]}
            body = json.dumps(change({"jsonrpc": "2.0", "id": asked["id"], "result": content})).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    with server, ExitStack() as stack:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield Way(port=server.server_address[1])


@pytest.mark.parametrize("era", ["modern", "legacy"])
@pytest.mark.parametrize(
    "workload",
    [
        SMALL,
        Workload(name="big", ways=(), clients=2, tool="big", kind="big"),
        Workload(name="list", ways=(), clients=2, list_of=60),
        Workload(name="open", ways=(), clients=2, rate=2000, least=4),
    ],
    ids=lambda one: one.name,
)
def test_both_eras_of_the_upstream_are_counted_as_good(upstream: Way, workload: Workload, era: str) -> None:
    one = measure(upstream, with_era(workload, era), PATIENT)
    assert one.good > 0
    assert (one.bad, one.first_bad) == (0, "")
    assert 0 < one.p50_us <= one.p90_us <= one.p99_us <= one.max_us
    assert one.requests_per_call == pytest.approx(1, abs=0.2)  # one upstream request for each of ours


@pytest.mark.parametrize("era", ["modern", "legacy"])
def test_every_progress_notification_is_counted(upstream: Way, era: str) -> None:
    steps = Workload(name="steps", ways=(), clients=2, tool="steps", kind="steps", events_per_call=10)
    one = measure(upstream, with_era(steps, era), PATIENT)
    assert (one.bad, one.events_per_call) == (0, 10)


def test_the_processor_time_of_a_watched_process_is_read(upstream: Way, tmp_path: Path) -> None:
    log = tmp_path / "second.txt"
    with running([sys.executable, "-c", "input()"], log) as bystander:
        way = Way(port=upstream.port, root=bystander.pid, upstream_port=upstream.port)
        one = measure(way, SMALL, PATIENT)
    assert one.cpu_us.keys() == {"gateway"}
    assert one.total_cpu_us < 1000 * PACE.seconds * 1e6  # a process that waits uses next to nothing


def other_id(answer: Message) -> Message:
    return {**answer, "id": answer["id"] + 1}


def quoted_id(answer: Message) -> Message:
    return {**answer, "id": str(answer["id"])}


def error(answer: Message) -> Message:
    return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -1, "message": "no"}}


def error_too(answer: Message) -> Message:
    return {**answer, "error": {"code": -1, "message": "no"}}


def tool_error(answer: Message) -> Message:
    return {**answer, "result": {**answer["result"], "isError": True}}


def other_text(answer: Message) -> Message:
    text = answer["result"]["content"][0]["text"]
    return {**answer, "result": {"content": [{"type": "text", "text": text[:-1] + "y"}]}}


def no_content(answer: Message) -> Message:
    return {**answer, "result": {}}


@pytest.mark.parametrize(
    "change", [other_id, quoted_id, error, error_too, tool_error, other_text, no_content]
)
def test_an_answer_that_is_not_the_right_one_is_not_counted(change: Change) -> None:
    with liar(change) as way:
        one = measure(way, SMALL, PACE)
    assert one.good == 0
    assert one.bad > 0
    assert one.first_bad


def test_a_right_answer_with_another_status_is_not_counted() -> None:
    with liar(lambda answer: answer, status=500) as way:
        assert measure(way, SMALL, PACE).good == 0


def test_the_same_server_without_its_lie_is_counted() -> None:
    with liar(lambda answer: answer) as way:
        one = measure(way, SMALL, PATIENT)
    assert one.good > 0
    assert one.bad == 0


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"id":"\\\\"',
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"\r\n\r\n",
        b"\x00" * 64,
    ],
)
def test_nonsense_from_a_server_ends_no_load_generator(bytes_sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door, ExitStack() as stack:
        thread = threading.Thread(target=answer_all, args=(door, bytes_sent), daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(shut, door)
        way = Way(port=door.getsockname()[1])
        one = measure(way, SMALL, PACE)
    assert one.good == 0
    assert one.first_bad


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"POST /mcp HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /mcp HTTP/1.1\r\nX: " + b"x" * 40_000,
    ],
)
def test_the_upstream_drops_a_client_beyond_its_bounds_and_serves_the_others(
    upstream: Way, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=10) as client:
        client.sendall(request_bytes)
        with suppress(ConnectionResetError):  # it closed with bytes unread, which the kernel tells so
            assert client.recv(1) == b""
    assert measure(upstream, SMALL, PATIENT).good > 0


@pytest.mark.parametrize(
    "text", ["[]", "", "{", '{"id":', '{"id":1,"method":"x"}', '{"id":{},"method":"ping"}']
)
def test_the_upstream_answers_or_ignores_any_line(text: str) -> None:
    ping = json.dumps({"jsonrpc": "2.0", "id": "é", "method": "ping"})
    lines = f"{text}\n{ping}\n"
    done = subprocess.run(
        [UPSTREAM, "--stdio"], input=lines, capture_output=True, text=True, check=True, timeout=20
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {"jsonrpc": "2.0", "id": "é", "result": {}}


def test_sessions_can_be_left_and_held(upstream: Way) -> None:
    for how in ("leave", "hold"):
        with hold_sessions(upstream, 50, how) as opened:
            assert opened == 50


def test_sessions_that_nobody_opens_are_a_failure() -> None:
    with (
        liar(error) as way,
        pytest.raises(BenchFailed, match="of 3 sessions"),
        hold_sessions(way, 3, "leave"),
    ):
        pass


def test_an_unknown_option_of_the_load_generator_is_refused() -> None:
    done = subprocess.run([LOAD, "--frobnicate", "1"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown option" in done.stderr


def test_the_words_for_the_load_generator_carry_no_empty_path() -> None:
    words = load_command(Way(port=9, headers=("A: b",)), SMALL)
    assert words[:5] == [str(LOAD), "--port", "9", "--path", "/mcp"]
    assert words[-2:] == ["--header", "A: b"]


def run_bench(folder: Path) -> subprocess.Popen[bytes]:
    words = ["--only", "open loop", "--peers", "none", "--rounds", "1", "--seconds", "0.05", "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.main", *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def left_behind(folder: Path) -> list[str]:
    """Files of a run, and processes that were told of them."""
    found = [path.name for path in folder.iterdir()]
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(folder).encode() in one.read_bytes():
                found.append(one.read_bytes().decode())
    return found


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="Sekisho needs bubblewrap for its own row")
def test_a_run_measures_sekisho_beside_a_direct_call_and_leaves_nothing_behind(short_path: Path) -> None:
    with run_bench(short_path) as process:
        output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    (one,) = json.loads(output)["workloads"]
    assert one["absent"] == {}
    (found,) = one["rounds"]
    assert found.keys() == {"direct", "sekisho", "sekisho-stdio"}
    assert found["sekisho"]["cpu_us"].keys() == {"core", "plugins", "rest"}
    assert all(sample["good"] > 0 for sample in found.values())
    assert left_behind(short_path) == []


def test_a_run_that_is_ended_takes_its_servers_with_it(short_path: Path) -> None:
    with run_bench(short_path) as process:
        deadline = time.monotonic() + 60
        while not any(short_path.glob("*/upstream-*")) and time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
                break
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert left_behind(short_path) == []


def with_era(workload: Workload, era: str) -> Workload:
    return replace(workload, era=era, least=4)


def answer_all(door: socket.socket, data: bytes) -> None:
    """The same bytes to everybody, until the door is shut."""
    while True:
        try:
            client, _ = door.accept()
        except OSError:
            return
        with client:
            try:
                client.recv(1 << 16)
                client.sendall(data)
            except OSError:
                continue


def shut(door: socket.socket) -> None:
    """Wake the thread that waits for a client, with an error."""
    door.shutdown(socket.SHUT_RDWR)

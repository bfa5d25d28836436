"""The assembled house: work through its public door, wounds it heals from, and an end that leaves nothing behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from tests.real.conftest import (
    ECHO,
    ECHO_TOOLS,
    HOSTILE,
    Estate,
    House,
    alive,
    birth_of,
    common,
    configuration,
    kill,
    message,
    plugin,
    quoted,
    until,
)

from sekisho.assembly.identities import audit_key
from sekisho.audit import Report, verify
from sekisho.keys import KeyFolder

pytestmark = [pytest.mark.real]

ANSWER_S: Final = 20.0
_CONNECT: Final = (
    "import sys; from pathlib import Path; from sekisho.assembly.connect import run_connect; "
    "sys.exit(run_connect(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))"
)


def verified(house: House, log: Path | None = None) -> Report:
    """The log as an auditor finds it."""
    key = audit_key(KeyFolder(house.home / "keys", "sekisho.local")).public_key()
    return verify(log or house.log, key)


def ends(house: House, tool: str) -> int:
    """How many calls of a tool the log says were answered."""
    return sum(
        one["kind"] == "outcome" and one["tool"] == tool and one["code"] == "ok" for one in house.records()
    )


def events(house: House, name: str) -> int:
    """How many events of this name are on record."""
    return sum(one["kind"] == "event" and one["name"] == name for one in house.records())


@pytest.mark.requirement("A1.2", "B7")
async def test_the_official_client_works_over_https(house: House) -> None:
    headers = {"Authorization": f"Bearer {house.token}"}
    async with (
        httpx2.AsyncClient(verify=house.context, headers=headers, timeout=ANSWER_S) as http,
        Client(streamable_http_client(house.url, http_client=http)) as client,
    ):
        tools = {tool.name for tool in (await client.list_tools()).tools}
        result: Any = await client.call_tool("echo__add", {"a": 2, "b": 40})
    assert {"echo__echo", "echo__add", "echo__slow"} <= tools
    assert result.structured_content == {"sum": 42}


@pytest.mark.requirement("A1.2", "B7")
def test_one_plugin_can_be_served_alone_with_bare_names(house: House) -> None:
    url = house.url.removesuffix("/mcp") + "/p/echo/mcp"
    headers = {"Authorization": f"Bearer {house.token}", "Content-Type": "application/json"}
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    with httpx2.Client(verify=house.context, headers=headers, timeout=ANSWER_S) as http:
        opened = http.post(url, content=message("initialize", hello))
        http.headers["Mcp-Session-Id"] = opened.headers["mcp-session-id"]
        listed = http.post(url, content=message("tools/list", {})).json()["result"]["tools"]
        call = {"name": "echo", "arguments": {"text": "a"}}
        answer = http.post(url, content=message("tools/call", call)).json()
    assert {tool["name"] for tool in listed} == {"echo", "add", "slow"}
    assert answer["result"]["content"][0]["text"] == "a"


@pytest.mark.requirement("A2.1")
def test_the_status_pages_tell_how_the_house_is(house: House) -> None:
    until(lambda: house.status("/readyz").status_code == 200, "ready")
    assert house.status("/healthz").status_code == 200
    assert 'sekisho_plugin_up{plugin="echo"} 1.0' in house.status("/metrics").text


class Pipe:
    """`connect`, as a client that starts a command uses it."""

    def __init__(self, house: House) -> None:
        words = [house.url, house.ready["token_file"], house.ready["ca_file"]]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _CONNECT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._unread = b""

    def ask(self, line: bytes) -> dict[str, Any]:
        """Write one line and read one."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()
        return dict(json.loads(self._line()))

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                assert selector.select(ANSWER_S), f"no line within {ANSWER_S:g} s"
                data = os.read(self.process.stdout.fileno(), 1 << 16)
                assert data, "connect ended"
                self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def close(self) -> int:
        """End standard input; connect ends by itself."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait(60)
            self.process.stdout.close()


@pytest.fixture
def pipe(house: House) -> Iterator[Pipe]:
    """A running `connect`."""
    made = Pipe(house)
    yield made
    assert made.close() == 0


@pytest.mark.requirement("B7")
def test_connect_relays_standard_input_and_output(pipe: Pipe) -> None:
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    assert pipe.ask(message("initialize", hello, 1))["result"]["protocolVersion"] == "2025-11-25"
    listed = pipe.ask(
        b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n' + message("tools/list", {}, 2)
    )
    assert "echo__echo" in {tool["name"] for tool in listed["result"]["tools"]}
    answer = pipe.ask(message("tools/call", {"name": "echo__echo", "arguments": {"text": "a"}}, 3))
    assert (answer["id"], answer["result"]["content"][0]["text"]) == (3, "a")
    refused = pipe.ask(message("tools/call", {"name": "echo__nothing", "arguments": {}}, 4))
    assert refused["error"]["data"]["code"] == "tool_unknown"
    assert pipe.ask(b"{")["error"]["data"]["code"] == "json_malformed"
    assert pipe.ask(message("ping", {}, 5))["result"] == {}


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-LOG")
def test_a_killed_core_comes_back_and_lost_no_acknowledged_call(house: House) -> None:
    house.unaffected()
    core, before = house.pid("core"), ends(house, "add")
    acknowledged = 0
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(house.answers, "echo__slow", seconds=20)
        for number in range(50):
            with httpx2.Client(verify=house.context, timeout=ANSWER_S) as http:
                acknowledged += _added(house, http, number)
            if number == 40:
                kill(core)
        assert slow.result(ANSWER_S) is False  # a call under way is not acknowledged
    until(lambda: house.answers("echo__echo", text="a"), "the core comes back")
    assert house.pid("core") != core
    assert acknowledged >= 40
    assert ends(house, "add") - before >= acknowledged
    until(lambda: verified(house).ok, "the log verifies")


def _added(house: House, http: httpx2.Client, number: int) -> bool:
    headers = {"Authorization": f"Bearer {house.token}", "Content-Type": "application/json"}
    try:
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        call = {"name": "echo__add", "arguments": {"a": number, "b": 1}, "_meta": meta}
        modern = {
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": "echo__add",
        }
        answer = http.post(house.url, content=message("tools/call", call), headers=headers | modern)
    except httpx2.TransportError:
        return False
    return answer.status_code == 200 and "result" in answer.json()


@pytest.mark.requirement("A1.1", "A4.1")
@pytest.mark.threat("T-ORPHAN")
def test_a_killed_plugin_server_leaves_no_sandbox_and_comes_back(house: House) -> None:
    until(lambda: house.answers("granted__echo", text="a"), "the plugin serves")
    server = house.pid("plugin granted")
    family = {pid: birth_of(pid) for pid in house.tree(server)}
    assert len(family) >= 2  # launcher, bwrap, plugin
    kill(server)
    until(lambda: not alive(family), "its processes are gone")
    house.unaffected()
    until(lambda: house.answers("granted__echo", text="b"), "the plugin comes back")
    assert house.pid("plugin granted") != server


@pytest.mark.requirement("A1.1")
def test_a_killed_egress_process_comes_back(house: House) -> None:
    egress = house.pid("egress")
    kill(egress)
    until(lambda: house.pid("egress") not in (0, egress), "egress comes back")
    house.unaffected()


@pytest.mark.requirement("A5.3")
@pytest.mark.threat("T-OPERATION")
def test_a_reload_takes_a_grant_away_and_drops_no_call_in_flight(house: House, estate: Estate) -> None:
    until(lambda: house.answers("granted__echo", text="a"), "the plugin serves")
    reloads = events(house, "reloaded")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(house.call, "echo__slow", seconds=3)
        until(lambda: "sekisho_in_flight 1.0" in house.status("/metrics").text, "the slow call is under way")
        house.configure(configuration(estate, granted=["read_peer_data"]))
        house.hang_up()
        until(lambda: events(house, "reloaded") > reloads, "the reload")
        # its grants are not those that were approved, so that a person has to look at all of it again
        assert house.call("granted__echo", text="a").code == "definition_changed"
        assert not slow.done()
        assert slow.result(ANSWER_S).text == "waited 3 s"
    house.configure(configuration(estate))
    house.hang_up()
    until(lambda: house.answers("granted__echo", text="a"), "it is granted and approved again")


@pytest.mark.requirement("A5.3")
def test_a_reload_that_changes_a_plugin_lets_its_calls_in_flight_end(house: House, estate: Estate) -> None:
    house.unaffected()
    server = house.pid("plugin echo")
    usual = configuration(estate)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(house.call, "echo__slow", seconds=3)
        until(lambda: "sekisho_in_flight 1.0" in house.status("/metrics").text, "the slow call is under way")
        house.configure(usual.replace('name = "echo"\n', 'name = "echo"\nenvironment = ["DECLARED"]\n', 1))
        house.hang_up()
        assert slow.result(ANSWER_S).text == "waited 3 s"
    until(lambda: house.pid("plugin echo") != server, "its plugin server is started anew")
    house.configure(usual)
    house.hang_up()
    until(lambda: house.answers("echo__echo", text="a"), "it serves")


@pytest.mark.requirement("A2.1", "A5.3")
@pytest.mark.threat("T-FLOOD")
def test_a_reload_changes_the_rate_of_a_plugin_and_drops_no_call_in_flight(
    house: House, estate: Estate
) -> None:
    house.unaffected()
    server = house.pid("plugin echo")
    usual = configuration(estate)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(house.call, "echo__slow", seconds=3)
        until(lambda: "sekisho_in_flight 1.0" in house.status("/metrics").text, "the slow call is under way")
        house.configure(usual.replace("max_requests_per_minute = 100000", "max_requests_per_minute = 1", 1))
        house.hang_up()
        until(lambda: house.call("echo__echo", text="a").code == "rate_limited", "the new rate")
        assert house.call("echo__echo", text="a").status == 429
        assert slow.result(ANSWER_S).text == "waited 3 s"
    house.configure(usual)
    house.hang_up()
    until(lambda: house.answers("echo__echo", text="a"), "the old rate")
    assert house.pid("plugin echo") == server


WRONG: Final = {
    "not TOML": "[core_server",
    "an unknown key": '[audit]\nlog_fiel = "x"\n',
    "a wrong type": "[security]\nmax_request_size_mb = true\n",
}


@pytest.mark.requirement("A5.3")
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_configuration_changes_nothing(house: House, estate: Estate, name: str) -> None:
    house.unaffected()
    family = {pid: birth_of(pid) for pid in (house.pid("core"), house.pid("plugin echo"))}
    told, reloads = house.stderr.read_text().count("reload_refused"), events(house, "reloaded")
    house.configure(WRONG[name])
    try:
        house.hang_up()
        until(lambda: house.stderr.read_text().count("reload_refused") > told, "the refusal is told")
        os.kill(house.pid("core"), signal.SIGHUP)  # the core judges for itself
        until(lambda: house.stderr.read_text().count("reload_refused") > told + 1, "by the core too")
        refusals = [line for line in house.stderr.read_text().splitlines() if "reload_refused" in line]
        assert all(json.loads(line)["remedy"] for line in refusals)
        assert alive(family) == set(family)
        assert events(house, "reloaded") == reloads
        house.unaffected()
        assert house.call("echo__add", a=1, b=1).code == "ok"
    finally:
        house.configure(configuration(estate))


FAR: Final = '[[plugins.servers]]\nname = "far"\nurl = "https://127.0.0.1:9/"\nallowed_operations = ["x"]\n'


def test_a_plugin_server_whose_keys_are_not_here_changes_nothing_and_ends_no_core(
    build: Callable[[str], House],
) -> None:
    echo, two = plugin("echo", ECHO, operations=["echo"]), plugin("two", ECHO, operations=["echo"])
    house = build(common() + echo + two)
    house.unaffected()
    core = house.pid("core")
    house.configure(common() + echo + FAR)  # and two is gone: its line is drained, then new ones are opened
    house.hang_up()
    until(lambda: "reload_refused" in house.stderr.read_text(), "the refusal is told")
    assert house.call("two__echo", text="a").code == "ok"
    house.configure(common() + echo)
    house.hang_up()
    until(lambda: house.call("two__echo", text="a").code == "plugin_unknown", "the right file counts")
    house.unaffected()
    assert house.pid("core") == core


def test_a_file_whose_keys_could_not_be_made_counts_wholly_at_the_next_reload(
    build: Callable[[str], House],
) -> None:
    echo, two = plugin("echo", ECHO, operations=["echo"]), plugin("two", ECHO, operations=["echo"])
    house = build(common() + echo)
    house.unaffected()
    [made] = (house.home / "keys").glob("identities/plugin-echo/tls.key")
    in_the_way = made.parent.with_name("plugin-two")
    in_the_way.touch()  # a file where the folder of its keys belongs
    house.configure(common() + echo + two)
    house.hang_up()
    until(lambda: "reload_refused" in house.stderr.read_text(), "the refusal is told")
    house.unaffected()
    in_the_way.unlink()
    house.hang_up()
    until(lambda: house.call("two__echo", text="a").code == "ok", "the new plugin serves")


def test_many_reloads_at_once_end_with_the_last_file_and_a_whole_log(build: Callable[[str], House]) -> None:
    echo, two = plugin("echo", ECHO, operations=["echo"]), plugin("two", ECHO, operations=["echo"])
    house = build(common() + echo + two)
    house.unaffected()
    core = house.pid("core")
    for turn in range(40):
        house.configure(common() + echo + (two if turn % 2 else ""))
        house.hang_up()
        house.unaffected()  # whoever is in every file never misses a call
    until(lambda: house.call("two__echo", text="a").code == "ok", "the last file counts")
    assert house.pid("core") == core
    house.stop()
    report = verified(house)
    assert report.ok, report.problems


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-GARBAGE", "T-HANG")
def test_plugins_that_never_start_leave_the_other_serving(build: Callable[[str], House]) -> None:
    wrecks = {"crasher": "--crash-at-start", "mute": "--hang-at-start", "noisy": "--garbage-at-start"}
    house = build(
        common(discovery_s=1.5)
        + plugin("echo", ECHO, operations=["echo"])
        + "".join(plugin(name, HOSTILE, flag, operations=["echo"]) for name, flag in wrecks.items())
    )
    house.unaffected()
    for name in ("crasher", "mute"):
        answer = house.call(f"{name}__echo", text="a")
        assert answer.code in ("plugin_unavailable", "plugin_quarantined")
        assert house.recorded(answer.call_id) == [f"refusal {answer.code}"]
        house.unaffected()
    until(lambda: house.answers("noisy__echo", text="a"), "a line of noise is passed over")


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-ORPHAN")
def test_a_killed_up_leaves_no_process_behind(build: Callable[[str], House]) -> None:
    house = build(
        common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin("hostile", HOSTILE, operations=["fork_daemon"])
    )
    house.unaffected()
    assert house.call("hostile__fork_daemon", seconds=600).code == "ok"
    family = {pid: birth_of(pid) for pid in house.tree()}
    assert len(family) >= 8  # core, egress, two plugin servers with launcher, bwrap and plugin
    kill(house.process.pid)
    until(lambda: not alive(family), "everybody is gone")


@pytest.mark.requirement("A5.3")
@pytest.mark.threat("T-ORPHAN")
def test_the_house_stops_within_its_time_with_a_call_under_way(build: Callable[[str], House]) -> None:
    house = build(
        common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin("hostile", HOSTILE, operations=["hang"])
    )
    house.unaffected()
    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(house.answers, "hostile__hang")
        until(lambda: "sekisho_in_flight 1.0" in house.status("/metrics").text, "the call is under way")
        house.stop()
        assert hung.result(ANSWER_S) is False
    assert verified(house).ok


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root; tests/unit/audit does it with RLIMIT_FSIZE")
    mount = tmp_path / "disk"
    mount.mkdir()
    words = ["/bin/mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(mount)]
    mounted = subprocess.run(words, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not let us mount a tmpfs: {mounted.stderr.decode().strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["/bin/umount", str(mount)], check=True)


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-FULLDISK")
def test_a_full_disk_refuses_calls_and_loses_nothing(tiny_disk: Path, build: Callable[[str], House]) -> None:
    log = tiny_disk / "log.jsonl"
    house = build(
        f"[audit]\nlog_file = {quoted(log)}\n" + common() + plugin("echo", ECHO, operations=ECHO_TOOLS)
    )
    house.log = log
    ballast = tiny_disk / "ballast"
    acknowledged = int(house.call("echo__echo", text="a").code == "ok")
    _fill(ballast)
    for _ in range(200):  # the last block of the log still has room
        answer = house.call("echo__echo", text="a")
        if answer.code != "ok":
            break
        acknowledged += 1
    assert (answer.code, answer.status) == ("log_unavailable", 503)
    assert house.status("/readyz").status_code == 503
    assert log.read_bytes().endswith(b"\n")
    assert ends(house, "echo") == acknowledged
    ballast.unlink()
    until(lambda: house.answers("echo__echo", text="b"), "it works again with room")
    assert ends(house, "echo") == acknowledged + 1
    house.stop()
    report = verified(house, log)
    assert report.ok, report.problems
    assert report.records == len(house.records())


def _fill(path: Path) -> None:
    """Write until the disk is full, the last bytes one page at a time."""
    for size in (1 << 16, 1 << 12, 1):
        with path.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue

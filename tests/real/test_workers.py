"""Several core workers behind one port: what one of them is told holds at all of them, and none of them is missed.

Which worker serves a connection is read from the kernel (/proc), so that every test can talk to each of them.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol

import httpx2
import pytest
from cryptography import x509
from tests.real.conftest import (
    ECHO,
    ECHO_TOOLS,
    House,
    alive,
    birth_of,
    command_of,
    kill,
    message,
    plugin,
    until,
)

from sekisho.assembly.identities import audit_key
from sekisho.audit import Report, verify
from sekisho.keys import KeyFolder

pytestmark = pytest.mark.real

WORKERS: Final = 2
ANSWER_S: Final = 30.0
MOST: Final = 12  # connections, where they are few
MAX_TRIES: Final = 200  # the kernel chooses a worker for each connection by a hash
LEGACY: Final = "2025-11-25"
_RUN_CORE: Final = (
    "import sys; from pathlib import Path; from sekisho.assembly.core import run_core; "
    "sys.exit(run_core(Path(sys.argv[1]), Path(sys.argv[2]), worker={}))"
)


def settings(
    *, rate: int = 1_000_000, in_flight: int = 1024, plugin_rate: int = 1_000_000, limits: str = ""
) -> str:
    """A house with one plugin."""
    return (
        f"[security]\nrate_limit_per_minute = {rate}\nmax_in_flight = {in_flight}\n[limits]\n{limits}\n"
        "[plugins]\ndiscovery_timeout_seconds = 20\nhealth_check_interval_seconds = 1\n"
    ) + plugin("echo", ECHO, operations=ECHO_TOOLS).replace("= 100000", f"= {plugin_rate}")


def _port_of(house: House) -> int:
    return int(house.url.rsplit(":", 1)[1].partition("/")[0])


class Visit:
    """One connection to one worker."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._http = http.client.HTTPSConnection(
            "127.0.0.1", _port_of(house), timeout=ANSWER_S, context=house.context
        )
        self._http.connect()
        self.session: str | None = None
        self._idents = itertools.count(1)

    def close(self) -> None:
        self._http.close()

    @property
    def local_port(self) -> int:
        sock = self._http.sock
        assert isinstance(sock, socket.socket)
        return int(sock.getsockname()[1])

    def send(self, method: str, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """One HTTP request."""
        given = {"Authorization": f"Bearer {self._house.token}", "Content-Type": "application/json"}
        self._http.request(method, "/mcp", body=body, headers=given | headers)
        answer = self._http.getresponse()
        self.session = answer.headers.get("Mcp-Session-Id") or self.session
        content = answer.read()
        return answer.status, json.loads(content) if content else {}

    def legacy(self, method: str, params: dict[str, Any], *, session: str | None = None) -> str:
        """The code of a request, or "ok", in a legacy session."""
        headers = {"MCP-Protocol-Version": LEGACY}
        if session is not None:
            headers["Mcp-Session-Id"] = session
        return code_of(self.send("POST", message(method, params, next(self._idents)), headers)[1])

    def open_session(self) -> str:
        hello = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        assert self.legacy("initialize", hello) == "ok"
        assert self.session is not None
        return self.session

    def call(self, tool: str, /, **arguments: Any) -> str:
        """The code of a stateless call, or "ok"."""
        name = f"echo__{tool}"
        meta = {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
        params = {"name": name, "arguments": arguments, "_meta": meta}
        headers = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": name}
        return code_of(self.send("POST", message("tools/call", params, next(self._idents)), headers)[1])

    def begin(self, size: int) -> None:
        """So many bytes of a larger body."""
        self._http.putrequest("POST", "/mcp")
        given = {"Authorization": f"Bearer {self._house.token}", "Content-Type": "application/json"}
        for name, value in (given | {"Content-Length": str(size + 1)}).items():
            self._http.putheader(name, value)
        self._http.endheaders()
        self._http.send(b" " * size)

    def end(self) -> None:
        """Its last byte."""
        self._http.send(b"x")

    def answer_code(self) -> str:
        """How it was answered."""
        with self._http.getresponse() as answer:
            return code_of(json.loads(answer.read()))

    def lives(self) -> bool:
        """Whether a call is answered; a lost connection is an answer too."""
        try:
            return self.call("echo", text="a") == "ok"
        except (OSError, http.client.HTTPException):
            return False


def says(visit: Visit, code: str) -> Callable[[], bool]:
    """Whether a call there ends with this code now."""
    return lambda: visit.call("echo", text="a") == code


def code_of(body: dict[str, Any]) -> str:
    """How an answer ended."""
    return str(body["error"]["data"]["code"]) if "error" in body else "ok"


def workers(house: House) -> dict[int, int]:
    """The processes of all living workers, by number."""
    found = {}
    for pid in house.tree():
        words = command_of(pid)
        if "sekisho.assembly" in words and "core" in words:
            found[int(words[words.index("--worker") + 1]) if "--worker" in words else 0] = pid
    return found


class Connected(Protocol):
    """A connection of ours."""

    @property
    def local_port(self) -> int: ...


def server_of(house: House, visit: Connected) -> int:
    """The number of the worker that serves this connection."""
    looks = (_server_of(house, visit) for _ in range(MAX_TRIES))
    return next(number for number in looks if number is not None)


def _server_of(house: House, visit: Connected) -> int | None:
    """As seen now: the kernel's table is read in parts, and a line is passed over while others come and go.

    Both ends are compared: a client's port may be in use towards another house at the same time.
    """
    both = [f"0100007F:{_port_of(house):04X}", f"0100007F:{visit.local_port:04X}"]
    inode = ""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[1:3] == both:
            inode = words[9]
    for number, pid in workers(house).items():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            if _target(descriptor) == f"socket:[{inode}]":
                return number
    return None


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""


@pytest.fixture
def visits() -> Iterator[list[Visit]]:
    made: list[Visit] = []
    yield made
    for visit in made:
        visit.close()


@pytest.fixture
def start(walls: None, tmp_path: Path) -> Iterator[Callable[[str], House]]:
    """Builds a house with several workers."""
    built: list[House] = []

    def build(text: str) -> House:
        built.append(House(tmp_path, text, core=f"workers = {WORKERS}\n"))
        return built[-1]

    yield build
    for one in built:
        one.stop()


@pytest.fixture
def house(start: Callable[[str], House]) -> House:
    return start(settings())


@pytest.fixture
def meet(visits: list[Visit]) -> Callable[[House], list[Visit]]:
    """One connection to each worker, in their order."""

    def connect(house: House) -> list[Visit]:
        found: dict[int, Visit] = {}
        for _ in range(MAX_TRIES):
            visit = Visit(house)
            visits.append(visit)
            assert visit.call("echo", text="hello") in ("ok", "rate_limited", "busy")
            found.setdefault(server_of(house, visit), visit)
            if set(found) >= set(range(WORKERS)):
                return [found[number] for number in range(WORKERS)]
        raise AssertionError(f"only workers {sorted(found)} were met")

    return connect


Meet = Callable[[House], list[Visit]]


def verified(house: House) -> Report:
    """What an auditor finds."""
    return verify(house.log, audit_key(KeyFolder(house.home / "keys", "sekisho.local")).public_key())


def is_whole(house: House) -> bool:
    """What the leader says of all of them; its page is away while it is started again."""
    try:
        return house.status("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


def ends(house: House, tool: str) -> int:
    """How many calls of this tool have an outcome on record."""
    return sum(one["kind"] == "outcome" and one.get("tool") == tool for one in house.records())


@pytest.mark.requirement("A2.3")
def test_calls_spread_over_the_workers_and_stand_in_one_log(house: House, meet: Meet) -> None:
    everybody = meet(house)
    before = ends(house, "add")
    with ThreadPoolExecutor(WORKERS) as pool:
        codes = [code for visit in everybody for code in pool.submit(add_many, visit, 200).result(ANSWER_S)]
    assert Counter(codes) == {"ok": 200 * WORKERS}
    until(lambda: ends(house, "add") == before + 200 * WORKERS, "every call is on record")
    until(lambda: house.counted("ok") >= 200 * WORKERS, "the page of metrics speaks for all workers")
    house.stop()
    report = verified(house)
    assert report.ok, report.problems
    numbers = [one["n"] for one in house.records()]
    assert numbers == list(range(len(numbers)))


def add_many(visit: Visit, count: int) -> list[str]:
    return [visit.call("add", a=number, b=1) for number in range(count)]


@pytest.mark.requirement("A2.1")
@pytest.mark.threat("T-FLOOD")
def test_the_rate_of_a_client_is_counted_at_all_workers_together(
    start: Callable[[str], House], meet: Meet
) -> None:
    rate = 60
    house = start(settings(rate=rate))
    begun = time.monotonic()
    everybody = meet(house)
    with ThreadPoolExecutor(WORKERS) as pool:
        counted = [pool.submit(add_many, visit, 100) for visit in everybody]
        codes = Counter(code for one in counted for code in one.result(ANSWER_S))
    passed = time.monotonic() - begun
    assert set(codes) == {"ok", "rate_limited"}
    answered = sum(1 for one in house.records() if one["kind"] == "outcome")
    assert rate <= answered <= rate + rate * passed / 60 + 1


@pytest.mark.threat("T-FLOOD")
def test_calls_under_way_are_counted_at_all_workers_and_those_of_a_killed_one_are_freed(
    start: Callable[[str], House], meet: Meet
) -> None:
    house = start(settings(in_flight=1))
    one, other = meet(house)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(_answer, one, 20)
        until(lambda: _intents(house, "slow") == 1, "the slow call is under way")
        assert other.call("echo", text="a") == "busy"
        kill(workers(house)[0])
        assert slow.result(ANSWER_S) == "lost"
    until(lambda: other.call("echo", text="a") == "ok", "its place is free")


def _answer(visit: Visit, seconds: float) -> str:
    try:
        return visit.call("slow", seconds=seconds)
    except (OSError, http.client.HTTPException):
        return "lost"


@pytest.mark.threat("T-FLOOD")
def test_connections_of_a_client_are_counted_at_all_workers_and_those_of_a_killed_one_are_freed(
    start: Callable[[str], House], meet: Meet, visits: list[Visit]
) -> None:
    house = start(settings(limits=f"max_connections_per_client = {MOST}"))
    meet(house)
    while len(visits) < MOST:
        visits.append(Visit(house))
        assert visits[-1].call("echo", text="a") == "ok"
    assert _refused(house, visits) == "busy"
    victim = server_of(house, visits[0])
    lost = sum(server_of(house, one) == victim for one in visits[:MOST])
    killed = workers(house)[victim]
    kill(killed)
    until(lambda: workers(house).get(victim, killed) != killed, "another has its place")
    until(lambda: is_whole(house), "the house is whole")
    for _ in range(lost):
        visits.append(Visit(house))
        assert visits[-1].call("echo", text="a") == "ok"
    assert _refused(house, visits) == "busy"


def _refused(house: House, visits: list[Visit]) -> str:
    visits.append(Visit(house))
    return visits[-1].call("echo", text="a")


@pytest.mark.threat("T-FLOOD")
def test_connections_are_counted_at_all_workers_and_strangers_at_any_of_them_make_room(
    start: Callable[[str], House], meet: Meet
) -> None:
    house = start(settings(limits=f"max_connections = {MOST}"))
    with contextlib.ExitStack() as stack:
        strangers = [stack.enter_context(contextlib.closing(Visit(house))) for _ in range(3 * MOST)]
        until(lambda: _open_connections(house) == MOST, "so many are left")
        one, other = meet(house)
        assert (one.call("echo", text="a"), other.call("echo", text="a")) == ("ok", "ok")
        until(lambda: _open_connections(house) == MOST, "for those who came, as many have gone")
        del strangers


def _open_connections(house: House) -> int:
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    ours, established = f"0100007F:{_port_of(house):04X}", "01"
    return sum(words[1] == ours and words[3] == established and words[9] != "0" for words in lines)


@pytest.mark.threat("T-FLOOD")
def test_bytes_are_counted_at_all_workers_and_whoever_holds_most_is_refused_wherever_it_is(
    start: Callable[[str], House], meet: Meet
) -> None:
    house = start(settings(limits="max_held_bytes = 400_000"))
    greedy, modest = meet(house)
    greedy.begin(300_000)
    modest.begin(150_000)
    assert greedy.answer_code() == "busy"
    modest.end()
    assert modest.answer_code() == "json_malformed"  # it was read to its end


def test_an_id_of_a_session_is_under_way_once_at_all_workers(house: House, meet: Meet) -> None:
    one, other = meet(house)
    session, second = one.open_session(), one.open_session()
    slow = message("tools/call", {"name": "echo__slow", "arguments": {"seconds": 25}}, 77)
    again = message("tools/call", {"name": "echo__echo", "arguments": {"text": "a"}}, 77)
    headers = [{"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": ident} for ident in (session, second)]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.send, "POST", slow, headers[0])
        until(lambda: _intents(house, "slow") == 1, "the call is under way")
        assert code_of(other.send("POST", again, headers[0])[1]) == "message_invalid"
        assert code_of(other.send("POST", again, headers[1])[1]) == "ok"
        kill(workers(house)[0])
        assert waiting.exception(ANSWER_S) is not None
    # the kernel lets go of a dead worker's connections before it lets go of its place
    until(lambda: code_of(other.send("POST", again, headers[0])[1]) == "ok", "its ids are free")


@pytest.mark.threat("T-NOTOKEN")
def test_a_session_ended_at_one_worker_is_ended_at_all(house: House, meet: Meet) -> None:
    one, other = meet(house)
    session, kept = one.open_session(), one.open_session()
    assert other.legacy("ping", {}, session=session) == "ok"
    status, _ = other.send("DELETE", b"", {"Mcp-Session-Id": session, "MCP-Protocol-Version": LEGACY})
    assert status == 204
    for visit in (one, other):
        assert visit.legacy("ping", {}, session=session) == "session_unknown"
        assert visit.legacy("ping", {}, session=kept) == "ok"


def test_a_call_is_cancelled_through_another_worker(house: House, meet: Meet) -> None:
    one, other = meet(house)
    session = one.open_session()
    headers = {"MCP-Protocol-Version": LEGACY, "Mcp-Session-Id": session}
    slow = message("tools/call", {"name": "echo__slow", "arguments": {"seconds": 25}}, 77)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(one.send, "POST", slow, headers)
        until(lambda: _intents(house, "slow") == 1, "the call is under way")
        for target in (78, 77):  # a wrong id ends nothing
            assert not waiting.done()
            notice = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": target}}
            assert other.send("POST", json.dumps(notice).encode(), headers)[0] == 202
        assert code_of(waiting.result(ANSWER_S)[1]) == "cancelled"


def _intents(house: House, tool: str) -> int:
    return sum(one["kind"] == "intent" and one.get("tool") == tool for one in house.records())


@pytest.mark.requirement("A2.3")
@pytest.mark.threat("T-LOG")
@pytest.mark.parametrize("victim", range(WORKERS))
def test_a_worker_killed_under_load_loses_no_acknowledged_call_and_stops_no_other(
    house: House, meet: Meet, victim: int
) -> None:
    everybody = meet(house)
    before = workers(house)
    with ThreadPoolExecutor(WORKERS) as pool:
        running = [pool.submit(_acknowledged, visit, 400) for visit in everybody]
        until(lambda: ends(house, "add") > 40, "both are at work")
        kill(before[victim])
        counts = [one.result(60) for one in running]
    assert counts[1 - victim] == 400
    until(lambda: set(workers(house)) == set(before), "it is started again")
    assert workers(house)[1 - victim] == before[1 - victim]
    until(lambda: is_whole(house), "the house is whole")
    assert [visit.call("echo", text="a") for visit in meet(house)] == ["ok"] * WORKERS
    assert ends(house, "add") >= sum(counts)
    house.stop()
    report = verified(house)
    assert report.ok, report.problems


def _acknowledged(visit: Visit, count: int) -> int:
    found = 0
    try:
        for number in range(count):
            found += visit.call("add", a=number, b=1) == "ok"
    except (OSError, http.client.HTTPException):
        return found
    return found


@pytest.mark.threat("T-MITM")
def test_a_revoked_plugin_certificate_is_cut_at_all_workers(house: House, meet: Meet) -> None:
    everybody = meet(house)
    certificate = house.home / "keys" / "identities" / "plugin-echo" / "tls.crt"
    serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
    KeyFolder(house.home / "keys").revoke(serial)
    for visit in everybody:
        until(says(visit, "plugin_unavailable"), "it is cut")


@pytest.mark.threat("T-RUGPULL")
def test_a_lock_that_was_tampered_with_stops_the_plugin_at_all_workers_and_a_good_one_starts_it(
    house: House, meet: Meet
) -> None:
    everybody = meet(house)
    lock = house.config.parent / "sekisho.lock"
    approved = lock.read_bytes()
    for content, code in ((approved.replace(b'"sha256:', b'"sha256:0', 1), "lock_invalid"), (approved, "ok")):
        draft = lock.with_name("lock.new")
        draft.write_bytes(content)
        draft.replace(lock)
        for visit in everybody:
            until(says(visit, code), f"it says {code}")


@pytest.mark.requirement("A5.3")
def test_a_reload_reaches_all_workers_and_lets_calls_under_way_at_any_of_them_end(
    house: House, meet: Meet
) -> None:
    everybody = meet(house)
    server = house.pid("plugin echo")
    usual = settings()
    with ThreadPoolExecutor(WORKERS) as pool:
        slow = [pool.submit(visit.call, "slow", seconds=3) for visit in everybody]
        until(lambda: _intents(house, "slow") == WORKERS, "a slow call is under way at each")
        house.configure(usual.replace('name = "echo"\n', 'name = "echo"\nenvironment = ["DECLARED"]\n', 1))
        house.hang_up()
        assert [one.result(ANSWER_S) for one in slow] == ["ok"] * WORKERS
    until(lambda: house.pid("plugin echo") not in (0, server), "its plugin server is started anew")
    house.configure(usual)
    house.hang_up()
    for visit in everybody:
        until(says(visit, "ok"), "it serves as before")
    house.configure(settings(plugin_rate=1))
    house.hang_up()
    for visit in everybody:
        until(says(visit, "rate_limited"), "the new rate")


@pytest.mark.threat("T-ORPHAN")
def test_all_workers_stop_with_the_house(house: House, meet: Meet) -> None:
    meet(house)
    family = {pid: birth_of(pid) for pid in workers(house).values()}
    assert len(family) == WORKERS
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(60) == 0
    assert not alive(family)


def test_another_gateway_does_not_get_a_part_of_our_calls(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("second")
    (folder / "sekisho.toml").write_text(house.config.read_text())
    arguments = [str(folder / "sekisho.toml"), str(folder / "home")]
    for worker in ("0", "None"):  # the leader of several workers, and a core on its own
        second = subprocess.run(
            [sys.executable, "-I", "-c", _RUN_CORE.format(worker), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert second.returncode, second.stderr
        assert "Misconfigured: cannot listen" in second.stderr
        assert ("one_worker" in second.stderr) == (worker == "None")

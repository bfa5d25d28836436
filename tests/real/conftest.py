"""A real house for real tests: `up` in a process of its own, with its core, plugin servers, egress and sandboxes.

Every wait is bounded. Nothing of ours is replaced: the tests see what a client, an operator or an intruder sees.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from tests.ports import free_port

from sekisho import testing
from sekisho.assembly.places import Places
from sekisho.keys.files import write_private

READY_S: Final = 90.0  # on a machine that does much else
CHANGE_S: Final = 60.0
STOP_S: Final = 60.0  # `up` kills after three seconds; a busy machine is slow to bury
TESTING: Final = Path(testing.__file__).parent
ECHO: Final = TESTING / "echo.py"
HOSTILE: Final = TESTING / "hostile.py"
_RUN_UP: Final = (
    "import os, sys\nfrom pathlib import Path\nfrom sekisho.assembly.cradle import Cradle\n"
    "with Cradle(os.environ) as cradle:\n"
    "    from sekisho.assembly.up import run_up\n"
    "    sys.exit(run_up(Path(sys.argv[1]), Path(sys.argv[2]), cradle, trust_on_first_use=True))"
)
_COMPILED: Final[list[bytes]] = []
_METRIC: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def until(condition: Callable[[], bool], what: str, limit_s: float = CHANGE_S) -> None:
    """Ask again until it is so; the test ends when it is not within the limit."""
    pause = threading.Event()
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s:g} s: {what}"
        pause.wait(0.05)


def in_time_once(took_s: Callable[[], float], limit_s: float, tries: int = 5) -> None:
    """What is promised within a time is done in it at least once of a few: a busy machine may be late by itself."""
    seen: list[float] = []
    while not seen or min(seen) > limit_s:
        assert len(seen) < tries, f"not within {limit_s:g} s: {seen}"
        seen.append(took_s())
    assert min(seen) >= 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    status: int
    body: dict[str, Any]

    @property
    def code(self) -> str:
        """The stable code of a refusal, or "ok"."""
        error = self.body.get("error")
        return "ok" if error is None else str(error["data"]["code"])

    @property
    def call_id(self) -> str:
        """The id under which a refusal stands in the log."""
        return str(self.body["error"]["data"]["call"])

    @property
    def text(self) -> str:
        """The text of a tool result."""
        return "\n".join(part["text"] for part in self.body["result"]["content"])

    @property
    def report(self) -> dict[str, Any]:
        """What an attack said of itself."""
        return dict(json.loads(self.text))


class House:
    """One running `up`, seen from outside."""

    def __init__(self, folder: Path, configuration: str, *, core: str = "", ready_s: float = READY_S) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.config = folder / "sekisho.toml"
        self.log = self.home / "audit" / "log.jsonl"
        self.base = f"https://127.0.0.1:{free_port()}"
        self._head = (
            f'[core_server]\nbind_addr = "{self.base.removeprefix("https://")}"\n'
            f'status_addr = "127.0.0.1:{free_port()}"\n' + core
        )
        self.configure(configuration)
        self.stderr = folder / "up.log"
        rules = Places(home=self.home, config=self.config).content_rules
        if _COMPILED:  # by a house before this one; a core takes them if they are those it wants
            write_private(rules, _COMPILED[0])
        with self.stderr.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-c", _RUN_UP, str(self.config), str(self.home)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        try:
            self.ready = self._wait_ready(ready_s)
        except BaseException:
            self.kill()
            raise
        if not _COMPILED and rules.exists():
            _COMPILED.append(rules.read_bytes())
        self.url = str(self.ready["url"])
        self.token = Path(self.ready["token_file"]).read_text().strip()
        self.context = ssl.create_default_context(cafile=self.ready["ca_file"])
        self._http = httpx2.Client(verify=self.context, timeout=30)
        self._session: str | None = None
        self._idents = itertools.count(2)

    def configure(self, configuration: str) -> None:
        """Put another configuration file in place at once; the addresses stay, and HERE stands for this house's own."""
        # written in place, half of it could be read by a reload that is under way
        whole = self.config.with_name("sekisho.toml.new")
        whole.write_text(self._head + configuration.replace("HERE", self.base))
        whole.replace(self.config)

    def _wait_ready(self, limit_s: float) -> dict[str, Any]:
        output = self.process.stdout
        assert output is not None
        readable, _, _ = select.select([output], [], [], limit_s)
        line = output.readline() if readable else b""
        assert line, f"not ready within {limit_s:g} s:\n{self.stderr.read_text()[-4000:]}"
        return dict(json.loads(line))

    def post(self, body: bytes, *, token: str | None = "", path: str = "/mcp") -> Answer:
        """One HTTP request with this body; the right token unless another (or None) is given."""
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.token}"
        if self._session is not None:
            headers |= {"Mcp-Session-Id": self._session, "MCP-Protocol-Version": "2025-11-25"}
        answer = self._http.post(self.url.removesuffix("/mcp") + path, content=body, headers=headers)
        if "mcp-session-id" in answer.headers:
            self._session = answer.headers["mcp-session-id"]
        return Answer(answer.status_code, answer.json() if answer.content else {})

    def request(self, method: str, params: dict[str, Any]) -> Answer:
        """One JSON-RPC request in our session."""
        if self._session is None:
            hello = {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }
            assert self.post(message("initialize", hello)).code == "ok"
        return self.post(message(method, params, next(self._idents)))

    def call(self, tool: str, /, **arguments: Any) -> Answer:
        """One tool call."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})

    def answers(self, tool: str, /, **arguments: Any) -> bool:
        """Whether a call succeeds now; a house that is coming back may refuse the connection."""
        try:
            return self.call(tool, **arguments).code == "ok"
        except httpx2.TransportError:
            return False

    def unaffected(self) -> None:
        """The next call of an honest client is answered at once."""
        assert self.call("echo__echo", text="still here").text == "still here"

    def records(self) -> list[dict[str, Any]]:
        """The audit log; a line that is just being written comes with the next look."""
        return [json.loads(line) for line in self.log.read_bytes().rpartition(b"\n")[0].splitlines()]

    def recorded(self, call_id: str) -> list[str]:
        """Kind and code of the records of one call."""
        return [
            f"{one['kind']} {one.get('code', '')}" for one in self.records() if one.get("call") == call_id
        ]

    def counted(self, code: str) -> float:
        """How many calls ended with this code, by /metrics."""
        text = self.status("/metrics").text
        return sum(
            float(value)
            for name, labels, value in _METRIC.findall(text)
            if name == "sekisho_calls_total" and f'code="{code}"' in labels
        )

    def status(self, path: str) -> httpx2.Response:
        """A page of the status address."""
        return httpx2.get(f"{self.ready['status_url']}{path}", timeout=10)

    def pid(self, role: str) -> int:
        """The process of one role: "core", "egress", or "plugin NAME"; 0 while there is none."""
        name = role.removeprefix("plugin ")
        for pid in self.tree():
            words = command_of(pid)
            if "sekisho.assembly" in words and (
                role in words or ("plugin" in words and words[-1] == name != role)
            ):
                return pid
        return 0

    def tree(self, root: int | None = None) -> set[int]:
        """All processes below `up` (or another process), sandboxed ones too, without it."""
        found: set[int] = set()
        queue = [self.process.pid if root is None else root]
        while queue:
            pid = queue.pop()
            with suppress(
                FileNotFoundError
            ):  # it ended while we looked, and what was below it is another's now
                for task in Path(f"/proc/{pid}/task").iterdir():
                    with suppress(OSError):  # a thread may end, too
                        queue += [int(word) for word in (task / "children").read_text().split()]
            found.add(pid)
        return found - {self.process.pid if root is None else root}

    def hang_up(self) -> None:
        """Ask for a reload."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """SIGTERM: ends in time, with status 0, and leaves nobody behind."""
        self._http.close()
        if self.process.poll() is not None:
            self.kill()
            return
        family = {pid: birth_of(pid) for pid in self.tree()}
        self.process.terminate()
        try:
            status = self.process.wait(STOP_S)
        finally:
            self.kill()
        assert status == 0, self.stderr.read_text()[-4000:]
        # one that had to be killed takes what hangs on it along, and the kernel its time for that
        until(lambda: not alive(family), f"nobody is left of {[command_of(pid) for pid in alive(family)]}")

    def kill(self) -> None:
        """End `up` now, if it still runs."""
        self.process.kill()
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def message(method: str, params: dict[str, Any], ident: int = 1) -> bytes:
    """A JSON-RPC request."""
    return json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}).encode()


def command_of(pid: int) -> list[str]:
    """The words of a process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []


def birth_of(pid: int) -> str:
    """When the process started, so that a pid used again is not taken for it; "" when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def alive(family: dict[int, str]) -> set[int]:
    """Those of the family that still run."""
    return {pid for pid, birth in family.items() if birth and birth_of(pid) == birth}


def quoted(value: object) -> str:
    """A TOML string or list of strings."""
    if isinstance(value, list | tuple):
        return json.dumps([str(one) for one in value])
    return json.dumps(str(value))


def plugin(name: str, script: Path, *words: str, operations: Sequence[str], more: str = "") -> str:
    """One `[[plugins.servers]]` entry; `more` holds its tables."""
    files = "" if "filesystem_policy" in more else "[plugins.servers.filesystem_policy]\n"
    grant = f"{files}read_only_paths = [{quoted(script)}]\n" if files else ""
    return (
        f'[[plugins.servers]]\nname = "{name}"\ncommand = {quoted([sys.executable, script, *words])}\n'
        f"allowed_operations = {quoted(operations)}\nmax_requests_per_minute = 100000\n{more}{grant}"
    )


def common(discovery_s: float = 20) -> str:
    """What every configuration of these tests starts with."""
    return (
        "[security]\nrate_limit_per_minute = 100000\n"
        f"[plugins]\ndiscovery_timeout_seconds = {discovery_s}\nhealth_check_interval_seconds = 1\n"
    )


@pytest.fixture(scope="session")
def walls() -> None:
    """Skip when the walls cannot be built here."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed; the walls cannot be built")


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """What lies around the shared house: things to steal, things that were granted, a turncoat's sign."""

    ssh: Path
    peer: Path
    granted: Path
    sign: Path
    port: int


ATTACKS: Final = [
    *("read_ssh_keys", "read_peer_data", "read_core_memory", "phone_home", "escape", "fork_daemon"),
    *("echo", "hang", "garbage", "exit", "huge_line", "unasked", "flood_stderr"),
]


ECHO_TOOLS: Final = ("echo", "add", "slow")
GRANTED_TOOLS: Final = ("read_peer_data", "phone_home", "echo", "huge_line")


def configuration(estate: Estate, *, granted: Sequence[str] = GRANTED_TOOLS) -> str:
    """The configuration of the shared house."""
    return (
        common()
        + plugin("echo", ECHO, operations=ECHO_TOOLS)
        + plugin(
            "hostile",
            HOSTILE,
            operations=ATTACKS,
            more="[plugins.servers.sandbox]\nexecution_timeout_seconds = 3\n"
            '[plugins.servers.network_policy]\nallowed_domains = ["api.example.com"]\n',
        )
        + plugin(
            "granted",
            HOSTILE,
            operations=granted,
            more="[plugins.servers.sandbox]\nmax_memory_mb = 2048\n"
            f"[plugins.servers.filesystem_policy]\nread_only_paths = "
            f"{quoted([HOSTILE, estate.granted])}\n"
            f"[plugins.servers.network_policy]\nallow_localhost = true\nlocalhost_ports = [{estate.port}]\n",
        )
        + plugin(
            "turncoat",
            HOSTILE,
            "--mutate-when",
            str(estate.sign / "now"),
            operations=["echo"],
            more=f"[plugins.servers.filesystem_policy]\nread_only_paths = {quoted([HOSTILE, estate.sign])}\n",
        )
    )


@pytest.fixture(scope="session")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    """A home with a secret, two folders of two plugins, and a service on this machine."""
    root = tmp_path_factory.mktemp("estate")
    for name in (".ssh", "peer", "granted", "sign"):
        (root / name).mkdir()
    (root / ".ssh" / "id_ed25519").write_text("decoy key\n")
    (root / "peer" / "data.txt").write_text("the data of another plugin\n")
    (root / "granted" / "data.txt").write_text("meant for this plugin\n")
    with socket.create_server(("127.0.0.1", 0)) as service:
        yield Estate(
            ssh=root,
            peer=root / "peer",
            granted=root / "granted",
            sign=root / "sign",
            port=int(service.getsockname()[1]),
        )


@pytest.fixture(scope="session")
def house(walls: None, estate: Estate, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The shared house. A test may wound it, and waits until it serves again."""
    running = House(tmp_path_factory.mktemp("house"), configuration(estate))
    yield running
    running.stop()


@pytest.fixture
def build(walls: None, tmp_path: Path) -> Iterator[Callable[[str], House]]:
    """Builds a house of one's own, which is stopped at the end."""
    built: list[House] = []

    def start(text: str) -> House:
        built.append(House(tmp_path, text))
        return built[-1]

    yield start
    for one in built:
        one.stop()


def kill(pid: int) -> None:
    """SIGKILL."""
    os.kill(pid, signal.SIGKILL)

"""The demo: two real MCP servers and a hostile one behind a real gateway, driven by the official client.

Every line printed is the result of something that just happened; the first that is not as it must be ends the demo with
exit status 1. Needs what `dev.py demo` installs; touches only a folder of its own under the system's temporary folder.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "demo"
SEKISHO = ROOT / ".venv" / "bin" / "sekisho"
READY_S = 60.0
CHANGE_S = 30.0
STOP_S = 5.0
console = Console(highlight=False)


class DemoFailed(Exception):
    """Something did not happen as announced."""


def must(is_true: bool, what: str) -> None:
    """Announce a step that happened, or end the demo."""
    if not is_true:
        raise DemoFailed(what)
    console.print(f"  [green]✓[/] {what}")


def heading(text: str) -> None:
    """Open a part of the demo."""
    console.print(f"\n[bold]{text}[/]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The folders and files of one demo."""

    root: Path

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def notes(self) -> Path:
        return self.root / "notes"

    @property
    def sign(self) -> Path:
        """The folder in which the turncoat waits for a file."""
        return self.root / "sign"

    @property
    def ssh(self) -> Path:
        return self.root / "home" / ".ssh"

    @property
    def config(self) -> Path:
        return self.root / "sekisho.toml"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def log(self) -> Path:
        return self.state / "audit" / "log.jsonl"


def set_stage(root: Path) -> Stage:
    """Make a git repository, a folder of notes, a secret, and a configuration."""
    stage = Stage(root=root)
    for folder in (stage.repo, stage.notes, stage.sign, stage.ssh):
        folder.mkdir(parents=True)
    (stage.repo / "hello.txt").write_text("hello\n")
    (stage.notes / "todo.md").write_text("- buy a barrier\n")
    (stage.ssh / "id_ed25519").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\ndecoy\n")
    git = ["git", "-C", str(stage.repo), "-c", "user.name=demo", "-c", "user.email=demo@example.com"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first stone"]):
        subprocess.run([*git, *words], check=True)
    stage.config.write_text(configuration(stage))
    return stage


def configuration(stage: Stage) -> str:
    """The whole configuration; what is not listed here is not possible."""
    node = next((CACHE / "node").glob("node_modules/node-linux-*/bin/node"), None) or shutil.which("node")
    files = (
        CACHE
        / "filesystem"
        / "node_modules"
        / "@modelcontextprotocol"
        / "server-filesystem"
        / "dist"
        / "index.js"
    )
    hostile = ROOT / "src" / "sekisho" / "testing" / "hostile.py"
    attacks = ["read_ssh_keys", "read_peer_data", "read_core_memory", "phone_home", "escape", "hang"]
    return f"""\
home = {q(stage.state)}

[core_server]
bind_addr = "127.0.0.1:0"
status_addr = "127.0.0.1:0"

[security]
rate_limit_per_minute = 1000

[plugins]
discovery_timeout_seconds = 45
health_check_interval_seconds = 3

[[plugins.servers]]
name = "git"
command = [{q(CACHE / "git" / "bin" / "mcp-server-git")}, "--repository", {q(stage.repo)}]
allowed_operations = ["git_log", "git_status", "git_diff_unstaged"]
[plugins.servers.sandbox]
start_timeout_seconds = 40
[plugins.servers.filesystem_policy]
read_only_paths = [{q(stage.repo)}]

[[plugins.servers]]
name = "files"
command = [{q(node)}, {q(files)}, {q(stage.notes)}]
allowed_operations = ["read_text_file", "write_file", "list_directory"]
[plugins.servers.sandbox]
start_timeout_seconds = 40
[plugins.servers.filesystem_policy]
writable_paths = [{q(stage.notes)}]

[[plugins.servers]]
name = "hostile"
command = [{q(sys.executable)}, {q(hostile)}]
allowed_operations = {json.dumps(attacks)}
[plugins.servers.sandbox]
execution_timeout_seconds = 5
[plugins.servers.network_policy]
allowed_domains = ["api.example.com"]
[plugins.servers.filesystem_policy]
read_only_paths = [{q(hostile)}]

[[plugins.servers]]
name = "turncoat"
command = [{q(sys.executable)}, {q(hostile)}, "--mutate-when", {q(stage.sign / "now")}]
allowed_operations = ["escape"]
[plugins.servers.filesystem_policy]
read_only_paths = [{q(hostile)}, {q(stage.sign)}]
"""


def q(text: object) -> str:
    """A TOML string."""
    return json.dumps(str(text))


class House:
    """The running `sekisho up`."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.errors = (stage.root / "up.log").open("w+")
        self.process = subprocess.Popen(
            [str(SEKISHO), "up", "--config", str(stage.config), "--trust-on-first-use"],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )

    def wait_ready(self) -> dict[str, Any]:
        """The ready line; the demo ends when it does not come."""
        assert self.process.stdout is not None
        alarm = signal.signal(signal.SIGALRM, _too_late)
        signal.alarm(int(READY_S))
        try:
            line = self.process.stdout.readline()
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, alarm)
        if not line:
            raise DemoFailed(f"sekisho up ended:\n{(self.stage.root / 'up.log').read_text()}")
        return dict(json.loads(line))

    def children(self) -> dict[int, str]:
        """Our processes and theirs, by pid."""
        found: dict[int, str] = {}
        queue = [self.process.pid]
        while queue:
            pid = queue.pop()
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    queue += [int(word) for word in task.read_text().split()]
                except OSError:
                    continue
            try:
                found[pid] = (
                    Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                )
            except OSError:
                continue
        return found

    def stop(self) -> float:
        """SIGTERM; returns how long the house took to end."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return time.monotonic() - started


def _too_late(number: int, frame: object) -> None:
    raise DemoFailed(f"not ready after {READY_S:g} s")


@asynccontextmanager
async def client_of(ready: dict[str, Any], token: str) -> AsyncIterator[Client]:
    """The official client, over HTTPS, with a token."""
    context = ssl.create_default_context(cafile=ready["ca_file"])
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(verify=context, headers=headers, timeout=60) as http,
        Client(streamable_http_client(ready["url"], http_client=http)) as client,
    ):
        yield client


async def refusal(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    """The code with which a call is refused, or "" when it is not."""
    try:
        await client.call_tool(tool, arguments)
    except MCPError as error:
        data = error.error.data
        return str(data["code"]) if isinstance(data, dict) else ""
    return ""


def text_of(result: Any) -> str:
    """The text of a tool result."""
    return "\n".join(part.text for part in result.content if part.type == "text")


async def honest_work(client: Client, stage: Stage) -> None:
    """What the two real servers are for."""
    heading("Two real servers do their work")
    tools = [tool.name for tool in (await client.list_tools()).tools]
    must(
        {"git__git_log", "files__read_text_file"} <= set(tools),
        f"tools/list shows {len(tools)} allowed tools",
    )
    must("git__git_reset" not in tools, "and not those that are not allowed (git_reset, move_file, …)")
    log = text_of(await client.call_tool("git__git_log", {"repo_path": str(stage.repo)}))
    must("first stone" in log, "git__git_log reads the repository")
    note = stage.notes / "from-the-client.md"
    await client.call_tool("files__write_file", {"path": str(note), "content": "written through the gate\n"})
    must(
        note.read_text() == "written through the gate\n",
        "files__write_file wrote a file that is really there",
    )


async def refusals(client: Client, ready: dict[str, Any], stage: Stage) -> None:
    """What is refused, and with which code."""
    heading("What does not pass")
    context = ssl.create_default_context(cafile=ready["ca_file"])
    table = Table(box=None, pad_edge=False)
    table.add_column("  attempt")
    table.add_column("refused with", style="yellow")
    async with httpx2.AsyncClient(verify=context) as http:
        for name, headers in (("no token", {}), ("a wrong token", {"Authorization": "Bearer sk-wrong"})):
            answer = await http.post(ready["url"], json={}, headers=headers)
            code = answer.json()["error"]["data"]["code"]
            if answer.status_code != 401:
                raise DemoFailed(f"{name}: HTTP {answer.status_code} {code}")
            table.add_row(f"  {name}", f"401 {code}")
    repo = str(stage.repo)
    attempts: tuple[tuple[str, str, dict[str, Any], str], ...] = (
        ("git__git_reset", "git__git_reset", {"repo_path": repo}, "operation_not_allowed"),
        ("a tool nobody has", "git__rm_rf", {}, "tool_unknown"),
        ("an argument its schema does not know", "hostile__escape", {"and": "more"}, "arguments_invalid"),
        ("a tool that never answers", "hostile__hang", {}, "plugin_timeout"),
    )
    for name, tool, arguments, expected in attempts:
        code = await refusal(client, tool, arguments)
        if code != expected:
            raise DemoFailed(f"{name}: {code or 'it passed'}, expected {expected}")
        table.add_row(f"  {name}", code)
    console.print(table)


async def attacks(client: Client, stage: Stage, core: int) -> None:
    """What the hostile plugin tries, in its own words."""
    heading("A hostile plugin tries")
    must(await _is_back(client), "the plugin that hung was stopped and is back")
    listener = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    tries: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("to read ~/.ssh", "read_ssh_keys", {"path": str(stage.ssh)}),
        ("to read another plugin's data", "read_peer_data", {"path": str(stage.notes)}),
        ("to read the core's memory", "read_core_memory", {"pid": core}),
        ("to phone home", "phone_home", {"host": "127.0.0.1", "port": port}),
        ("to phone a host that is not listed", "phone_home", {"host": "evil.example.net", "port": 443}),
        ("to break out (namespaces, mounts, keyring, …)", "escape", {}),
    )
    for what, tool, arguments in tries:
        report = json.loads(text_of(await client.call_tool(f"hostile__{tool}", arguments)))
        must(
            report["succeeded"] is False,
            f"{what}: it got nothing" + (f" ({report})" if report["succeeded"] else ""),
        )
    listener.close()
    await listener.wait_closed()


async def _is_back(client: Client) -> bool:
    return await until(lambda: _escape_answers(client), CHANGE_S)


async def _escape_answers(client: Client) -> bool:
    return await refusal(client, "hostile__escape", {}) == ""


async def rug_pull(client: Client, stage: Stage) -> None:
    """A definition that changes after approval."""
    heading("A plugin changes its description after approval")
    (stage.sign / "now").touch()  # not before: on a busy machine it would have changed before anybody saw it

    async def is_refused() -> bool:
        return await refusal(client, "turncoat__escape", {}) == "definition_changed"

    must(await until(is_refused, CHANGE_S), "its calls are refused: definition_changed")
    page = sekisho("review", "turncoat", "--config", str(stage.config))
    changed = [line for line in page.stdout.splitlines() if line.lstrip().startswith(("+", "-"))]
    must(bool(changed), "sekisho review turncoat shows the difference:")
    for line in changed[:6]:
        console.print(f"    {line[:110]}", markup=False, style="dim")
    must(await _escape_answers(client), "the other plugins go on serving")


async def core_killed(ready: dict[str, Any], token: str, house: House, core: int) -> None:
    """SIGKILL to the core: nothing acknowledged is lost, and it comes back by itself."""
    heading("The core is killed with SIGKILL")
    before = house.stage.log.read_bytes().count(b"\n")
    os.kill(core, signal.SIGKILL)
    must(await until(lambda: _serves(house.stage, token, ready), READY_S), "it started again and serves")
    must(
        house.stage.log.read_bytes().count(b"\n") > before,
        f"the {before} records from before are still there",
    )


async def _serves(stage: Stage, token: str, ready: dict[str, Any]) -> bool:
    try:
        async with client_of(ready, token) as client:
            return bool((await client.list_tools()).tools)
    except (httpx2.HTTPError, MCPError, OSError, ExceptionGroup):
        return False  # it is not there yet


def log_verified(stage: Stage) -> None:
    """The audit log, whole and tampered with."""
    heading("The audit log")
    whole = sekisho("audit", "verify", "--config", str(stage.config), "--json")
    report = json.loads(whole.stdout)
    must(whole.returncode == 0 and report["ok"] is True, f"verifies: {report['records']} records")
    copy = stage.root / "copy"
    shutil.copytree(stage.log.parent, copy)
    log = copy / stage.log.name
    log.write_text(log.read_text().replace('"tool":"git_log"', '"tool":"git_lag"', 1))
    tampered = sekisho("audit", "verify", "--config", str(stage.config), "--log", str(log), "--json")
    found = json.loads(tampered.stdout)
    must(tampered.returncode == 1 and found["ok"] is False, "a copy with one letter changed does not")
    console.print(f"    {found['problems'][0]}", markup=False, style="dim")


def sekisho(*words: str) -> subprocess.CompletedProcess[str]:
    """Run one command as an operator would."""
    return subprocess.run([str(SEKISHO), *words], capture_output=True, text=True, check=False, timeout=60)


async def until(is_so: Callable[[], Any], limit_s: float) -> bool:
    """Ask again until it is so, at most `limit_s`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if await is_so():
            return True
        await asyncio.sleep(0.2)
    return False


async def play(stage: Stage, house: House) -> None:
    """The whole demo."""
    with console.status("starting the core, four plugin servers and the egress proxy …"):
        ready = house.wait_ready()
    heading("The house stands")
    processes = house.children()
    core = next(
        (pid for pid, line in processes.items() if "sekisho.assembly" in line and " core " in line), 0
    )
    servers = [line for line in processes.values() if "sekisho.assembly" in line and " plugin " in line]
    egress = [line for line in processes.values() if "sekisho.assembly" in line and " egress " in line]
    must(
        core > 0 and len(servers) == 4 and len(egress) == 1,
        "core, 4 plugin servers and egress: processes of their own",
    )
    must(ready["url"].startswith("https://"), f"serving at {ready['url']}")
    mode = Path(ready["token_file"]).stat().st_mode & 0o777
    must(mode == 0o600, "the token file is mine alone (0600)")
    token = Path(ready["token_file"]).read_text().strip()
    async with client_of(ready, token) as client:
        await honest_work(client, stage)
        await refusals(client, ready, stage)
        await attacks(client, stage, core)
        await rug_pull(client, stage)
    await core_killed(ready, token, house, core)


def innermost(failure: BaseException) -> BaseException:
    """What went wrong, out of the groups that task groups wrap it in."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def is_alive(pid: int) -> bool:
    """True while it can do anything; what only waits to be buried by the system's first process is dead."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main() -> int:
    """Set the stage, play, clean up; 0 only if everything happened."""
    started = time.monotonic()
    root = Path(tempfile.mkdtemp(prefix="sekisho-demo-"))
    stage = set_stage(root)
    house = House(stage)
    try:
        asyncio.run(play(stage, house))
        left = set(house.children())
        took = house.stop()
        log_verified(stage)
        heading("The end")
        alive = [pid for pid in left if is_alive(pid)]
        must(took < STOP_S and not alive, f"stopped in {took:.1f} s, no process left behind")
    except (DemoFailed, ExceptionGroup) as failure:
        console.print(f"  [red]✗ {innermost(failure)}[/]")
        console.print(f"    what the house said: {root / 'up.log'}", style="dim")
        return 1
    finally:
        if house.process.poll() is None:
            house.stop()
        house.errors.close()
    shutil.rmtree(root)
    console.print(f"\n[green]All of it happened[/], in {time.monotonic() - started:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

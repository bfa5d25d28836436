"""The walls, tried from inside: each attack beside a harmless twin that must work.

Every probe is a small program that runs in a real sandbox and prints what it could do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

import pytest

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, LimitGrant
from sekisho.sandbox import (
    Bubblewrap,
    Capabilities,
    Exit,
    Launched,
    Mount,
    Native,
    Plan,
    Running,
    SandboxSpec,
    Warm,
    describe,
    make_ready,
    plan,
    probe,
    survey,
)
from sekisho.sandbox.calls.seccomp import MACHINES
from sekisho.sandbox.host.closure import zone_name
from sekisho.sandbox.plans.spec import DriverName

pytestmark = pytest.mark.real

PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin") or sys.executable
END_S: Final = 30.0
HOST = probe()
CAN: Final[dict[DriverName, Capabilities]] = {"bubblewrap": HOST, "native": probe("native")}

if HOST.missing or CAN["native"].missing:
    pytest.skip(
        "no walls here: " + "; ".join((*HOST.missing, *CAN["native"].missing)), allow_module_level=True
    )

CALL: Final = """
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
    return "ok" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")
def attempt(function, *arguments):
    try:
        return ["ok", str(function(*arguments))[:200]]
    except OSError as error:
        return [errno.errorcode.get(error.errno, "?"), ""]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder without a link on its way."""
    return tmp_path.resolve()


class WarmDriver(Launched):
    """Forks every Python probe inside its walls; the one that is watched is the second life there."""

    def __init__(self, name: DriverName) -> None:
        self.name = name
        super().__init__(CAN[name])
        self._warm: dict[int, tuple[Plan, Warm]] = {}

    async def plan(self, spec: SandboxSpec) -> Plan:
        plain = await super().plan(spec)
        ready = make_ready(spec, plain.command, ("json",)) if spec.warm is None else None
        if ready is not None:
            drawn = await super().plan(ready[0])
            warm = Warm(driver=self, plain=plain, warm=drawn, message=ready[1], log=_only_warm)
            self._warm[id(plain)] = (plain, warm)
        return plain

    async def start(self, plan: Plan) -> Running:
        known = self._warm.get(id(plan))
        if known is None:
            return await self.launch(plan)
        if (
            not plan.wants_network
        ):  # what a first life asked of the gate would stand before what the second asks
            first = await known[1].start()
            await first.kill_tree()
            first.close_fds()
        return await known[1].start()

    async def tear_down(self) -> None:
        """End the walls that wait for another life."""
        while self._warm:
            _, (_, warm) = self._warm.popitem()
            await warm.__aexit__()


def _only_warm(event: str, **facts: object) -> None:
    assert event == "plugin_walls_raised", facts


@pytest.fixture(params=["bubblewrap", "native"])
async def plain(request: pytest.FixtureRequest) -> AsyncIterator[Launched]:
    """Starts each probe with an interpreter of its own."""
    kind = Bubblewrap if request.param == "bubblewrap" else Native
    async with kind(CAN[kind.name]) as made:
        yield made


@pytest.fixture(params=["bubblewrap", "bubblewrap-warm", "native", "native-warm"])
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Launched]:
    """Both kinds of walls and both ways to start a plugin: what holds is the same."""
    kind = Bubblewrap if request.param.startswith("bubblewrap") else Native
    async with WarmDriver(kind.name) if request.param.endswith("warm") else kind(CAN[kind.name]) as made:
        yield made
        if isinstance(made, WarmDriver):
            await made.tear_down()


async def launch(driver: Launched, plan: Plan) -> Running:
    """Start a probe the driver's way."""
    return await driver.start(plan) if isinstance(driver, WarmDriver) else await driver.launch(plan)


def spec(program: str, *argv: str, files: FileGrant | None = None, **more: Any) -> SandboxSpec:
    limits = more.pop("limits", LimitGrant())
    return SandboxSpec(
        name="probe",
        argv=argv or (PYTHON, "-I", "-c", CALL + program),
        grants=Grants(files=files or FileGrant(), limits=limits),
        **more,
    )


def pipe_of(fd: int) -> BinaryIO:
    """A file on a copy of a descriptor; the transport closes it."""
    return os.fdopen(os.dup(fd), "rb", buffering=0)


def own_groups() -> list[Path]:
    """Control groups of this process's sandboxes."""
    return [
        f for _, parent in HOST.cgroup_parents for f in Path(parent).glob(f"sekisho-{os.getpid()}-*-probe")
    ]


def own_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def is_running(pid: int | None) -> bool:
    return Path("/proc", str(pid)).exists()


async def read_all(fd: int) -> bytes:
    """Until the other end closes."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe_of(fd))
    try:
        return await reader.read()
    finally:
        transport.close()


async def finish(sandbox: Running) -> tuple[Exit, str, str]:
    """The end of a probe, and what it printed."""
    try:
        async with asyncio.timeout(END_S):
            out, err = await asyncio.gather(read_all(sandbox.stdout_fd), read_all(sandbox.stderr_fd))
            return await sandbox.wait(), out.decode(), err.decode()
    finally:
        sandbox.close_fds()


async def run(driver: Launched, wanted: SandboxSpec) -> tuple[Exit, str, str]:
    return await finish(await launch(driver, await driver.plan(wanted)))


async def answer(driver: Launched, program: str, **more: Any) -> Any:
    """What a probe printed, as JSON."""
    ended, out, err = await run(driver, spec(program, **more))
    assert ended.code == 0, (ended, err)
    return json.loads(out)


def processes_with(marker: str) -> set[int]:
    """Processes of this host whose command line holds a marker."""
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (folder / "cmdline").read_bytes():
                    found.add(int(folder.name))
    return found


async def wait_until(condition: Any, bound_s: float = END_S) -> bool:
    """Ask again and again, for a while that is bounded."""
    end = time.monotonic() + bound_s
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.01)
    return True


# --- what must work ------------------------------------------------------------------------------------------------


# What the whole host shares and nothing counts: 65,536 places for asynchronous I/O, and a file's only lease.
SHARED: Final = """
import fcntl
libc.syscall.restype = ctypes.c_long
fd = os.open(PLACE + "/file", os.O_RDONLY)
context = ctypes.create_string_buffer(8)
print(json.dumps({
    "lease": attempt(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)[0],
    "read lease": attempt(fcntl.fcntl, fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)[0],
    "places": call(IO_SETUP, 1, ctypes.addressof(context)),
    "lock": attempt(fcntl.flock, fd, fcntl.LOCK_SH)[0],
    "copy": attempt(fcntl.fcntl, fd, fcntl.F_DUPFD_CLOEXEC, 10)[0],
    "looked": attempt(fcntl.fcntl, fd, fcntl.F_GETLEASE)[0],
}))
"""


@pytest.mark.threat("T-FLOOD")
async def test_nothing_is_taken_that_only_the_whole_host_has(driver: Launched, root: Path) -> None:
    root.chmod(0o755)
    (root / "file").write_text("granted for reading")
    number = MACHINES[os.uname().machine].numbers["io_setup"]
    shown = await answer(
        driver,
        f"PLACE, IO_SETUP = {str(root)!r}, {number}\n{SHARED}",
        files=FileGrant(read_only_paths=(str(root),)),
    )
    refused = dict.fromkeys(("lease", "read lease", "places"), "EPERM")
    assert shown == refused | dict.fromkeys(("lock", "copy", "looked"), "ok")


async def test_python_starts_and_works_inside(driver: Launched) -> None:
    shown = await answer(
        driver,
        "import asyncio, ssl, sqlite3, multiprocessing as mp\n"
        "open('/tmp/x','w').write('scratch'); open(os.path.expanduser('~/y'),'w').write('home')\n"
        "mp.get_context('fork').Semaphore(1)\n"
        "async def main():\n"
        "    server = await asyncio.start_server(lambda r, w: w.close(), '127.0.0.1', 0)\n"
        "    port = server.sockets[0].getsockname()[1]\n"
        "    reader, writer = await asyncio.open_connection('127.0.0.1', port)\n"
        "    return (await reader.read()).decode()\n"
        "print(json.dumps([asyncio.run(main()), os.path.expanduser('~'), os.getuid(), socket.gethostname()]))",
    )
    assert shown == ["", "/home/plugin", 1000, "plugin"]


async def test_the_time_is_the_hosts_and_every_zone_is_known(driver: Launched) -> None:
    if not Path("/usr/share/zoneinfo/Asia/Tokyo").exists():
        pytest.skip("this host has no time zones (Debian package tzdata)")
    shown = await answer(
        driver,
        "import datetime, zoneinfo\n"
        "there = datetime.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo('Asia/Tokyo')).utcoffset()\n"
        "here = datetime.datetime(2026, 7, 1).astimezone().utcoffset()\n"
        "named = open('/etc/timezone').read().strip() if os.path.exists('/etc/timezone') else ''\n"
        "print(json.dumps([there.total_seconds(), here.total_seconds(), named]))",
    )
    here = datetime(2026, 7, 1).astimezone().utcoffset()  # the host's own idea is what is asked
    assert here is not None
    assert shown == [
        9 * 3600.0,
        here.total_seconds(),
        zone_name() if Path("/etc/localtime").is_file() else "",
    ]


async def test_the_interpreter_of_a_virtual_environment_starts_inside(driver: Launched) -> None:
    ended, out, err = await run(
        driver, spec("", sys.executable, "-c", "import msgspec, sys; print(sys.prefix)")
    )
    assert ended.code == 0, err
    assert out.strip() == sys.prefix


@pytest.mark.skipif(
    shutil.which("node", path="/usr/bin:/usr/local/bin") is None, reason="node is not installed"
)
async def test_node_starts_and_works_inside(driver: Launched) -> None:
    program = (
        "const os=require('os');require('fs').writeFileSync('/tmp/x','1');new Worker_();"
        "function Worker_(){const {Worker}=require('worker_threads');"
        "new Worker('require(\"worker_threads\").parentPort.postMessage(1)',{eval:true})"
        ".on('message',m=>console.log(m,os.hostname(),Object.keys(os.networkInterfaces()).length>=0))}"
    )
    ended, out, err = await run(driver, spec("", "node", "-e", program))
    assert ended.code == 0, err
    assert out.strip() == "1 plugin true"


@pytest.mark.skipif(
    shutil.which("git", path="/usr/bin:/usr/local/bin") is None, reason="git is not installed"
)
async def test_git_makes_a_commit_in_a_writable_folder(driver: Launched, root: Path) -> None:
    folder = root / "repository"
    folder.mkdir()
    script = (
        "git init -q . && git config user.email a@b.c && git config user.name a && echo x > f && git add f "
        "&& git commit -q -m first && git log --format=%s"
    )
    files = FileGrant(writable_paths=(str(folder),))
    ended, out, err = await run(driver, spec("", "sh", "-c", script, files=files, cwd=str(folder)))
    assert (ended.code, out.strip()) == (0, "first"), err
    assert (folder / "f").read_text() == "x\n"


async def test_the_pipes_carry_a_conversation(driver: Launched) -> None:
    sandbox = await launch(driver, await driver.plan(spec("", "cat")))
    os.write(sandbox.stdin_fd, b"hello\n")
    reading = asyncio.ensure_future(read_all(sandbox.stdout_fd))
    os.close(sandbox.stdin_fd)
    sandbox.stdin_fd = os.open(os.devnull, os.O_WRONLY)
    async with asyncio.timeout(END_S):
        assert await reading == b"hello\n"
        assert (await sandbox.wait()).code == 0
    sandbox.close_fds()


async def test_an_exit_code_and_a_signal_are_told_apart(driver: Launched) -> None:
    assert (await run(driver, spec("sys.exit(7)")))[0] == Exit(code=7, signal=None, reason="exited")
    assert (await run(driver, spec("os.kill(os.getpid(), 15)")))[0] == Exit(
        code=None, signal=15, reason="signalled"
    )


# --- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.threat("T-READ-PEER")
async def test_files_of_the_host_and_of_other_plugins_are_not_there(driver: Launched, root: Path) -> None:
    secrets = [root / "home" / ".ssh" / "id_ed25519", root / "plugins" / "other" / "data.db", root / "note"]
    for path in secrets:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")
    mine = root / "plugins" / "mine"
    mine.mkdir()
    (mine / "data").write_text("mine")
    (mine / "link").symlink_to(secrets[0])
    asked = [
        *map(str, secrets),
        "/etc/shadow",
        "/root/.bashrc",
        f"{mine}/link",
        f"{mine}/../other/data.db",
        f"{mine}/data",
    ]
    shown = await answer(
        driver,
        f"print(json.dumps([attempt(lambda p: open(p).read(), p) for p in {asked!r}]))",
        files=FileGrant(read_only_paths=(str(mine),)),
    )
    assert shown[-1] == ["ok", "mine"]
    assert {one[0] for one in shown[:-1]} <= {"ENOENT", "EACCES"}


@pytest.mark.threat("T-READ-HOST")
async def test_the_root_holds_nothing_of_the_host(driver: Launched) -> None:
    shown = await answer(
        driver,
        "print(json.dumps([os.listdir('/tmp'), os.listdir('/home'), sorted(os.listdir('/etc')), os.listdir('/dev/shm'),"
        " open('/etc/passwd').read(), os.path.exists('/sys'), os.path.exists('/var'), os.path.exists('/run')]))",
    )
    tmp, home, etc, shm, passwd, *others = shown
    assert (tmp, home, shm, others) == ([], ["plugin"], [], [False, False, False])
    assert "shadow" not in etc
    assert passwd.splitlines()[1].startswith("plugin:")


@pytest.mark.threat("T-READ-HOST")
async def test_nothing_but_scratch_space_and_grants_can_be_written(driver: Launched, root: Path) -> None:
    for name in ("read", "write"):
        (root / name).mkdir()
    targets = [
        "/x",
        "/etc/x",
        "/etc/passwd",
        "/usr/x",
        "/dev/x",
        "/proc/sys/kernel/core_pattern",
        "/proc/sysrq-trigger",
    ]
    targets += [f"{root}/read/x", f"{root}/write/x", "/tmp/x", "/home/plugin/x", "/dev/shm/x"]
    shown = await answer(
        driver,
        f"print(json.dumps([attempt(lambda p: open(p, 'w').close(), p)[0] for p in {targets!r}]))",
        files=FileGrant(read_only_paths=(f"{root}/read",), writable_paths=(f"{root}/write",)),
    )
    assert shown[-4:] == ["ok", "ok", "ok", "ok"]
    assert "ok" not in shown[:-4]
    assert (root / "write" / "x").exists()
    assert sorted(path.name for path in root.rglob("*")) == ["read", "write", "x"]


REACHING: Final = """
def reach(path, kind):
    with socket.socket(socket.AF_UNIX, kind) as one:
        one.connect(path)
def pair(kind):
    for one in socket.socketpair(socket.AF_UNIX, kind):
        one.close()
def own():
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("/tmp/own")
"""


@pytest.mark.threat("T-READ-HOST")
@pytest.mark.parametrize("unix_sockets", [True, False])
async def test_a_service_in_a_granted_folder_is_reached_only_by_who_may_make_unix_sockets(
    driver: Launched, root: Path, unix_sockets: bool
) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        one.bind(f"{root}/s")
        one.listen()
        other.bind(f"{root}/d")
        for name in "sd":
            (root / name).chmod(0o777)
        shown = await answer(
            driver,
            f"""import socket{REACHING}
print(json.dumps([
    attempt(lambda: reach("{root}/s", socket.SOCK_STREAM))[0],
    attempt(lambda: reach("{root}/d", socket.SOCK_DGRAM))[0],
    attempt(lambda: own())[0],
    attempt(lambda: pair(socket.SOCK_DGRAM))[0],
    attempt(lambda: pair(socket.SOCK_STREAM))[0],
    attempt(lambda: socket.socket(socket.AF_INET).close())[0],
]))""",
            files=FileGrant(read_only_paths=(str(root),)),
            unix_sockets=unix_sockets,
        )
    assert [one == "ok" for one in shown] == [*[unix_sockets] * 4, True, True]


@pytest.mark.threat("T-READ-HOST")
async def test_a_blocked_path_inside_a_grant_is_empty_and_cannot_be_uncovered(
    driver: Launched, root: Path
) -> None:
    root /= "data"
    (root / "private" / "shared").mkdir(parents=True)
    for path in (root / "key.pem", root / "private" / "x", root / "private" / "shared" / "y", root / "open"):
        path.write_text("text")
    files = FileGrant(
        writable_paths=(str(root),),
        blocked_paths=(f"{root}/private", f"{root}/key.pem"),
        read_only_paths=(f"{root}/private/shared",),
    )
    shown = await answer(
        driver,
        f"r = {str(root)!r}\n"
        "print(json.dumps([attempt(lambda p: open(r + p).read(), p) for p in"
        " ('/open', '/private/shared/y', '/private/x', '/key.pem')] +"
        " [attempt(lambda: open(r + '/private/new', 'w').close()), attempt(lambda: os.unlink(r + '/key.pem')),"
        " attempt(lambda: os.rename(r + '/private', r + '/moved'))]))",
        files=files,
    )
    assert shown[0] == shown[1] == ["ok", "text"]
    assert all(one[0] != "ok" for one in shown[2:])
    assert (root / "key.pem").read_text() == "text"


async def test_a_listed_path_that_is_missing_or_leads_elsewhere_is_refused(
    driver: Launched, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/etc")
    for path in (tmp_path / "none", tmp_path / "link"):
        with pytest.raises(Misconfigured) as caught:
            await driver.plan(spec("", files=FileGrant(read_only_paths=(str(path),))))
        assert caught.value.code == "sandbox_unavailable"
        assert str(path) in caught.value.message


async def test_scratch_space_ends(driver: Launched) -> None:
    shown = await answer(
        driver,
        "print(json.dumps([attempt(lambda p: open(p, 'wb').write(b'x' * (n << 20)), p)[0]"
        " for p, n in (('/tmp/x', 1), ('/tmp/y', 5), ('/home/plugin/y', 5), ('/dev/shm/y', 20))]))",
        limits=LimitGrant(max_tmp_mb=4),
    )
    assert shown == ["ok", "ENOSPC", "ENOSPC", "ENOSPC"]


# --- processes, environment, descriptors ---------------------------------------------------------------------------


@pytest.mark.threat("T-READ-CORE")
async def test_processes_of_the_host_are_not_visible(driver: Launched) -> None:
    shown = await answer(
        driver,
        "print(json.dumps([sorted(int(n) for n in os.listdir('/proc') if n.isdigit()),"
        f" attempt(os.kill, {os.getpid()}, 0)[0],"
        " attempt(lambda: open('/proc/1/environ').read())[1], os.getppid(), open('/proc/self/cgroup').read()]))",
    )
    numbers, kill, environ, parent, cgroup = shown
    own = 1 if isinstance(driver, WarmDriver) else 0  # the fork server stands between
    assert len(numbers) == 2 + own
    assert kill == "ESRCH"
    assert "SSH" not in environ
    assert parent == 1 + own
    assert "sekisho" not in cgroup


@pytest.mark.threat("T-READ-CORE")
async def test_the_environment_of_the_host_stays_outside(
    driver: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    async with Bubblewrap(HOST) as fresh:
        shown = await answer(fresh, "print(json.dumps(dict(os.environ)))", environment={"GIVEN": "yes"})
    assert shown["GIVEN"] == "yes"
    assert "SECRET_TOKEN" not in shown
    assert set(shown) <= {
        "GIVEN", "HOME", "PATH", "LANG", "TMPDIR", "PWD", "LC_CTYPE",
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    }  # fmt: skip


@pytest.mark.threat("T-READ-CORE")
async def test_no_environment_value_shows_on_a_command_line(driver: Launched) -> None:
    wanted = spec("input()", environment={"API_KEY": "needle-in-cmdline"})
    sandbox = await launch(driver, await driver.plan(wanted))
    assert not processes_with("needle-in-cmdline")
    assert (await sandbox.kill_tree()).reason == "killed"
    sandbox.close_fds()


@pytest.mark.threat("T-READ-CORE")
async def test_no_descriptor_leaks_in(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with secret.open() as file:
        os.set_inheritable(file.fileno(), True)
        async with Bubblewrap(HOST) as fresh:
            program = "print(json.dumps([n for n in range(3, 4096) if attempt(os.fstat, n)[0] == 'ok']))"
            assert await answer(fresh, program) == []
            assert await answer(fresh, program, wants_network=True) == []


@pytest.mark.threat("T-READ-HOST")
async def test_no_privilege_is_left(driver: Launched) -> None:
    status = await answer(
        driver,
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print(json.dumps(dict(line.split(':\\t') for line in lines if ':\\t' in line)))",
    )
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Groups"].strip() in {"", "65534"}


async def test_limits_of_a_process_are_set(driver: Launched) -> None:
    shown = await answer(
        driver,
        "import resource as r\nprint(json.dumps([r.getrlimit(r.RLIMIT_CORE), r.getrlimit(r.RLIMIT_NOFILE)]))",
        limits=LimitGrant(max_open_files=77),
    )
    assert shown == [[0, 0], [77, 77]]


async def test_signals_arrive_as_the_kernel_made_them(driver: Launched) -> None:
    assert (
        await answer(driver, "import signal\nprint(json.dumps(sorted(signal.pthread_sigmask(0, []))))") == []
    )


# --- the kernel ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(HOST.machine != "x86_64", reason="the numbers below are of x86_64")
@pytest.mark.threat("T-READ-HOST")
async def test_the_kernels_dangerous_doors_are_shut(driver: Launched) -> None:
    doors = {
        "unshare user": (272, 0x10000000),
        "unshare net": (272, 0x40000000),
        "clone user": (56, 0x10000011, 0, 0, 0, 0),
        "ptrace": (101, 0, 0, 0, 0),
        "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
        "keyctl": (250, 0, -3, 0),
        "add_key": (248, 0, 0, 0, 0, -3),
        "io_uring_setup": (425, 1, 0),
        "bpf": (321, 0, 0, 0),
        "userfaultfd": (323, 1),
        "perf_event_open": (298, 0, 0, -1, -1, 0),
        "mount": (165, 0, 0, 0, 0, 0),
        "pivot_root": (155, 0, 0),
        "chroot": (161, 0),
        "open_by_handle_at": (304, 0, 0, 0),
        "memfd_secret": (447, 0),
        "kcmp": (312, 1, 1, 0, 0, 0),
        "syslog": (103, 10, 0, 0),
        "setns": (308, 0, 0),
        "personality": (135, 0x0040000),
    }
    shown = await answer(driver, f"print(json.dumps({{n: call(*a) for n, a in {doors!r}.items()}}))")
    assert shown == dict.fromkeys(doors, "EPERM")
    # The twin: ordinary calls of the same families.
    twins = {"getpid": (39,), "personality query": (135, 0xFFFFFFFF), "memfd_create": (319, 0, 0)}
    shown = await answer(driver, f"print(json.dumps({{n: call(*a) for n, a in {twins!r}.items()}}))")
    assert (shown["getpid"], shown["personality query"], shown["memfd_create"]) == ("ok", "ok", "EFAULT")


@pytest.mark.threat("T-EGRESS")
async def test_only_plain_sockets_can_be_made(driver: Launched) -> None:
    kinds = {
        "tcp": (2, 1, 0), "udp6": (10, 2, 17), "unix": (1, 1, 0), "route": (16, 3, 0),
        "vsock": (40, 1, 0), "packet": (17, 3, 0), "raw": (2, 3, 6), "icmp": (2, 2, 1), "alg": (38, 5, 0),
        "netfilter": (16, 3, 12), "xdp": (44, 3, 0), "tipc": (30, 1, 0), "bluetooth": (31, 3, 1), "sctp": (2, 1, 132),
    }  # fmt: skip
    shown = await answer(
        driver, f"print(json.dumps({{n: attempt(socket.socket, *a)[0] for n, a in {kinds!r}.items()}}))"
    )
    works = {"tcp", "udp6", "unix", "route"}
    assert shown == {name: "ok" if name in works else "EAFNOSUPPORT" for name in kinds}


@pytest.mark.skipif(HOST.machine != "x86_64", reason="int 0x80 exists on x86_64 only")
@pytest.mark.threat("T-READ-HOST")
async def test_the_32_bit_entry_kills(driver: Launched) -> None:
    program = (
        "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\n"
        "print(ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))())"
    )
    ended, out, _ = await run(driver, spec(program))
    assert (ended.signal, out) == (signal.SIGSYS, "")


# --- network -------------------------------------------------------------------------------------------------------


@pytest.mark.threat("T-EGRESS")
async def test_without_a_grant_there_is_no_network(driver: Launched) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        abstract = socket.socket(socket.AF_UNIX)
        with abstract:
            abstract.bind(f"\0sekisho-{os.getpid()}")
            abstract.listen()
            shown = await answer(
                driver,
                "def connect(family, address):\n"
                "    s = socket.socket(family); s.settimeout(5); s.connect(address)\n"
                f"print(json.dumps([attempt(connect, 2, ('127.0.0.1', {port})), attempt(connect, 2, ('192.0.2.1', 80)),"
                " attempt(connect, 2, ('169.254.169.254', 80)), attempt(connect, 2, ('127.0.0.1', 3128)),"
                f" attempt(connect, 1, '\\0sekisho-{os.getpid()}'),"
                " attempt(lambda: [n for _, n in socket.if_nameindex()])]))",
            )
    assert [one[0] for one in shown[:5]] == [
        "ECONNREFUSED",
        "ENETUNREACH",
        "ENETUNREACH",
        "ECONNREFUSED",
        "ECONNREFUSED",
    ]
    assert shown[5][1] == "['lo']"


@pytest.mark.threat("T-EGRESS")
async def test_with_a_grant_the_only_way_out_is_the_gates_four_sockets(driver: Launched) -> None:
    program = (
        "def connect(address):\n"
        "    s = socket.socket(); s.settimeout(5); s.connect(address); return s.recv(10).decode()\n"
        "u = socket.socket(2, 2); u.sendto(b'who', ('127.0.0.1', 53))\n"
        "print(json.dumps([attempt(connect, ('127.0.0.1', 3128)), attempt(connect, ('127.1.2.3', 443)),"
        " attempt(connect, ('127.1.2.4', 80)), attempt(connect, ('127.0.0.1', 22))[0],"
        " attempt(connect, ('192.0.2.1', 443))[0], attempt(u.sendto, b'x', ('192.0.2.1', 53))[0]]))"
    )
    sandbox = await launch(driver, await driver.plan(spec(program, wants_network=True)))
    assert sandbox.gate_sockets is not None
    ended = asyncio.ensure_future(finish(sandbox))
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(END_S):
        seen = []
        for fd, greeting in zip(sandbox.gate_sockets.fds[:3], (b"proxy", b"tls", b"web"), strict=True):
            with socket.socket(fileno=os.dup(fd)) as door:
                door.setblocking(False)
                connection, _ = await loop.sock_accept(door)
                with connection:
                    seen.append(connection.getsockname())
                    await loop.sock_sendall(connection, greeting)
        with socket.socket(fileno=os.dup(sandbox.gate_sockets.udp_53)) as names:
            names.setblocking(False)
            assert await loop.sock_recv(names, 100) == b"who"
        how, out, err = await ended
    assert how.code == 0, err
    assert seen == [("127.0.0.1", 3128), ("127.1.2.3", 443), ("127.1.2.4", 80)]
    assert json.loads(out) == [
        ["ok", "proxy"], ["ok", "tls"], ["ok", "web"], "ECONNREFUSED", "ENETUNREACH", "ENETUNREACH",
    ]  # fmt: skip


# --- limits --------------------------------------------------------------------------------------------------------

UNLIMITED: Final = replace(HOST, cgroup="none", cgroup_parents=())
# Who keeps within the limit survives; who does not stays there until somebody has looked.
HOG: Final = "x = [bytearray(b'x' * (8 << 20)) for _ in range(50)]\nprint('held', flush=True)\n"
STAY: Final = "import time\ntime.sleep(60)"


def hosts() -> list[Any]:
    both = [pytest.param(UNLIMITED, id="watched")]
    if HOST.enforces("memory") and HOST.enforces("pids"):
        both.append(pytest.param(HOST, id="control-groups"))
    return both


@pytest.mark.parametrize("host", hosts())
@pytest.mark.threat("T-FLOOD")
async def test_a_memory_hog_is_killed_and_the_reason_is_told(host: Capabilities) -> None:
    async with Bubblewrap(host) as driver:
        ended, out, _ = await run(driver, spec(HOG + STAY, limits=LimitGrant(max_memory_mb=128)))
        assert ended.reason == "oom"
        assert out == "" or host.cgroup == "none", "control groups let it hold no more for a moment"
        ended, out, _ = await run(driver, spec(HOG, limits=LimitGrant(max_memory_mb=1024)))
        assert (ended.reason, out) == ("exited", "held\n")


@pytest.mark.skipif(not HOST.enforces("pids"), reason="no pids control group here")
@pytest.mark.threat("T-FLOOD")
async def test_a_fork_bomb_meets_its_limit(driver: Launched) -> None:
    program = (
        "import time\nn = 0\n"
        "for _ in range(100):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "        n += 1\n"
        "    except OSError: break\n"
        "print(n)"
    )
    ended, out, err = await run(driver, spec(program, limits=LimitGrant(max_pids=16)))
    assert ended.code == 0, err
    assert int(out) == 15


@pytest.mark.threat("T-FLOOD")
async def test_a_fork_bomb_without_control_groups_is_stopped() -> None:
    program = (
        "import time\n"
        "for _ in range(60):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "    except OSError: print('refused'); sys.exit(0)\n"
        "time.sleep(20)\nprint('survived')"
    )
    async with Bubblewrap(UNLIMITED) as driver:
        ended, out, _ = await run(driver, spec(program, limits=LimitGrant(max_pids=16)))
    assert out == "refused\n" or ended.signal == signal.SIGKILL


@pytest.mark.threat("T-FLOOD")
@pytest.mark.parametrize("name", ["bubblewrap", "native"])
@pytest.mark.parametrize(("wanted", "told"), [(60, ["pids"]), (5, [])])
async def test_a_fork_bomb_is_told_where_no_control_group_counts(
    name: DriverName, wanted: int, told: list[str]
) -> None:
    program = (
        f"for _ in range({wanted}):\n"
        "    try:\n"
        "        if os.fork() == 0: sys.stdin.read(); os._exit(0)\n"
        "    except OSError: break\n"
        "print('tried', flush=True)\nsys.stdin.read()"
    )
    host = replace(CAN[name], cgroup="none", cgroup_parents=())
    async with asyncio.timeout(60), (Bubblewrap if name == "bubblewrap" else Native)(host) as driver:
        sandbox = await driver.launch(await driver.plan(spec(program, limits=LimitGrant(max_pids=16))))
        try:
            await asyncio.to_thread(select.select, [sandbox.stdout_fd], [], [], 50)
            while told and not sandbox.violations():  # noqa: ASYNC110  # it is counted, and nobody is called
                await asyncio.sleep(0.01)
            await sandbox.kill_tree()
        finally:
            sandbox.close_fds()
    assert [one.kind for one in sandbox.violations()] == told


@pytest.mark.skipif(not HOST.enforces("cpu"), reason="no cpu control group here")
@pytest.mark.threat("T-FLOOD")
async def test_processor_time_is_rationed(driver: Launched) -> None:
    program = (
        "import time\nend = time.monotonic() + 2\nstart = time.process_time()\n"
        "while time.monotonic() < end: pass\nprint(json.dumps(time.process_time() - start))"
    )
    used = await answer(driver, program, limits=LimitGrant(max_cpu_percent=20))
    assert used < 0.8  # a fifth of two seconds is 0.4; without the ration it is 2


@pytest.mark.skipif(not HOST.enforces("memory"), reason="no memory control group here")
async def test_what_a_plugin_uses_can_be_asked(plain: Launched) -> None:
    sandbox = await plain.launch(await plain.plan(spec("input()")))
    usage = sandbox.stats()
    assert usage.memory_bytes
    assert usage.pids
    await sandbox.kill_tree()
    sandbox.close_fds()


@pytest.mark.skipif(HOST.cgroup == "none", reason="no control groups here")
async def test_no_control_group_stays_behind(plain: Launched) -> None:
    await answer(plain, "print(0)")
    assert not own_groups()


# --- ends ----------------------------------------------------------------------------------------------------------

DAEMONS: Final = """
import subprocess, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-I", "-c", "import time; time.sleep(300)", MARKER])
        os._exit(0)
for _ in range(3):
    os.wait()
print("ready", flush=True)
"""


async def start_daemons(driver: Launched, marker: str, then: str = "time.sleep(300)") -> Running:
    program = f"MARKER = {marker!r}\n" + DAEMONS + then
    sandbox = await launch(driver, await driver.plan(spec(program)))
    assert await wait_until(lambda: len(processes_with(marker)) >= 3)
    return sandbox


@pytest.mark.threat("T-ORPHAN")
async def test_killing_the_tree_leaves_no_daemon(driver: Launched) -> None:
    marker = f"daemon-{os.getpid()}-tree"
    sandbox = await start_daemons(driver, marker)
    started = time.monotonic()
    ended = await sandbox.kill_tree()
    assert ended.reason == "killed"
    assert not processes_with(marker)
    assert time.monotonic() - started < 5
    sandbox.close_fds()


@pytest.mark.threat("T-ORPHAN")
async def test_a_plugin_that_ends_takes_its_daemons_along(driver: Launched) -> None:
    marker = f"daemon-{os.getpid()}-end"
    sandbox = await start_daemons(driver, marker, "sys.stdin.read()")
    os.close(sandbox.stdin_fd)
    sandbox.stdin_fd = os.open(os.devnull, os.O_WRONLY)
    async with asyncio.timeout(END_S):
        assert (await sandbox.wait()).code == 0
    assert not processes_with(marker)
    sandbox.close_fds()


@pytest.mark.threat("T-ORPHAN")
async def test_killing_the_launcher_leaves_no_process_and_the_next_plugin_starts(driver: Launched) -> None:
    marker = f"daemon-{os.getpid()}-launcher"
    sandbox = await start_daemons(driver, marker)
    assert driver.launcher_pid is not None
    os.kill(driver.launcher_pid, signal.SIGKILL)
    async with asyncio.timeout(END_S):
        assert (await sandbox.wait()).reason == "killed"
    assert await wait_until(lambda: not processes_with(marker))
    sandbox.close_fds()
    assert await answer(driver, "print(1)") == 1
    if isinstance(driver, WarmDriver):
        await driver.tear_down()
    assert await wait_until(lambda: not own_groups())


@pytest.mark.skipif(HOST.cgroup == "none", reason="no control groups here")
async def test_a_group_that_could_not_be_removed_at_once_is_removed_without_another_start(
    driver: Launched,
) -> None:
    sandbox = await launch(driver, await driver.plan(spec("time.sleep(300)")))
    own = own_groups()
    kept = [folder / "kept" for folder in own]
    for folder in kept:
        folder.mkdir()
    await sandbox.kill_tree()
    if isinstance(driver, WarmDriver):
        await driver.tear_down()
    sandbox.close_fds()
    assert {*own} <= {*own_groups()}
    for folder in kept:
        folder.rmdir()
    assert await wait_until(lambda: not own_groups())


OWNER: Final = """
import asyncio, sys
from sekisho.policy.grants import Grants
from sekisho.sandbox import Bubblewrap, SandboxSpec
async def main():
    async with Bubblewrap() as driver:
        await driver.launch(await driver.plan(SandboxSpec(name="probe", argv=tuple(sys.argv[1:]), grants=Grants())))
        print(driver.launcher_pid, flush=True)
        await asyncio.sleep(300)
asyncio.run(main())
"""


@pytest.mark.threat("T-ORPHAN")
async def test_killing_the_owner_leaves_no_process_behind() -> None:
    marker = f"daemon-{os.getpid()}-owner"
    program = CALL + f"MARKER = {marker!r}\n" + DAEMONS + "time.sleep(300)"
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, PYTHON, "-I", "-c", program, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    async with asyncio.timeout(END_S):
        launcher = int(await owner.stdout.readline())
    assert await wait_until(lambda: len(processes_with(marker)) >= 3)
    owner.kill()
    await owner.wait()
    assert await wait_until(lambda: not processes_with(marker) and not is_running(launcher))


async def test_leaving_the_driver_kills_what_it_started() -> None:
    marker = f"daemon-{os.getpid()}-leave"
    async with Bubblewrap(HOST) as driver:
        sandbox = await start_daemons(driver, marker)
        launcher = driver.launcher_pid
    assert not processes_with(marker)
    assert not is_running(launcher)
    sandbox.close_fds()


# --- starts that fail ----------------------------------------------------------------------------------------------


async def test_a_wall_that_cannot_be_built_fails_the_start_and_says_what_is_missing(
    plain: Launched, root: Path
) -> None:
    gone = root / "gone"
    gone.mkdir()
    drawn = await plain.plan(spec("", files=FileGrant(read_only_paths=(str(gone),))))
    gone.rmdir()
    with pytest.raises(Misconfigured, match="gone") as caught:
        await plain.launch(drawn)
    assert caught.value.code == "sandbox_unavailable"


async def test_a_launch_that_fails_holds_no_descriptor_and_no_group(plain: Launched) -> None:
    drawn = await plain.plan(spec("", wants_network=True))
    strange = Mount(kind="read", path="/no-such-option", source="/no-such-option")
    broken = replace(drawn, options=("--no-such-option", *drawn.options), mounts=(*drawn.mounts, strange))
    before = own_descriptors()
    for _ in range(3):
        with pytest.raises(Misconfigured, match="no-such-option"):
            await plain.launch(broken)
    assert own_descriptors() == before
    assert not own_groups()


async def test_a_program_that_bwrap_is_not_is_reported(plain: Launched) -> None:
    drawn = await plain.plan(spec(""))
    with pytest.raises(Misconfigured, match="could not be built"):
        await plain.launch(replace(drawn, program="/no/such/bwrap"))


async def test_a_host_that_lacks_a_wall_starts_nothing() -> None:
    async with Bubblewrap(replace(HOST, missing=("user namespaces: denied",))) as driver:
        with pytest.raises(Misconfigured, match="denied"):
            await driver.plan(spec(""))


async def test_many_sandboxes_live_at_once_and_end_alone(plain: Launched) -> None:
    drawn = await plain.plan(spec("print(input())"))
    made = [await plain.launch(drawn) for _ in range(5)]
    for number, sandbox in reversed(list(enumerate(made))):
        os.write(sandbox.stdin_fd, f"{number}\n".encode())
        ended, out, _ = await finish(sandbox)
        assert (ended.code, out) == (0, f"{number}\n")


async def test_the_printed_plan_is_the_one_that_runs(plain: Launched) -> None:
    wanted = spec("print(0)")
    drawn = await plain.plan(wanted)
    assert describe(drawn) == describe(plan(wanted, CAN[plain.name], survey(wanted)))


async def test_our_own_limits_stay_as_they_were(driver: Launched) -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    await answer(driver, "print(0)")
    assert resource.getrlimit(resource.RLIMIT_CORE) == before

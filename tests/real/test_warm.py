"""Python plugins forked inside their walls: the same program, the same walls, nothing of the one before.

The escape probes of test_sandbox.py run in both ways; here is what only the fork server could get wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.conftest import House, alive, birth_of, command_of, common, kill, plugin, until
from tests.real.test_sandbox import finish, wait_until

from sekisho.errors import SekishoError
from sekisho.plugin_server.listing import list_surface
from sekisho.plugin_server.opening import ask, handshake
from sekisho.plugin_server.walled import connect_walled
from sekisho.policy.grants import FileGrant, Grants, LimitGrant
from sekisho.protocol import JsonLimits
from sekisho.sandbox import Bubblewrap, Capabilities, Running, SandboxSpec, Warm, make_ready, probe

pytestmark = pytest.mark.real

END_S: Final = 30.0
HOST = probe()
SYSTEM_PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin") or sys.executable

if HOST.missing:
    pytest.skip("no walls here: " + "; ".join(HOST.missing), allow_module_level=True)

SERVER: Final = '''
from mcp.server import MCPServer

server = MCPServer("warm")

@server.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text

@server.tool()
def end(code: int) -> str:
    """End the process at once."""
    import os
    os._exit(code)

if __name__ == "__main__":
    server.run("stdio")
'''
UNLIMITED: Final = replace(HOST, cgroup="none", cgroup_parents=())


class Plugin:
    """One Python plugin, started in both ways."""

    def __init__(self, driver: Bubblewrap) -> None:
        self.driver = driver
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._stack = contextlib.AsyncExitStack()

    async def open(self, wanted: SandboxSpec, *preload: str) -> Warm:
        """The warm way."""
        plain = await self.driver.plan(wanted)
        ready = make_ready(wanted, plain.command, preload or None)
        assert ready is not None
        warm = Warm(
            driver=self.driver,
            plain=plain,
            warm=await self.driver.plan(ready[0]),
            message=ready[1],
            log=lambda event, **facts: self.events.append((event, facts)),
        )
        return await self._stack.enter_async_context(warm)

    async def close(self) -> None:
        await self._stack.aclose()

    @property
    def cold(self) -> list[str]:
        """Why it was not started warm."""
        return [facts["reason"] for event, facts in self.events if event == "plugin_not_warm"]


@pytest.fixture
async def made() -> AsyncIterator[Plugin]:
    async with Bubblewrap(HOST) as driver:
        one = Plugin(driver)
        yield one
        await one.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder without a link on its way."""
    return tmp_path.resolve()


def spec(*argv: str, files: FileGrant | None = None, **more: Any) -> SandboxSpec:
    limits = more.pop("limits", LimitGrant())
    grants = Grants(files=files or FileGrant(), limits=limits)
    return SandboxSpec(name="warm", argv=argv, grants=grants, **more)


def program(text: str, **more: Any) -> SandboxSpec:
    return spec(SYSTEM_PYTHON, "-I", "-c", "import json, os, sys\n" + text, **more)


async def shown(running: Running) -> Any:
    """What a program printed before it ended well."""
    ended, out, err = await finish(running)
    assert ended.code == 0, (ended, err)
    return json.loads(out)


# --- the same program ---------------------------------------------------------------------------------------

FACTS: Final = """
import json, os, signal, sys
import __main__
facts = {
    "argv": sys.argv, "path": sys.path, "flags": [*map(int, sys.flags)], "orig_argv": sys.orig_argv,
    "name": __name__, "file": globals().get("__file__"), "package": __package__, "doc": __doc__,
    "loader": type(globals().get("__loader__")).__name__,
    "main": [__main__.__dict__ is globals(), sys.modules["__main__"].__dict__ is globals()],
    "spec": getattr(globals().get("__spec__"), "name", None),
    "names": sorted(n for n in globals() if n not in ("facts", "json", "os", "signal", "sys")),
    "cwd": os.getcwd(), "environment": dict(os.environ), "prefix": [sys.prefix, sys.exec_prefix, sys.executable],
    "signals": [str(signal.getsignal(n)) for n in range(1, 32)],
    "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "streams": [[s.encoding, s.errors, s.line_buffering, s.write_through, s.isatty(), s.seekable()]
                for s in (sys.stdin, sys.stdout, sys.stderr)],
    "descriptors": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)),
    "words": open("/proc/self/cmdline").read().rstrip("\\0").split("\\0"),
    "umask": os.umask(0o022), "group": os.getpgrp() == os.getpid(), "readable": os.access("/proc/self/mem", os.R_OK),
    "threads": len(os.listdir("/proc/self/task")),
    # the fork server is one process more, which the limit of processes allows for
    "limits": [line for line in open("/proc/self/limits") if not line.startswith("Max processes")],
    "status": [line for line in open("/proc/self/status") if line.startswith(("Cap", "NoNew", "Seccomp:", "Uid", "Gid"))],
    "input": sys.stdin.readline(),
}
print(json.dumps(facts))
"""


def commands(root: Path) -> dict[str, tuple[tuple[str, ...], str]]:
    """Each way to name a Python program: its words, and its folder."""
    script, package, console = root / "facts.py", root / "package", root / "venv" / "bin" / "facts"
    for folder in (package, console.parent):
        folder.mkdir(parents=True)
    for path in (script, package / "__main__.py"):
        path.write_text(FACTS)
    (package / "__init__.py").touch()
    console.write_text(f"#!{SYSTEM_PYTHON} -I\n{FACTS}")
    console.chmod(0o755)
    (root / "link.py").symlink_to(package / "__main__.py")
    return {
        "a script": ((SYSTEM_PYTHON, str(script), "a", "-c"), str(root)),
        "a script by its name": ((SYSTEM_PYTHON, "-u", "facts.py"), str(root)),
        "an isolated script": ((SYSTEM_PYTHON, "-I", str(script)), str(root)),
        "a link to a script": ((SYSTEM_PYTHON, "link.py"), str(root)),
        "a module": ((SYSTEM_PYTHON, "-X", "dev", "-m", "package", "a"), str(root)),
        "code": ((SYSTEM_PYTHON, "-Bc", FACTS, "-m"), str(root)),
        "a console script": ((str(console), "a"), str(root)),
    }


@pytest.mark.parametrize(
    "name",
    [
        "a script",
        "a script by its name",
        "an isolated script",
        "a link to a script",
        "a module",
        "code",
        "a console script",
    ],
)
async def test_a_forked_program_cannot_tell_itself_from_an_ordinary_one(
    made: Plugin, root: Path, name: str
) -> None:
    words, folder = commands(root)[name]
    wanted = spec(
        *words, files=FileGrant(read_only_paths=(str(root),)), cwd=folder, environment={"GIVEN": "yes"}
    )
    warm = await made.open(wanted, "json")
    both = []
    for start in (lambda: made.driver.launch(warm._plain), warm.start, warm.start):
        running = await start()
        os.write(running.stdin_fd, b"hello\n")
        both.append(await shown(running))
    assert both[0] == both[1] == both[2]
    assert both[0]["descriptors"] == [0, 1, 2]
    assert (warm.raised, made.cold) == (1, [])


async def test_ends_are_told_as_they_were(made: Plugin) -> None:
    for text, code, number in (
        ("sys.exit(7)", 7, None),
        ("os._exit(3)", 3, None),
        ("raise ValueError", 1, None),
        ("sys.exit('words')", 1, None),
        ("os.kill(os.getpid(), 11)", None, 11),
        ("import threading; threading.Timer(0.05, print, ['last']).start()", 0, None),
    ):
        warm = await made.open(program(text), "json")
        ended, _, _ = await finish(await warm.start())
        assert (ended.code, ended.signal, ended.reason) == (
            code,
            number,
            "exited" if code is not None else "signalled",
        )


LAYOUT: Final = (
    "print([line for line in open('/proc/self/maps') if '[stack]' in line][0].split('-')[0], flush=True)\n"
)


@pytest.mark.parametrize(("last", "raised"), [("os.kill(os.getpid(), 11)", 2), ("os._exit(3)", 1)])
async def test_a_crash_gets_new_walls_and_another_layout(made: Plugin, last: str, raised: int) -> None:
    warm = await made.open(program(LAYOUT + last), "json")
    seen = [(await finish(await warm.start()))[1] for _ in range(2)]
    assert warm.raised == raised
    assert (len(set(seen)) == 2) is (raised == 2)
    assert made.cold == []


async def test_no_two_lives_draw_the_same_randomness(made: Plugin) -> None:
    text = (
        "import random, secrets, ssl, uuid\n"
        "print(json.dumps([random.random(), secrets.token_hex(), uuid.uuid4().hex, ssl.RAND_bytes(16).hex()]))"
    )
    warm = await made.open(program(text), "random", "ssl", "uuid", "secrets")
    drawn = [await shown(await warm.start()) for _ in range(3)]
    assert all(len(set(values)) == 3 for values in zip(*drawn, strict=True))
    assert warm.raised == 1


# --- nothing of the one before ------------------------------------------------------------------------------

LEAVE: Final = """
before = [sorted(os.listdir(f)) for f in ("/tmp", "/dev/shm", os.path.expanduser("~"))]
others = [n for n in os.listdir("/proc") if n.isdigit() and int(n) not in (1, os.getppid(), os.getpid())]
os.makedirs("/tmp/a/b"); open("/tmp/a/b/c", "w").write("x"); os.symlink("/usr", "/tmp/link"); os.mkfifo("/tmp/fifo")
open("/dev/shm/x", "w").write("x"); open(os.path.expanduser("~/.profile"), "w").write("x")
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execv(sys.executable, [sys.executable, "-I", "-c", "import time; time.sleep(300)"])
        os._exit(0)
print(json.dumps([before, others]))
"""


@pytest.mark.threat("T-ORPHAN")
async def test_a_life_leaves_no_file_and_no_daemon_to_the_next(made: Plugin) -> None:
    warm = await made.open(program(LEAVE), "json")
    for _ in range(3):
        assert await shown(await warm.start()) == [[[], [], []], []]
    assert (warm.raised, made.cold) == (1, [])


async def test_what_was_granted_in_scratch_space_stays(made: Plugin, root: Path) -> None:
    """The temporary folder of this test lies in /tmp, as a grant may: the files in it are the host's."""
    for name in ("data", "read"):
        (root / name / "deep").mkdir(parents=True)
        (root / name / "deep" / "file").write_text("precious")
    text = (
        f"open({str(root / 'data')!r} + '/new', 'a').write('x')\n"
        f"open({str(root)!r} + '/stray', 'w').write('x')\nprint(json.dumps(sorted(os.listdir({str(root)!r}))))"
    )
    files = FileGrant(
        writable_paths=(str(root / "data"),), read_only_paths=(str(root / "read" / "deep" / "file"),)
    )
    warm = await made.open(program(text, files=files), "json")
    for _ in range(2):
        assert await shown(await warm.start()) == ["data", "read", "stray"]
    assert (root / "data" / "deep" / "file").read_text() == "precious"
    assert (root / "read" / "deep" / "file").read_text() == "precious"
    assert (root / "data" / "new").read_text() == "xx"
    assert not (root / "stray").exists()
    assert warm.raised == 1


MESS: Final = {
    "a segment": "import ctypes; ctypes.CDLL(None).shmget(0, 4096, 0o1600)",
    "many files": "[open(f'/tmp/{n}', 'w').close() for n in range(2100)]",
    "a deep folder": "os.makedirs('/tmp/' + 'd/' * 40)",
    "a closed folder": "os.makedirs('/tmp/a/b'); os.chmod('/tmp/a', 0)",
}


@pytest.mark.parametrize("mess", MESS)
async def test_what_cannot_be_cleaned_ends_the_walls(made: Plugin, mess: str) -> None:
    warm = await made.open(program(MESS[mess] + "\nprint(0)"), "json")
    for number in (1, 2):
        ended, out, _ = await finish(await warm.start())
        assert out == "0\n", ended
        assert warm.raised == number
    assert made.cold == []


# --- a hostile plugin and its fork server -------------------------------------------------------------------

REACH: Final = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def attempt(function, *arguments):
    try:
        return str(function(*arguments))[:60]
    except OSError as error:
        return "no"
z = os.getppid()
fd = os.pidfd_open(z)
print(json.dumps({
    "its command": open(f"/proc/{z}/comm").read().strip() != "",
    "memory": attempt(lambda: open(f"/proc/{z}/mem", "rb")),
    "maps": attempt(lambda: open(f"/proc/{z}/maps").read()),
    "environment": attempt(lambda: open(f"/proc/{z}/environ").read()),
    "descriptors": "".join({attempt(os.readlink, f"/proc/{z}/fd/{n}") for n in range(8)}),
    "a descriptor": attempt(os.open, f"/proc/{z}/fd/0", 0),
    "its files": attempt(os.listdir, f"/proc/{z}/root"),
    "ptrace": libc.ptrace(16, z, 0, 0),
    "take": libc.syscall(438, fd, 3, 0),
    "read": libc.syscall(310, z, 0, 0, 0, 0, 0),
    "code": attempt(lambda: open("/etc/sekisho/warm.py", "a")),
    "sockets": [n for n in os.listdir("/proc/self/fd") if "socket" in attempt(os.readlink, f"/proc/self/fd/{n}")],
}))
"""


@pytest.mark.skipif(HOST.machine != "x86_64", reason="the probe names system calls by their x86_64 numbers")
@pytest.mark.threat("T-READ-CORE")
async def test_the_fork_server_is_out_of_the_plugins_reach(made: Plugin) -> None:
    warm = await made.open(program(REACH), "json")
    seen = await shown(await warm.start())
    assert seen.pop("its command") is True
    assert seen.pop("sockets") == []
    assert {name: answer for name, answer in seen.items() if answer not in ("no", -1)} == {}


@pytest.mark.threat("T-HANG")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP, signal.SIGINT])
async def test_a_plugin_that_disturbs_its_fork_server_gets_new_walls(made: Plugin, number: int) -> None:
    text = (
        f"os.write(1, b'up\\n'); sys.stdin.readline(); os.kill(os.getppid(), {int(number)})\n"
        "os.write(1, b'done\\n'); sys.stdin.read()"
    )
    warm = await made.open(program(text), "json")
    for raised in (1, 2):
        running = await warm.start()
        assert await wait_until(lambda fd=running.stdout_fd: _says(fd, b"up\n"))
        os.write(running.stdin_fd, b"now\n")
        # It may be ended before it has done its worst, and then the walls would still be good.
        assert await wait_until(lambda fd=running.stdout_fd: _says(fd, b"done\n", b""))
        await asyncio.wait_for(running.kill_tree(), END_S)
        running.close_fds()
        assert warm.raised == raised
    assert made.cold == []


def _says(fd: int, *words: bytes) -> bool:
    """One of these; an empty one is its end."""
    try:
        return os.read(fd, 10) in words
    except BlockingIOError:
        return False


# --- limits -------------------------------------------------------------------------------------------------

HOG: Final = (
    "import time\nx = [bytearray(b'x' * (8 << 20)) for _ in range(50)]\ntime.sleep(60)\nprint('survived')"
)


def hosts() -> list[Any]:
    both = [pytest.param(UNLIMITED, id="watched")]
    if HOST.enforces("memory") and HOST.enforces("pids"):
        both.append(pytest.param(HOST, id="control-groups"))
    return both


@pytest.mark.parametrize("host", hosts())
@pytest.mark.threat("T-FLOOD")
async def test_a_memory_hog_is_killed_and_starts_again(host: Capabilities) -> None:
    async with Bubblewrap(host) as driver:
        one = Plugin(driver)
        warm = await one.open(program(HOG, limits=LimitGrant(max_memory_mb=128)), "json")
        for _ in range(2):
            ended, out, _ = await finish(await warm.start())
            assert (ended.reason, out) == ("oom", "")
        assert one.cold == []
        await one.close()


@pytest.mark.threat("T-FLOOD")
async def test_a_hog_that_hides_its_maps_is_watched_all_the_same() -> None:
    hidden = "import ctypes\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n" + HOG
    async with Bubblewrap(UNLIMITED) as driver:
        drawn = await driver.plan(program(hidden, limits=LimitGrant(max_memory_mb=128)))
        ended, out, _ = await finish(await driver.launch(drawn))
    assert (ended.reason, out) == ("oom", "")


@pytest.mark.skipif(not HOST.enforces("pids"), reason="no pids control group here")
@pytest.mark.threat("T-FLOOD")
async def test_a_fork_bomb_meets_its_limit_and_is_cleared_away(made: Plugin) -> None:
    text = (
        "import time\nn = 0\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "        n += 1\n"
        "    except OSError: break\n"
        "print(n)"
    )
    warm = await made.open(program(text, limits=LimitGrant(max_pids=16)), "json")
    for _ in range(2):
        assert await shown(await warm.start()) == 15  # as many as in an ordinary start
    assert warm.raised == 1


# --- when it cannot be --------------------------------------------------------------------------------------


async def test_an_import_that_starts_a_thread_means_the_ordinary_start(made: Plugin, root: Path) -> None:
    (root / "threads.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    (root / "s.py").write_text("print(1)\n")
    files = FileGrant(read_only_paths=(str(root),))
    warm = await made.open(spec(SYSTEM_PYTHON, str(root / "s.py"), files=files), "threads")
    for _ in range(2):
        assert await shown(await warm.start()) == 1
    assert made.cold == ["an import started a thread"]


async def test_an_import_that_is_not_there_changes_nothing(made: Plugin) -> None:
    warm = await made.open(program("print(1)"), "no_such_module", "json")
    assert await shown(await warm.start()) == 1
    assert made.events == [("plugin_walls_raised", {"plugin": "warm", "raised": 1, "loaded": ["json"]})]


async def test_an_import_that_ends_the_process_means_the_ordinary_start(made: Plugin, root: Path) -> None:
    (root / "leaves.py").write_text("import os\nos._exit(5)\n")
    (root / "s.py").write_text("print(1)\n")
    files = FileGrant(read_only_paths=(str(root),))
    warm = await made.open(spec(SYSTEM_PYTHON, str(root / "s.py"), files=files), "leaves")
    assert await shown(await warm.start()) == 1
    assert len(made.cold) == 1


async def test_modules_beside_the_script_come_first_as_always(made: Plugin, root: Path) -> None:
    (root / "colorsys.py").write_text("NAME = 'of the plugin'\n")
    (root / "s.py").write_text("import colorsys, json\nprint(json.dumps(getattr(colorsys, 'NAME', '')))\n")
    files = FileGrant(read_only_paths=(str(root),))
    warm = await made.open(spec(SYSTEM_PYTHON, str(root / "s.py"), files=files), "colorsys")
    assert await shown(await warm.start()) == "of the plugin"


# --- with the official SDK ----------------------------------------------------------------------------------


async def test_a_server_of_the_official_sdk_starts_again_after_its_end(made: Plugin, root: Path) -> None:
    (root / "server.py").write_text(SERVER)
    files = FileGrant(read_only_paths=(str(root),))
    warm = await made.open(spec(sys.executable, str(root / "server.py"), files=files))
    for _ in range(3):
        async with connect_walled(
            start=warm.start,
            limits=JsonLimits(max_bytes=1 << 20),
            roots=(),
            gate_path=None,
            log=lambda event, **facts: None,
            on_list_changed=lambda: None,
            on_denial=lambda denial: None,
            grant=LimitGrant(),
        ) as walled:
            opened = await handshake(walled.session, END_S)
            surface = await list_surface(walled.session, opened, END_S)
            assert len(surface.tools) == 2
            with pytest.raises((SekishoError, TimeoutError)):
                await ask(walled.session, "tools/call", {"name": "end", "arguments": {"code": 3}}, 2)
            await asyncio.wait_for(walled.ended(), END_S)
    assert (warm.raised, made.cold) == (1, [])
    assert "mcp.server" in made.events[0][1]["loaded"]


@pytest.mark.requirement("A1.1")
@pytest.mark.threat("T-ORPHAN")
def test_a_house_with_a_warm_plugin_heals_and_leaves_nobody(
    build: Callable[[str], House], root: Path
) -> None:
    script = root / "server.py"
    script.write_text(SERVER)
    house = build(common() + plugin("sdk", script, operations=["echo", "end"]))
    assert house.call("sdk__echo", text="a").text == "a"
    server = house.pid("plugin sdk")

    def zygote() -> int:
        found = [pid for pid in house.tree(server) if "/etc/sekisho/warm.py" in command_of(pid)]
        return next((pid for pid in found if command_of(pid)[0] != "bwrap"), 0)

    first = zygote()
    assert first
    assert house.call("sdk__end", code=5).code != "ok"
    until(lambda: house.answers("sdk__echo", text="b"), "the plugin is forked again")
    assert zygote() == first
    kill(first)
    until(lambda: zygote() not in (0, first), "new walls are raised")
    until(lambda: house.answers("sdk__echo", text="c"), "the plugin serves again")
    family = {pid: birth_of(pid) for pid in house.tree(server)}
    kill(server)
    until(lambda: not alive(family), "its launcher, walls, fork server and plugin are gone")
    until(lambda: house.answers("sdk__echo", text="d"), "the plugin server comes back")
    family = {pid: birth_of(pid) for pid in house.tree()}
    kill(house.process.pid)
    until(lambda: not alive(family), "everybody is gone")

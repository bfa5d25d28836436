"""Our own walls, where bwrap is absent: what is theirs alone. What all walls promise is asked by the contract suite, the
escape suite and test_sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from pathlib import Path

import pytest
from tests.real.walled_run import END_S, finish, python_spec, start

from sekisho.sandbox import Native, driver_for, probe

pytestmark = pytest.mark.real

if missing := probe("native").missing:
    pytest.skip("; ".join(missing), allow_module_level=True)

LOOK = """
import json, os
def attempt(body):
    try:
        return ["ok", str(body())[:60]]
    except OSError as error:
        return [type(error).__name__, ""]
"""


async def test_without_bwrap_a_strict_plugin_gets_them_and_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    wanted = python_spec("print(6 * 7)", isolation="strict")
    async with driver_for(wanted) as driver:
        assert driver.name == "native"
        ended, out, _ = await finish(await start(driver, wanted))
    assert (ended.code, out) == (0, "42\n")


async def test_the_first_process_inside_is_closed_to_the_plugin() -> None:
    program = (
        LOOK
        + "print(json.dumps([attempt(lambda: open('/proc/1/mem', 'r+b')), attempt(lambda: open('/proc/1/fd/0')),"
        "attempt(lambda: open('/proc/1/environ').read()), attempt(lambda: os.readlink('/proc/1/exe')),"
        "attempt(lambda: os.kill(1, 9)), open('/proc/1/comm').read(), open('/proc/1/cmdline').read()]))"
    )
    async with Native() as driver:
        ended, out, err = await finish(await start(driver, python_spec(program)))
    assert ended.code == 0, err
    memory, files, environ, program_file, kill, name, line = json.loads(out)
    assert {memory[0], files[0], environ[0], program_file[0]} == {"PermissionError"}
    assert kill == [
        "ok",
        "None",
    ]  # the kernel lets nobody end the first process from inside, and says nothing
    assert name == "sekisho-init\n"
    assert "/" not in line


async def test_nothing_can_make_a_namespace_even_without_the_filter() -> None:
    program = "print(open('/proc/sys/user/max_user_namespaces').read().strip())"
    async with Native() as driver:
        _, out, _ = await finish(await start(driver, python_spec(program)))
    assert out == "0\n"


async def test_all_walls_are_up_before_the_program_runs() -> None:
    program = (
        "print(*[line.split()[1] for line in open('/proc/self/status')"
        " if line.startswith(('CapEff', 'CapBnd', 'CapAmb', 'NoNewPrivs', 'Seccomp:'))])"
    )
    async with Native() as driver:
        _, out, _ = await finish(await start(driver, python_spec(program)))
    none = "0" * 16
    assert sorted(out.split()) == sorted([none, none, none, "1", "2"])


async def test_the_tree_is_dead_when_kill_returns_daemons_and_all() -> None:
    program = (
        "import os, time\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0: time.sleep(600)\n"
        "        os._exit(0)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    async with Native() as driver:
        sandbox = await start(driver, python_spec(program))
        reading = asyncio.get_running_loop().run_in_executor(None, wait_line, sandbox.stdout_fd)
        assert await reading == b"up\n"
        ended = await sandbox.kill_tree()
        assert ended.reason == "killed"
        assert not Path("/proc", str(sandbox.pid)).exists()
        sandbox.close_fds()


def wait_line(fd: int) -> bytes:
    os.set_blocking(fd, True)
    return os.read(fd, 100)


async def test_nothing_outlives_the_launcher() -> None:
    async with Native() as driver:
        sandbox = await start(driver, python_spec("import time; time.sleep(600)"))
        launcher = driver.launcher_pid
        assert launcher is not None
        pidfd = os.pidfd_open(sandbox.pid)
        os.kill(launcher, signal.SIGKILL)
        loop = asyncio.get_running_loop()
        gone: asyncio.Future[None] = loop.create_future()
        loop.add_reader(pidfd, end, gone)
        try:
            async with asyncio.timeout(END_S):
                await gone
        finally:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        with contextlib.suppress(OSError):
            sandbox.close_fds()


def end(gone: asyncio.Future[None]) -> None:
    if not gone.done():
        gone.set_result(None)


async def test_a_program_that_cannot_be_executed_is_not_run_and_says_why(tmp_path: Path) -> None:
    broken = tmp_path.resolve() / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    async with Native() as driver:
        ended, _, err = await finish(await start(driver, python_spec("", argv=(str(broken),))))
    assert ended.reason == "not_run"
    assert "broken" in err

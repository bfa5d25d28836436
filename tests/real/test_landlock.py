"""Walls without namespaces, attacked where namespaces would have helped: each attack beside what must still work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.walled_run import finish, python_spec, start

from sekisho.errors import Misconfigured
from sekisho.policy import FileGrant, LimitGrant
from sekisho.sandbox import Landlock, Violation, probe

pytestmark = pytest.mark.real

HOST = probe("landlock")
if HOST.missing:
    pytest.skip("; ".join(HOST.missing), allow_module_level=True)

TRY: Final = """
import ctypes, errno, json, os, resource, socket, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
def attempt(body):
    try:
        value = body()
    except OSError as error:
        return errno.errorcode.get(error.errno, '?')
    return 'ok' if value is None else value
def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), '')
"""


@pytest.fixture
async def driver() -> AsyncIterator[Landlock]:
    """The driver, entered."""
    async with Landlock(HOST) as made:
        yield made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder without a link on its way."""
    return tmp_path.resolve()


async def answer(driver: Landlock, expressions: str, **more: Any) -> Any:
    """What each of these Python expressions came to inside."""
    lines = [line.strip() for line in expressions.strip().splitlines()]
    program = TRY + "print(json.dumps([" + ",".join(f"attempt(lambda: {line})" for line in lines) + "]))"
    ended, out, err = await finish(await start(driver, python_spec(program, **more)))
    assert ended.code == 0, (ended, err)
    return json.loads(out)


@pytest.mark.threat("T-READ-HOST")
async def test_only_grants_and_a_private_folder_can_be_opened(driver: Landlock, root: Path) -> None:
    for name in ("mine", "other"):
        (root / name).mkdir()
        (root / name / "x").write_text(name)
    shown = await answer(
        driver,
        f"""
        open('{root}/mine/x').read()
        open('{root}/mine/y', 'w').close()
        tempfile.mkstemp()[0] > 0
        os.listdir(os.path.expanduser('~'))
        open('{root}/other/x').read()
        os.listdir('/')
        os.listdir('/tmp')
        os.listdir('/dev/shm')
        open('/etc/passwd').read()
        open('/proc/1/cmdline').read()
        open('/proc/self/environ').read()
        os.link('{root}/other/x', '{root}/mine/z')
        open('/tmp/{root.name}', 'w').close()
        """,
        files=FileGrant(writable_paths=(f"{root}/mine",)),
    )
    assert shown[:4] == ["mine", "ok", True, []]
    assert set(shown[4:]) <= {"EACCES", "EXDEV"}, shown[4:]


@pytest.mark.threat("T-READ-HOST")
async def test_modes_owners_and_times_of_our_files_stay_as_they_are(driver: Landlock, root: Path) -> None:
    """Landlock says nothing of them: the plugin has our uid, and would only have to ask."""
    key = root / "key"
    key.write_text("secret")
    key.chmod(0o600)
    os.utime(key, (1, 1))
    mine = root / "mine"
    mine.mkdir()
    shown = await answer(
        driver,
        f"""
        os.chmod('{key}', 0o666)
        os.chmod('{key}', 0o666, follow_symlinks=True)
        os.utime('{key}', (5, 5))
        os.chown('{key}', os.getuid(), os.getgid())
        os.setxattr('{key}', 'user.x', b'x')
        os.fchmod(os.open('/etc/ld.so.cache', os.O_RDONLY), 0o644)
        os.chmod('{mine}', 0o700)
        """,
        files=FileGrant(writable_paths=(str(mine),)),
    )
    assert shown == [
        "ok",
        "ok",
        "ok",
        "ok",
        "ENOTSUP",
        "ok",
        "ok",
    ]  # answered as if done, so that git and tar go on
    found = key.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_mtime) == (0o600, 1)


@pytest.mark.threat("T-EGRESS")
async def test_no_socket_leads_anywhere_not_even_one_of_a_pair(driver: Landlock, root: Path) -> None:
    """A datagram socket of a pair could be pointed at any path, /dev/log for one, and Landlock knows no such path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, socket.socket(socket.AF_UNIX) as docker:
        log.bind(f"{root}/log")
        docker.bind(f"{root}/docker.sock")
        docker.listen()
        shown = await answer(
            driver,
            f"""
            socket.socket(socket.AF_INET).connect(('127.0.0.1', 1))
            socket.socket(socket.AF_UNIX).connect('{root}/docker.sock')
            socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0].sendto(b'x', '{root}/log')
            socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)[0].connect('{root}/docker.sock')
            socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0].sendto(b'x', '{root}/log') and None
            socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
            [pair := socket.socketpair(), pair[0].send(b'x')][1]
            """,
        )
        assert shown[:4] == ["EAFNOSUPPORT", "EAFNOSUPPORT", "EAFNOSUPPORT", "EPERM"]
        assert shown[5:] == ["EAFNOSUPPORT", 1]
        log.setblocking(False)
        with pytest.raises(BlockingIOError):
            log.recv(10)


async def test_other_processes_of_our_user_are_left_alone(driver: Landlock) -> None:
    victim = subprocess.Popen([shutil.which("sleep") or "sleep", "600"])  # noqa: ASYNC220 - it only sleeps
    try:
        before = os.sched_getaffinity(victim.pid)
        shown = await answer(
            driver,
            f"""
            os.kill({victim.pid}, 15)
            resource.prlimit({victim.pid}, resource.RLIMIT_CPU, (0, 0))
            os.sched_setaffinity({victim.pid}, {{0}})
            os.setpriority(os.PRIO_PROCESS, {victim.pid}, 19)
            open('/proc/{victim.pid}/environ').read()
            os.readlink('/proc/{victim.pid}/cwd')
            resource.prlimit(0, resource.RLIMIT_NOFILE)[0] > 0
            os.sched_setaffinity(0, os.sched_getaffinity(0))
            os.setpriority(os.PRIO_PROCESS, 0, 5)
            """,
        )
        signals = "EPERM" if HOST.landlock_abi >= 6 else "ok"
        assert shown[0] == signals
        assert set(shown[1:6]) <= {"EPERM", "EACCES"}, shown
        assert shown[6:] == [True, "ok", "ok"]
        assert os.sched_getaffinity(victim.pid) == before
        assert victim.poll() is None or signals == "ok"
    finally:
        victim.kill()
        victim.wait()


async def test_what_the_host_shares_is_shut(driver: Landlock, root: Path) -> None:
    shown = await answer(
        driver,
        f"""
        checked(libc.shmget(1234, 4096, 0o1666))
        checked(libc.msgget(1234, 0o1666))
        checked(libc.semget(1234, 1, 0o1666))
        checked(libc.inotify_add_watch(libc.inotify_init1(0), b'{root}', 0xfff))
        checked(libc.mq_open(b'/x', 0o102, 0o600, None))
        """,
    )
    assert set(shown) <= {"EPERM", "EACCES"}, shown


async def test_the_private_folder_is_gone_with_the_plugin_whatever_it_left(driver: Landlock) -> None:
    ended, out, err = await finish(
        await start(
            driver,
            python_spec(
                "import os\nh = os.path.expanduser('~')\nos.makedirs(h + '/a/b')\nopen(h + '/a/b/x', 'w').close()\n"
                "os.symlink('/etc', h + '/a/link')\nprint(h)"
            ),
        )
    )
    assert ended.code == 0, err
    assert not Path(out.strip()).parent.exists()


async def test_daemons_end_with_the_plugin(driver: Landlock, root: Path) -> None:
    marker = f"sekisho-daemon-{os.getpid()}"
    program = (
        "import os, sys\nready, told = os.pipe()\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.write(told, b'x')\n"
        f"        os.execv(sys.executable, [{marker!r}, '-c', 'import time; time.sleep(600)'])\n"
        "    os._exit(0)\nos.read(ready, 1)\nos.wait()"
    )
    ended, _, err = await finish(await start(driver, python_spec(program)))
    assert ended.code == 0, err
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(marker.encode() in line for line in lines)


async def test_scratch_space_ends_where_the_plugin_may_use_no_more(driver: Landlock) -> None:
    program = (
        "import os, time\nwith open(os.path.expanduser('~/x'), 'wb') as file:\n"
        "    for _ in range(600):\n        file.write(bytes(1 << 20)); file.flush(); time.sleep(0.01)"
    )
    limits = LimitGrant(max_memory_mb=512, max_tmp_mb=8)
    sandbox = await start(driver, python_spec(program, limits=limits))
    ended, _, _ = await finish(sandbox)
    assert ended.signal == signal.SIGKILL
    assert Violation(kind="disk", what="scratch space") in sandbox.violations()


@pytest.mark.parametrize(("threads", "ends"), [(40, True), (4, False)])
async def test_threads_count_as_processes_do_where_no_control_group_counts(threads: int, ends: bool) -> None:
    program = (
        "import threading\nwait = threading.Event()\n"
        f"every = [threading.Thread(target=wait.wait, args=(2,), daemon=True) for _ in range({threads})]\n"
        "for one in every: one.start()\nfor one in every: one.join()"
    )
    async with Landlock(replace(HOST, cgroup="none", cgroup_parents=())) as driver:
        sandbox = await start(driver, python_spec(program, limits=LimitGrant(max_pids=10)))
        ended, _, _ = await finish(sandbox)
    assert (ended.signal == signal.SIGKILL) == ends


@pytest.mark.parametrize(
    "hidden", ["os.mkdir('x', 0o300)", "[(os.mkdir('d' * 200), os.chdir('d' * 200)) for _ in range(40)]"]
)
async def test_scratch_space_that_nobody_can_look_into_counts_as_full(hidden: str) -> None:
    program = (
        f"import os, time\nos.chdir(os.path.expanduser('~'))\n{hidden}\n"
        "if os.path.isdir('x'): os.chdir('x')\n"
        "with open('x', 'wb') as file:\n"
        "    for _ in range(200):\n        file.write(bytes(1 << 18)); file.flush(); time.sleep(0.02)"
    )
    limits = LimitGrant(max_memory_mb=512, max_tmp_mb=8)
    async with Landlock(HOST) as driver:
        sandbox = await start(driver, python_spec(program, limits=limits))
        ended, _, err = await finish(sandbox)
    assert ended.signal == signal.SIGKILL, err
    assert Violation(kind="disk", what="scratch space") in sandbox.violations()


async def test_a_hole_in_a_grant_is_refused_because_it_could_not_be_kept(
    driver: Landlock, root: Path
) -> None:
    (root / "data" / "private").mkdir(parents=True)
    files = FileGrant(read_only_paths=(f"{root}/data",), blocked_paths=(f"{root}/data/private",))
    with pytest.raises(Misconfigured, match="Landlock adds rights"):
        await driver.plan(python_spec("", files=files))


async def test_a_plugin_that_wants_the_network_is_refused(driver: Landlock) -> None:
    with pytest.raises(Misconfigured, match="wants the network"):
        await driver.plan(python_spec("", wants_network=True))


INSIDE: Final = """
import asyncio, ctypes, os, sys
sys.path[:0] = %(path)r
from tests.real.walled_run import finish, python_spec, start
from sekisho.errors import Misconfigured
from sekisho.sandbox import driver_for

async def main():
    try:
        driver_for(python_spec("", isolation="strict"))
        print("strict was given")
    except Misconfigured as error:
        print("refused:", "max_user_namespaces" in error.message)
    wanted = python_spec("print(open('/etc/passwd').read())", isolation="standard")
    async with driver_for(wanted) as driver:
        ended, out, err = await finish(await start(driver, wanted))
        print(driver.name, ended.code, "PermissionError" in err)
        ended, out, err = await finish(await start(driver, python_spec("print(6 * 7)", isolation="standard")))
        print(ended.code, out.strip())

libc = ctypes.CDLL(None, use_errno=True)
uid, gid = os.geteuid(), os.getegid()
assert libc.unshare(0x10000000) == 0
open("/proc/self/setgroups", "w").write("deny")
open("/proc/self/uid_map", "w").write(f"{uid} {uid} 1")
open("/proc/self/gid_map", "w").write(f"{gid} {gid} 1")
open("/proc/sys/user/max_user_namespaces", "w").write("0")
asyncio.run(main())
"""


@pytest.mark.skipif(HOST.landlock_abi < 6, reason="standard needs Landlock ABI 6")
def test_where_user_namespaces_are_disabled_a_strict_plugin_is_refused_and_a_standard_one_walled(
    tmp_path: Path,
) -> None:
    """A parent sandbox that allows no user namespaces, as a hardened container does."""
    if probe("native").missing:
        pytest.skip("the parent sandbox of this test is a user namespace")
    path = [entry for entry in sys.path if entry] + [str(Path.cwd())]
    ended = subprocess.run(
        [sys.executable, "-c", INSIDE % {"path": path}],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": str(tmp_path), "TMPDIR": str(tmp_path)},
    )
    assert ended.stdout.splitlines() == ["refused: True", "landlock 1 True", "0 42"], ended.stderr

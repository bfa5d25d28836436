"""What the walls refuse of a plugin's attempts on files is told with its path and reason, by every kind of walls."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from tests.real.walled_run import END_S, finish, python_spec, start

from sekisho.launcher.ledger import BURST_CPU_S, CPU_SHARE
from sekisho.policy import FileGrant
from sekisho.sandbox import Bubblewrap, Denied, Landlock, Launched, Native, Sandbox, glance, probe
from sekisho.sandbox.running.forked import readable

pytestmark = [pytest.mark.real, pytest.mark.requirement("A2.3")]

if not glance("native").alarm:
    pytest.skip("this kernel cannot report attempts on files", allow_module_level=True)

KINDS: Final = {kind.name: kind for kind in (Bubblewrap, Native, Landlock)}
OPENAT: Final = 257 if glance().machine == "x86_64" else 56
FLOOD_S: Final = 1.0
SLACK_S: Final = 0.1  # two looks at the processor time, and the clock's own grain


@pytest.fixture(params=list(KINDS))
async def driver(request: pytest.FixtureRequest) -> AsyncIterator[Launched]:
    """Each kind that this host has."""
    found = probe(request.param)
    if found.missing:
        pytest.skip("; ".join(found.missing))
    async with KINDS[request.param](found) as made:
        yield made


class Ground:
    """Folders of the host: one to write, one to read, one that nobody listed."""

    def __init__(self, base: Path) -> None:
        base.chmod(0o755)
        self.base = base.resolve()
        self.work, self.kept, self.other = (self.base / name for name in ("work", "kept", "other"))
        for folder in (self.work, self.kept, self.other):
            folder.mkdir()
            folder.chmod(0o777)
            (folder / "file").write_text("there")

    @property
    def files(self) -> FileGrant:
        """As granted."""
        return FileGrant(read_only_paths=(str(self.kept),), writable_paths=(str(self.work),))


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """New ones."""
    return Ground(tmp_path)


TRY: Final = """
import os, sys
def attempt(call, *words):
    try: call(*words)
    except OSError: return
"""


async def denied_in(driver: Launched, program: str, ground: Ground, told: str = "all") -> list[Denied]:
    """What a program was refused, once it has ended."""
    sandbox = await start(driver, python_spec(TRY + program, files=ground.files, told_paths=told))
    ended, _, err = await finish(sandbox)
    assert ended.code == 0, err
    return list(sandbox.take_denied())


def shown(denied: list[Denied]) -> set[tuple[str, str, str]]:
    return {(one.act, one.path, one.reason) for one in denied}


@pytest.mark.threat("T-READ-HOST")
async def test_what_is_not_listed_is_told_however_it_is_called(driver: Launched, ground: Ground) -> None:
    secret, link = ground.other / "file", ground.work / "link"
    ways = (
        f"attempt(open, '{secret}')",
        f"attempt(os.open, '{ground.work}/../other/file', os.O_RDONLY)",
        f"os.chdir('{ground.work}'); attempt(open, '../other/file')",
        f"fd = os.open('{ground.work}', os.O_PATH); attempt(lambda: os.open('../other/file', 0, dir_fd=fd))",
        f"os.symlink('{secret}', '{link}'); attempt(open, '{link}')",
        f"os.symlink('{secret}', '{link}'); attempt(open, '/{link}'); os.unlink('{link}')",
        f"os.symlink('{secret}', '{link}'); attempt(open, '/.{link}'); os.unlink('{link}')",
        f"attempt(open, '/proc/self/root{secret}')",
        f"attempt(os.execv, '{secret}', ['x'])",
    )
    for way in ways:
        link.unlink(missing_ok=True)
        assert shown(await denied_in(driver, way, ground)) == {("read", str(secret), "unlisted")}, way


# Both memories have a page at one address (above what a heap may be given), and only the old one names there what may be
# opened.
TWO_MEMORIES: Final = """
import ctypes, mmap, signal, threading
THERE, libc = 0x7000_0000, ctypes.CDLL(None, use_errno=True)
libc.mmap.argtypes = ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long
libc.mmap(THERE, 4096, 3, 0x10 | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
def opened(path):
    ctypes.memmove(THERE, path + b"\\0", len(path) + 1)
    libc.syscall({number}, -100, ctypes.c_void_p(THERE), 0, 0)
if len(sys.argv) == 1:
    stack = ctypes.create_string_buffer(1 << 16)
    pause = ctypes.cast(libc.pause, ctypes.c_void_p)
    keeper = libc.clone(pause, ctypes.c_void_p(ctypes.addressof(stack) + (1 << 16)), 0x100 | signal.SIGCHLD, None)
    assert keeper > 0, ctypes.get_errno()
    def run(): os.execv(sys.executable, [sys.executable, "-c", PROGRAM, "again"])
    threading.Thread(target=run, daemon=True).start()
    while True: opened(b"/usr/bin/env")
opened({secret!r})
"""


@pytest.mark.threat("T-READ-HOST")
async def test_what_a_plugin_opens_after_it_became_another_program_is_told(
    driver: Launched, ground: Ground
) -> None:
    """Somebody keeps the memory that the plugin had before, and a thread takes its number with another memory."""
    again = TRY + TWO_MEMORIES.format(number=OPENAT, secret=os.fsencode(ground.other / "file"))
    for _ in range(3):
        assert shown(await denied_in(driver, f"PROGRAM = {again!r}\nexec(PROGRAM)", ground)) == {
            ("read", f"{ground.other}/file", "unlisted")
        }


async def test_what_may_only_be_read_is_told_when_it_is_to_be_changed(
    driver: Launched, ground: Ground
) -> None:
    kept = ground.kept
    program = (
        f"attempt(open, '{kept}/file', 'w')\nattempt(open, '{kept}/new', 'x')\nattempt(os.mkdir, '{kept}/folder')\n"
        f"attempt(os.symlink, 'x', '{kept}/link')\nattempt(os.rename, '{kept}/file', '{kept}/moved')\n"
        f"attempt(os.open, '{ground.other}/planted', os.O_WRONLY | os.O_CREAT)\n"
    )
    assert shown(await denied_in(driver, program, ground)) == {
        *(("write", f"{kept}/{name}", "read_only") for name in ("file", "new", "folder", "link")),
        ("write", f"{ground.other}/planted", "unlisted"),
    } | ({("write", f"{kept}/moved", "read_only")} & shown(await denied_in(driver, program, ground)))


@pytest.mark.threat("T-READ-HOST")
async def test_a_blocked_path_is_told_whether_anything_is_there_or_not(
    driver: Launched, ground: Ground
) -> None:
    if driver.name == "landlock":
        pytest.skip("Landlock cannot block what lies in a granted folder, and refuses to start")
    (ground.work / "secret").mkdir()
    files = FileGrant(writable_paths=(str(ground.work),), blocked_paths=(str(ground.work / "secret"),))
    program = f"attempt(os.listdir, '{ground.work}/secret')\nattempt(open, '{ground.work}/secret/none')\n"
    sandbox = await start(driver, python_spec(TRY + program, files=files))
    await finish(sandbox)
    assert shown(list(sandbox.take_denied())) == {
        ("read", f"{ground.work}/secret", "blocked"),
        ("read", f"{ground.work}/secret/none", "blocked"),
    }


async def test_permitted_work_is_not_told(driver: Launched, ground: Ground) -> None:
    program = (
        "import ssl, json, sqlite3, asyncio, http.client, tempfile, subprocess, locale\n"
        "ssl.create_default_context(); subprocess.run(['/bin/sh', '-c', 'ls /; date']); locale.setlocale(0, '')\n"
        f"os.makedirs('{ground.work}/a/b', exist_ok=True); open('{ground.work}/a/f', 'w').close()\n"
        f"os.rename('{ground.work}/a/f', '{ground.work}/g'); os.unlink('{ground.work}/g')\n"
        f"open('{ground.kept}/file').close()\n"
        f"b = sqlite3.connect('{ground.work}/x.db'); b.execute('create table t (a)'); b.commit()\n"
        "attempt(open, '/nowhere/at/all'); attempt(open, os.path.expanduser('~/.cache/none'))\n"
        "attempt(os.makedirs, os.path.expanduser('~/.cache/a')); tempfile.mkdtemp()\n"
    )  # fmt: skip
    assert await denied_in(driver, program, ground) == []


async def test_what_a_plugin_does_just_before_its_end_is_not_mistaken(
    driver: Launched, ground: Ground
) -> None:
    """Whoever looks afterwards finds no device any more, where one was opened for writing."""
    words = ": > /dev/null; : >> /dev/zero; : < /etc/hostname"
    for _ in range(5):
        sandbox = await start(driver, python_spec("", argv=("/bin/sh", "-c", words), files=ground.files))
        await finish(sandbox)
        assert shown(list(sandbox.take_denied())) == set()


@pytest.mark.parametrize("program", ["node", "git"])
async def test_other_programs_at_their_own_work_are_not_told(
    driver: Launched, ground: Ground, program: str
) -> None:
    found = shutil.which(program, path="/usr/bin:/bin")
    if found is None:
        pytest.skip(f"{program} is not installed")
    git = (
        f"cd {ground.work} && git init -q one && cd one && git config user.email a@b.c && git config user.name a && "
        "echo x > f && git add f && git commit -q -m first && git status && cd .. && git clone -q one two"
    )
    argv = {
        "git": ("/bin/sh", "-c", git),
        "node": (found, "-e", "require('fs').writeFileSync(require('os').tmpdir()+'/x','1');require('tls')"),
    }[program]
    sandbox = await start(driver, python_spec("", argv=argv, files=ground.files))
    ended, _, err = await finish(sandbox)
    assert ended.code == 0, err
    assert sandbox.take_denied() == ()


async def test_only_changes_are_told_where_only_they_are_asked_for(driver: Launched, ground: Ground) -> None:
    program = f"attempt(open, '{ground.other}/file'); attempt(open, '{ground.kept}/file', 'w')"
    assert shown(await denied_in(driver, program, ground, "changes")) == {
        ("write", f"{ground.kept}/file", "read_only")
    }
    assert await denied_in(driver, program, ground, "none") == []


@pytest.mark.threat("T-READ-HOST")
async def test_asking_is_told_where_that_is_asked_for(driver: Launched, ground: Ground) -> None:
    secret, kept = ground.other / "file", ground.kept / "file"
    (ground.work / "mine").write_text("mine")
    program = (
        f"os.stat('{ground.work}/mine'); os.stat('{kept}'); os.chdir('{ground.work}'); os.path.exists('/no/such')\n"
        f"os.path.exists('none'); os.fstat(0); os.utime('mine')\n"
    )
    if driver.name == "landlock":  # it does not refuse the one, and does not do the other
        program += f"os.stat('{secret}'); os.utime('{kept}')\n"
    else:
        program += (
            f"attempt(os.stat, '{secret}'); attempt(os.readlink, '{secret}x'); attempt(os.utime, '{kept}')\n"
        )
    (ground.other / "filex").symlink_to("/etc")
    assert shown(await denied_in(driver, program, ground)) == set()
    told = shown(await denied_in(driver, program, ground, told="asked"))
    assert told == (
        set()
        if driver.name == "landlock"
        else {
            ("read", str(secret), "unlisted"),
            ("read", f"{secret}x", "unlisted"),
            ("write", str(kept), "read_only"),
        }
    )


async def test_what_is_told_is_told_while_the_plugin_runs_and_each_path_once(
    driver: Launched, ground: Ground
) -> None:
    program = f"for _ in range(5): attempt(open, '{ground.other}/file')\nsys.stdin.read()"
    sandbox = await start(driver, python_spec(TRY + program, files=ground.files))
    seen: list[Denied] = []
    async with asyncio.timeout(END_S):
        while not seen:
            await asyncio.sleep(0.02)
            seen += sandbox.take_denied()
    assert shown(seen) == {("read", f"{ground.other}/file", "unlisted")}
    await sandbox.kill_tree()
    sandbox.close_fds()
    seen += sandbox.take_denied()
    assert sum(1 + one.left_out for one in seen) == 5


async def test_hostile_memory_threads_and_long_paths_leave_the_plugin_and_its_watcher_at_work(
    driver: Launched, ground: Ground
) -> None:
    program = (
        "import ctypes, threading\n"
        "libc = ctypes.CDLL(None)\n"
        f"number = {OPENAT}\n"
        "for pointer in (0, 1, 4096, (1 << 47) - 1, -1): libc.syscall(number, -100, ctypes.c_long(pointer), 0, 0)\n"
        "attempt(open, '/' + 'a' * 4094); attempt(open, '/' + 'b/' * 2047); attempt(open, 'x' * 300)\n"
        "attempt(lambda: os.open('x', 0, dir_fd=99)); attempt(open, b'/\\xff\\xfe'); libc.prctl(4, 0, 0, 0, 0)\n"
        "room = ctypes.create_string_buffer(b'/usr/bin/env' + bytes(600))\n"
        "over = threading.Event()\n"
        f"def change():\n  while not over.is_set(): room.value = b'{ground.other}/file'; room.value = b'/usr/bin/env'\n"
        "threads = [threading.Thread(target=change) for _ in range(2)]\n"
        "[one.start() for one in threads]\n"
        "for _ in range(500): libc.syscall(number, -100, room, 0, 0)\n"
        "over.set(); [one.join() for one in threads]; libc.prctl(4, 1, 0, 0, 0)\n"
        f"attempt(open, '{ground.kept}/file', 'w')\n"
    )
    told = shown(await denied_in(driver, program, ground))
    assert ("write", f"{ground.kept}/file", "read_only") in told
    assert told <= {
        ("write", f"{ground.kept}/file", "read_only"),
        ("read", f"{ground.other}/file", "unlisted"),
    }


async def test_a_plugin_that_opens_without_end_waits_and_others_do_not(
    driver: Launched, ground: Ground
) -> None:
    program = f"while True: attempt(open, '{ground.other}/file'); attempt(open, '/usr/bin/env')"
    began = time.monotonic()
    sandbox = await start(driver, python_spec(TRY + program, files=ground.files))
    await asyncio.sleep(3 * FLOOD_S)
    watchers = [pid for pid in children_of(driver.launcher_pid or 0) if is_watcher(pid)]
    used_s = sum(map(ticks, watchers)) / os.sysconf("SC_CLK_TCK")
    may_s = BURST_CPU_S + CPU_SHARE * (time.monotonic() - began)
    other = await start(driver, python_spec("print('served')"))
    _, out, _ = await finish(other)
    assert out == "served\n"
    assert watchers
    assert used_s <= may_s + SLACK_S
    await sandbox.kill_tree()
    sandbox.close_fds()
    told = sandbox.take_denied()
    assert 0 < len(told) < 10
    assert sum(1 + one.left_out for one in told) > 100


@pytest.mark.parametrize("victim", ["launcher", "watcher"])
async def test_without_its_launcher_or_its_watcher_a_plugin_ends(driver: Launched, victim: str) -> None:
    sandbox = await start(
        driver, python_spec("import time\nwhile True: time.sleep(0.1); open('/usr/bin/env').close()")
    )
    launcher = driver.launcher_pid or 0
    watcher = next(pid for pid in children_of(launcher) if is_watcher(pid))
    both = [os.pidfd_open(sandbox.inner_pid), os.pidfd_open(watcher)]
    os.kill(launcher if victim == "launcher" else watcher, signal.SIGKILL)
    async with asyncio.timeout(END_S):
        assert (await sandbox.wait()).code != 0
        for pidfd in both:
            await readable(pidfd)
            os.close(pidfd)
    sandbox.close_fds()


async def test_a_plugin_leaves_no_watcher_behind(driver: Launched) -> None:
    seen: set[int] = set()
    for _ in range(3):
        sandbox: Sandbox = await start(driver, python_spec("import time\ntime.sleep(60)"))
        (watcher,) = watchers_of(driver)
        assert watcher not in seen, "each plugin has one of its own"
        seen.add(watcher)
        pidfd = os.pidfd_open(watcher)
        await sandbox.kill_tree()
        sandbox.close_fds()
        async with asyncio.timeout(END_S):
            await readable(pidfd)
        os.close(pidfd)
        assert not [pid for pid in watchers_of(driver) if holds_a_listener(pid)], "only one that waits"


def watchers_of(driver: Launched) -> list[int]:
    return [pid for pid in children_of(driver.launcher_pid or 0) if is_watcher(pid)]


def holds_a_listener(pid: int) -> bool:
    try:
        return any("seccomp" in str(one.readlink()) for one in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_watcher(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sekisho-watcher")
    except OSError:
        return False


def ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])

"""What containers refuse is told with its path and reason while the plugin runs, by podman and by docker alike, and in an
image that has nothing of this host's.
"""

from __future__ import annotations

import asyncio
import io
import os
import platform
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from tests.real.conftest import until
from tests.real.test_oci import END_S, docker_host, driver, spec, start  # noqa: F401  # fixtures are found by their names
from tests.real.walled_run import finish

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, NetworkGrant
from sekisho.sandbox import Denied, Sandbox
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.oci.engine import find_engine
from sekisho.sandbox.oci.start_program import MACHINES

pytestmark = [pytest.mark.real, pytest.mark.requirement("B8", "A2.3")]

if platform.machine() not in MACHINES:
    pytest.skip("the start program is for x86-64", allow_module_level=True)

IMAGE: Final = "localhost/sekisho-foreign:1"
TRY: Final = """
import ctypes, os, sys
def attempt(call, *words):
    try: call(*words)
    except OSError: return
"""


class Ground:
    """Folders of the host: one to write, one to read with a blocked place in it, one that nobody listed."""

    def __init__(self, base: Path) -> None:
        for folder in (base, *base.parents[:2]):
            folder.chmod(0o755)
        self.work, self.kept, self.other = (base.resolve() / name for name in ("work", "kept", "other"))
        for folder in (self.work, self.kept, self.other, self.kept / "secret"):
            folder.mkdir()
            folder.chmod(0o777)
            (folder / "file").write_text("there")

    @property
    def grants(self) -> Grants:
        files = FileGrant(
            read_only_paths=(str(self.kept),),
            writable_paths=(str(self.work),),
            blocked_paths=(str(self.kept / "secret"),),
        )
        return Grants(files=files)


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def shown(denied: list[Denied]) -> set[tuple[str, str, str]]:
    return {(one.act, one.path, one.reason) for one in denied}


async def denied_in(driver: Oci, program: str, ground: Ground) -> list[Denied]:  # noqa: F811
    sandbox = await start(driver, spec(TRY + program, grants=ground.grants))
    ended, _, err = await finish(sandbox)
    assert ended.code == 0, err
    return list(sandbox.take_denied())


@pytest.mark.threat("T-READ-HOST")
async def test_paths_that_are_refused_are_told_with_the_reason(driver: Oci, ground: Ground) -> None:  # noqa: F811
    program = (
        f"attempt(open, '{ground.other}/file')\nattempt(open, '{ground.kept}/file', 'w')\n"
        f"attempt(os.mkdir, '{ground.kept}/new')\nattempt(open, '{ground.kept}/secret/file')\n"
        f"attempt(os.open, '{ground.work}/../other/planted', os.O_WRONLY | os.O_CREAT)\n"
    )
    assert shown(await denied_in(driver, program, ground)) == {
        ("read", f"{ground.other}/file", "unlisted"),
        ("write", f"{ground.kept}/file", "read_only"),
        ("write", f"{ground.kept}/new", "read_only"),
        ("read", f"{ground.kept}/secret/file", "blocked"),
        ("write", f"{ground.other}/planted", "unlisted"),
    }


async def test_permitted_work_is_not_told(driver: Oci, ground: Ground) -> None:  # noqa: F811
    program = (
        "import ssl, json, sqlite3, asyncio, http.client, tempfile, subprocess, locale\n"
        "ssl.create_default_context(); subprocess.run(['/bin/sh', '-c', 'ls /; date']); locale.setlocale(0, '')\n"
        f"os.makedirs('{ground.work}/a/b'); open('{ground.work}/a/f', 'w').close()\n"
        f"os.rename('{ground.work}/a/f', '{ground.work}/g'); os.unlink('{ground.work}/g')\n"
        f"open('{ground.kept}/file').close(); tempfile.mkdtemp(); attempt(open, '/nowhere/at/all')\n"
    )
    assert await denied_in(driver, program, ground) == []


async def test_a_refusal_is_told_while_the_plugin_runs(driver: Oci, ground: Ground) -> None:  # noqa: F811
    program = f"attempt(open, '{ground.other}/file'); ctypes.CDLL(None).unshare(0x10000000)\nsys.stdin.read()"
    sandbox = await start(driver, spec(TRY + program, grants=ground.grants))
    denied: list[Denied] = []
    async with asyncio.timeout(END_S):
        while not (denied and sandbox.violations()):
            denied += sandbox.take_denied()
            await asyncio.sleep(0.02)
    assert shown(denied) == {("read", f"{ground.other}/file", "unlisted")}
    assert [one.what for one in sandbox.violations()] == ["unshare"]
    await sandbox.kill_tree()
    sandbox.close_fds()


async def test_without_its_watcher_a_plugin_ends(driver: Oci) -> None:  # noqa: F811
    until(lambda: not watchers(), "those of other tests have ended", END_S)
    sandbox = await start(
        driver, spec("import time\nwhile True: time.sleep(0.1); open('/usr/bin/env').close()")
    )
    (watcher,) = watchers()
    os.kill(watcher, signal.SIGKILL)
    ended = await asyncio.wait_for(sandbox.wait(), END_S)
    sandbox.close_fds()
    assert ended.code != 0
    until(lambda: not watchers(), "no watcher is left", END_S)


async def test_the_network_is_there_before_its_first_instruction(driver: Oci) -> None:  # noqa: F811
    program = "import socket; socket.create_connection(('127.0.0.1', 3128), 5)"
    grants = Grants(network=NetworkGrant(allowed_domains=("api.example.com",)))
    sandbox = await start(driver, spec(program, grants=grants, wants_network=True))
    assert sandbox.gate_sockets is not None
    ended, _, err = await finish(sandbox)
    assert ended.code == 0, err


@pytest.fixture
def foreign(driver: Oci) -> Iterator[Oci]:  # noqa: F811
    """The same engine with an image of its own: a shell, its libraries, and a file."""
    engine = find_engine(driver._wanted, environment=os.environ)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for path in {os.path.realpath("/bin/dash"), *libraries("/bin/dash")}:
            name = "opt/bin/server-shell" if path.endswith("/dash") else path
            tar.add(os.path.realpath(path), name.lstrip("/"))
        note = tarfile.TarInfo("srv/note")
        note.size, note.mode = 5, 0o644
        tar.addfile(note, io.BytesIO(b"mine\n"))
    subprocess.run(
        engine.command("import", "-", IMAGE), input=content.getvalue(), check=True, capture_output=True, timeout=60,
        env=engine.environment,
    )  # fmt: skip
    driver._image = IMAGE
    yield driver
    subprocess.run(
        engine.command("rmi", "--force", IMAGE),
        check=False,
        capture_output=True,
        timeout=60,
        env=engine.environment,
    )


async def run_foreign(driver: Oci, command: tuple[str, ...], ground: Ground) -> Sandbox:  # noqa: F811
    return await start(driver, replace(spec("", grants=ground.grants, image=IMAGE), argv=command))


@pytest.mark.threat("T-READ-HOST")
async def test_an_image_that_has_nothing_of_ours_is_watched_too(foreign: Oci, ground: Ground) -> None:
    if shutil.which("dash") is None:
        pytest.skip("the image is made of dash, which this host has not")
    other, work = f"{ground.other}/file", f"{ground.work}/y"
    script = f"read line < /srv/note; echo $line; read a < {other}; echo x > /srv/note; echo y > {work}"
    sandbox = await run_foreign(foreign, ("/opt/bin/server-shell", "-c", script), ground)
    _, out, _ = await finish(sandbox)
    assert out == "mine\n"
    assert (ground.work / "y").read_text() == "y\n"
    assert shown(list(sandbox.take_denied())) == {
        ("read", f"{ground.other}/file", "unlisted"),
        ("write", "/srv/note", "read_only"),
    }


async def test_what_an_image_has_not_cannot_be_started_and_is_named(foreign: Oci, ground: Ground) -> None:
    with pytest.raises(Misconfigured, match="/opt/bin/none: No such file"):
        await run_foreign(foreign, ("/opt/bin/none",), ground)


def libraries(program: str) -> list[str]:
    asked = ["/usr/bin/ldd", program]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20).stdout
    return re.findall(r"(/\S+)", said)


def watchers() -> list[int]:
    """Those that are ours."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().startswith(b"sekisho-watcher"):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found += [int(entry.name)] if int(fields[1]) == os.getpid() else []
        except OSError:  # it has gone
            continue
    return found

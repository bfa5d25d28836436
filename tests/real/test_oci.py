"""Containers as walls: the same plan carried out by podman and by docker, tried from inside and outside."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from tests.real.conftest import until
from tests.real.docker_service import docker_lacks, docker_service

from sekisho.errors import Misconfigured
from sekisho.policy.grants import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.oci.driver import Oci
from sekisho.sandbox.oci.engine import find_engine, owner_of
from sekisho.sandbox.oci.words import LABEL
from sekisho.sandbox.running.sandbox import Sandbox

pytestmark = [pytest.mark.real, pytest.mark.requirement("B8")]

PYTHON: Final = "/usr/bin/python3"
END_S: Final = 30.0
OWNER_ID: Final = 612_345
LOOK: Final = """
import json, os, socket
def text(path):
    try:
        return open(path).read()
    except OSError as error:
        return type(error).__name__
status = dict(line.split(":\\t", 1) for line in text("/proc/self/status").splitlines() if ":\\t" in line)
print(json.dumps({
    "uid": os.getuid(), "root": sorted(os.listdir("/")), "caps": status["CapEff"].strip(),
    "bounding": status["CapBnd"].strip(), "no_new_privs": status["NoNewPrivs"].strip(),
    "seccomp": status["Seccomp"].strip(), "hosts": text("/etc/hosts"), "passwd": text("/etc/passwd"),
    "environment": dict(os.environ),
    "net": [line.split(":")[0].strip() for line in text("/proc/net/dev").splitlines()[2:]],
    "read": text("{read}"), "secret": text("{secret}"), "pids": [one for one in os.listdir("/proc") if one.isdigit()],
}))
"""
TRY: Final = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    return "ok" if done >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")
def attempt(function, *arguments):
    try:
        function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, "?")
    return "ok"
def write(path):
    with open(path, "w") as file:
        file.write("x")
print(json.dumps({
    "unshare": call(272, 0x10000000), "mount": call(165, 0, 0, 0, 0, 0), "ptrace": call(101, 16, 1, 0, 0),
    "keyctl": call(250, 0, -3, 0), "io_uring": call(425, 1, 0), "bpf": call(321, 0, 0, 0),
    "vsock": attempt(socket.socket, 40, socket.SOCK_STREAM), "packet": attempt(socket.socket, 17, socket.SOCK_RAW),
    "icmp": attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM, 1), "root": attempt(write, "/x"),
    "usr": attempt(write, "/usr/x"), "core_pattern": attempt(write, "/proc/sys/kernel/core_pattern"),
    "tmp": attempt(write, "/tmp/x"), "home": attempt(write, os.path.expanduser("~/x")),
    "granted": attempt(write, "{writable}/x"), "tcp": attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM),
}))
"""


@pytest.fixture(scope="module")
def docker_host() -> Iterator[str | None]:
    """Where docker listens: a service of our own, if there is none; None where it cannot be started."""
    docker = shutil.which("docker")
    if docker is None:
        yield None
        return
    if subprocess.run([docker, "info"], capture_output=True, check=False, timeout=60).returncode == 0:
        yield os.environ.get("DOCKER_HOST", "")
        return
    if docker_lacks():
        yield None
        return
    with docker_service() as address:
        yield address


@pytest.fixture(params=["podman", "docker"])
async def driver(
    request: pytest.FixtureRequest, docker_host: str | None, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Oci]:
    """A driver of one engine."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    if request.param == "docker":
        if docker_host is None:
            pytest.skip("docker has no service here, and none can be started")
        monkeypatch.setenv("DOCKER_HOST", docker_host)
    async with Oci(request.param, environment=os.environ) as one:
        yield one


def spec(program: str, name: str = "notes", **more: Any) -> SandboxSpec:
    owner = OWNER_ID if os.geteuid() == 0 else None
    return SandboxSpec(
        name=name, argv=(PYTHON, "-Ic", program), driver="oci", owner=owner, **{"grants": Grants(), **more}
    )


async def start(driver: Oci, wanted: SandboxSpec) -> Sandbox:
    return await driver.launch(await driver.plan(wanted))


async def said(sandbox: Sandbox) -> dict[str, Any]:
    """The one line it prints."""
    os.set_blocking(sandbox.stdout_fd, True)
    with os.fdopen(os.dup(sandbox.stdout_fd), "rb") as output:
        line = await asyncio.wait_for(asyncio.to_thread(output.readline), END_S)
    await asyncio.wait_for(sandbox.wait(), END_S)
    sandbox.close_fds()
    return dict(json.loads(line))


def containers(driver: Oci) -> list[str]:
    engine = find_engine(driver._wanted, environment=os.environ)  # the same engine, asked beside the driver
    asked = engine.command("ps", "--all", "--quiet", "--filter", f"label={LABEL}={owner_of(os.getpid())}")
    return subprocess.run(
        asked, capture_output=True, text=True, check=True, env=engine.environment, timeout=60
    ).stdout.split()


async def test_inside_there_is_what_was_granted_and_nothing_of_the_host(driver: Oci, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "granted").write_text("meant for it\n")
    (tmp_path / "secret").write_text("not meant for it\n")
    program = LOOK.replace("{read}", f"{tmp_path}/granted").replace("{secret}", f"{tmp_path}/secret")
    grants = Grants(files=FileGrant(read_only_paths=(str(tmp_path / "granted"),)))
    seen = await said(await start(driver, spec(program, grants=grants, environment={"GREETING": "a b=c"})))
    assert seen["uid"] == (OWNER_ID if os.geteuid() == 0 else 1000)
    assert seen["read"] == "meant for it\n"
    assert seen["secret"] == "FileNotFoundError"
    assert int(seen["caps"], 16) == int(seen["bounding"], 16) == 0
    assert (seen["no_new_privs"], seen["seccomp"]) == ("1", "2")
    assert seen["environment"]["GREETING"] == "a b=c"
    assert "SSH_AUTH_SOCK" not in seen["environment"]
    assert os.uname().nodename not in seen["hosts"]
    assert "root:x:0:0::/:/bin/false" in seen["passwd"]
    assert set(seen["net"]) <= {"lo"}
    assert len(seen["pids"]) <= 2


async def test_no_way_out_is_open_and_the_ordinary_ways_are(driver: Oci, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)  # the container's user is no owner of it
    grants = Grants(files=FileGrant(writable_paths=(str(tmp_path),)))
    seen = await said(await start(driver, spec(TRY.replace("{writable}", str(tmp_path)), grants=grants)))
    closed = (
        "unshare",
        "mount",
        "ptrace",
        "keyctl",
        "io_uring",
        "bpf",
        "vsock",
        "packet",
        "icmp",
        "root",
        "usr",
    )
    assert {name: seen[name] for name in (*closed, "core_pattern") if seen[name] == "ok"} == {}
    assert {name: seen[name] for name in ("tmp", "home", "granted", "tcp")} == dict.fromkeys(
        ("tmp", "home", "granted", "tcp"), "ok"
    )
    assert (tmp_path / "x").read_text() == "x"


async def test_the_gate_is_its_only_network(driver: Oci) -> None:
    program = (
        "import socket,json,sys\nsys.stdin.readline()\n"
        "with socket.create_connection(('127.0.0.1', 3128), 5) as proxy:\n"
        "    proxy.sendall(b'ask')\n"
        "    print(json.dumps({'answer': proxy.recv(10).decode()}), flush=True)\n"
    )
    network = NetworkGrant(allowed_domains=("api.example.com",))
    sandbox = await start(driver, spec(program, grants=Grants(network=network), wants_network=True))
    assert sandbox.gate_sockets is not None
    door = sandbox.gate_sockets.tcp_proxy

    def serve() -> None:
        with socket.socket(fileno=os.dup(door)) as listener:
            listener.settimeout(END_S)
            connection, _ = listener.accept()
            with connection:
                assert connection.recv(10) == b"ask"
                connection.sendall(b"told")

    os.write(sandbox.stdin_fd, b"go\n")
    answer = asyncio.create_task(said(sandbox))  # noqa: TID251  # joined below
    await asyncio.to_thread(serve)
    assert await answer == {"answer": "told"}


async def test_more_memory_than_was_granted_ends_it_and_that_is_said(
    driver: Oci, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = "held = []\nwhile True: held.append(bytearray(b'x') * (1 << 20))"
    limits = LimitGrant(max_memory_mb=64)
    sandbox = await start(driver, spec(program, grants=Grants(limits=limits)))
    how = await asyncio.wait_for(sandbox.wait(), END_S)
    sandbox.close_fds()
    assert how.reason == "oom" or how.signal == signal.SIGKILL
    assert list(tmp_path.iterdir()) == [], "nothing is left where we stand"


async def test_processes_are_counted(driver: Oci) -> None:
    program = (
        "import os, json\nmade = 0\n"
        "try:\n    for _ in range(100):\n        if os.fork() == 0:\n            os.pause() if hasattr(os,'pause')"
        " else __import__('signal').pause()\n        made += 1\n"
        "except OSError:\n    pass\nprint(json.dumps({'made': made}), flush=True)\n"
    )
    seen = await said(await start(driver, spec(program, grants=Grants(limits=LimitGrant(max_pids=10)))))
    assert 5 <= seen["made"] <= 10


async def test_a_whole_tree_is_killed_and_the_container_removed(driver: Oci) -> None:
    program = "import os,time\nos.fork(); os.fork()\nwhile True: time.sleep(1)"
    sandbox = await start(driver, spec(program))
    assert len(containers(driver)) == 1
    how = await sandbox.kill_tree()
    sandbox.close_fds()
    assert how.reason == "killed"
    assert (
        not Path(f"/proc/{sandbox.inner_pid}").exists()
        or Path(f"/proc/{sandbox.inner_pid}/stat").read_text().split()[2] == "Z"
    )
    await driver.__aexit__(None, None, None)
    assert containers(driver) == []


async def test_an_end_is_told_with_its_code(driver: Oci) -> None:
    sandbox = await start(driver, spec("raise SystemExit(3)"))
    how = await asyncio.wait_for(sandbox.wait(), END_S)
    sandbox.close_fds()
    assert (how.code, how.reason) == (3, "exited")


async def test_what_the_engine_refuses_is_told_in_its_words_and_nothing_stays(driver: Oci) -> None:
    plan = await driver.plan(spec("pass"))
    with pytest.raises(Misconfigured, match="nothing-there"):
        await driver.launch(replace(plan, command=("/usr/bin/nothing-there",)))
    assert containers(driver) == []


MOUNTED: Final = """
import asyncio, os, subprocess, sys
from sekisho.policy.grants import FileGrant, Grants
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.oci.driver import Oci
engine, folder = sys.argv[1:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=1777", "inner", folder + "/disk"], check=True)
open(folder + "/disk/seen", "w").close()
TRY = f"import os; print(os.listdir('{folder}/disk'), flush=True); open('{folder}/disk/x', 'w')"
async def main():
    async with Oci(engine, environment=os.environ) as driver:
        grants = Grants(files=FileGrant(read_only_paths=(folder,)))
        spec = SandboxSpec(name="disk", argv=("/usr/bin/python3", "-Ic", TRY), driver="oci", grants=grants,
                           owner=612345)
        sandbox = await driver.launch(await driver.plan(spec))
        await sandbox.wait()
        print(os.read(sandbox.stdout_fd, 4096).decode(), os.read(sandbox.stderr_fd, 4096).decode())
asyncio.run(main())
"""


async def test_what_is_mounted_in_a_read_only_folder_can_be_read_and_not_written(tmp_path: Path) -> None:
    if shutil.which("podman") is None or os.geteuid() != 0:
        pytest.skip("podman and root, who may mount something, are needed")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    (tmp_path / "disk").mkdir()
    words = ("unshare", "--mount", sys.executable, "-c", MOUNTED, "podman", str(tmp_path))
    ended = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    said, _ = await asyncio.wait_for(ended.communicate(), 2 * END_S)
    assert b"['seen']" in said
    assert b"Read-only file system" in said


OWNER: Final = """
import asyncio, os, sys
from sekisho.policy.grants import Grants
from sekisho.sandbox import SandboxSpec
from sekisho.sandbox.oci.driver import Oci
async def main():
    async with Oci(sys.argv[1], environment=os.environ) as driver:
        spec = SandboxSpec(name="left", argv=("/usr/bin/python3", "-Ic", "import time; time.sleep(600)"),
                           grants=Grants(), driver="oci", owner=612345)
        sandbox = await driver.launch(await driver.plan(spec))
        print(sandbox.inner_pid, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_a_container_does_not_outlive_an_owner_that_was_killed(driver: Oci) -> None:
    words = (sys.executable, "-c", OWNER, driver._wanted)
    owner = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    inner = int(await asyncio.wait_for(owner.stdout.readline(), END_S))
    assert Path(f"/proc/{inner}").exists()
    owner.kill()
    await owner.wait()
    until(lambda: not Path(f"/proc/{inner}").exists(), "the container of the dead owner is gone", END_S)


async def test_a_refused_call_is_told_by_name_and_an_allowed_one_is_not(driver: Oci, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    told: list[str] = []
    grants = Grants(files=FileGrant(writable_paths=(str(tmp_path),)))
    sandbox = await start(driver, spec(TRY.replace("{writable}", str(tmp_path)), grants=grants))
    sandbox.when_refused(lambda violation: told.append(violation.what))
    seen = await said(sandbox)
    assert seen["keyctl"] == seen["bpf"] == seen["ptrace"] == "EPERM"
    names = {one.what for one in sandbox.violations() if one.kind == "seccomp"}
    assert (await driver.probe()).alarm
    assert names == {"unshare", "mount", "ptrace", "keyctl", "io_uring_setup", "bpf", "socket"}
    assert set(told) <= names


async def test_one_that_rings_for_ever_waits_and_is_counted(driver: Oci) -> None:
    program = (
        "import ctypes, json, time\nlibc = ctypes.CDLL(None)\nend = time.monotonic() + 1\nrung = 0\n"
        "while time.monotonic() < end: rung += libc.syscall(321, 0, 0, 0) and 1\nprint(json.dumps({'rung': rung}))"
    )
    sandbox = await start(driver, spec(program))
    rung = (await said(sandbox))["rung"]
    assert rung <= 400  # 160 a second, and what one period lends
    assert [(one.what, one.times) for one in sandbox.violations()] == [("bpf", rung)]

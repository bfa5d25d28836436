"""Plays one scene: lays the private internet and the world, runs a program somewhere, looks what it changed.

`python -m tests.real.escape.stage` reads one JSON request and prints one JSON answer. Needs root, because it makes
namespaces for the whole world and then becomes whoever the request names; nothing of it outlives the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import pty
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.real.docker_service import docker_service
from tests.real.escape.drivers import DRIVERS
from tests.real.escape.internet import AT, HOSTS, LISTEN_PORT, OWN, made_certificate, open_internet
from tests.real.escape.program import BOOT, payload
from tests.real.escape.world import World

from sekisho.sandbox.calls.seccomp import MACHINES

__all__ = ["FRESH_UID", "Scene", "open_scene", "play"]

FRESH_UID: Final = 61234  # nobody's
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x0002_0000, 0x0400_0000, 0x0800_0000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
ROOT: Final = Path(__file__).resolve().parents[3]
SCENE_S: Final = 130.0
RUNTIME: Final = Path("/run/user")
LENT: Final = "prisoner:524288:65536\n"  # users whose containers podman may make
SYSTEM_PYTHON: Final = shutil.which("python3", path="/usr/bin:/bin")

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass
class Scene:
    """A world that stands, and how to run things in it."""

    world: World
    base: Path
    python: str
    who: str
    certificate: str
    secret: str
    patience: float = 1.0  # every wait, times this: an emulated machine is slow

    @property
    def inner_python(self) -> str:
        """The interpreter a plugin would name."""
        return SYSTEM_PYTHON or self.python

    @property
    def identity(self) -> dict[str, Any]:
        """For `Popen`."""
        if self.who == "root":
            return {}
        return {"user": FRESH_UID, "group": FRESH_UID, "extra_groups": []}

    def config(self, only: Sequence[str] = ()) -> dict[str, Any]:
        """What the probes must know."""
        return {
            "numbers": MACHINES[platform.machine()].numbers,
            "digests": self.world.digests,
            "only": list(only),
            "at": {
                **AT,
                **self.world.at,
                "certificate": self.certificate,
                "patience": self.patience,
                "has_cgroups": _has_cgroups(),
            },
        }

    def environment(self) -> dict[str, str]:
        """Of whoever starts the walls: with secrets that must not pass them."""
        return {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.world.home),
            "NPM_TOKEN": self.secret,
            "SECRET_TOKEN": self.secret,
            "SSH_AUTH_SOCK": self.world.at["unix_socket"],
            "XDG_RUNTIME_DIR": str(RUNTIME / str(self.world.uid)),
            "PYTHONPATH": f"{ROOT}/src:{ROOT}:{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def run(self, argv: Sequence[str], given: bytes, **more: Any) -> tuple[int, bytes, bytes]:
        """Run a program as the scene's user, at a terminal, with a secret in a descriptor that is left open."""
        leaked = (os.open(self.world.at["ssh_key"], os.O_RDONLY), os.open("/", os.O_RDONLY))
        master, slave = pty.openpty()
        environment = {**self.environment(), **more.get("environment", {})}

        def take_terminal() -> None:
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        os.fchown(slave, FRESH_UID if self.who == "user" else 0, -1)
        try:
            process = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                cwd=str(self.world.writable),
                pass_fds=(*leaked, slave),
                start_new_session=True,
                preexec_fn=take_terminal,  # noqa: PLW1509 - one system call
                **self.identity,
            )
            try:
                out, err = process.communicate(given, timeout=SCENE_S * self.patience)
            finally:
                process.kill()
                process.wait()
            return process.returncode, out, err
        finally:
            for fd in (*leaked, master, slave):
                os.close(fd)

    def run_plain(self, argv: Sequence[str], given: bytes) -> dict[str, Any]:
        """Run a program, and tell in the words in which a driver's run is told."""
        code, out, err = self.run(argv, given)
        return {"out": out.decode(), "err": err.decode(errors="replace")[-3000:], "code": code}

    def run_driver(self, driver: str, argv: Sequence[str], given: bytes, **more: Any) -> dict[str, Any]:
        """Run a program behind a driver's walls; `out` is what it printed."""
        request = {
            "driver": driver, "argv": list(argv), "read_only": [str(self.world.read_only), *more.pop("read_only", ())],
            "writable": [str(self.world.writable)], "patience": self.patience, **more,
        }  # fmt: skip
        words = [self.python, "-m", "tests.real.escape.walled"]
        with contextlib.ExitStack() as stack:
            engine = {}
            if DRIVERS[driver].service:
                engine["DOCKER_HOST"] = stack.enter_context(docker_service(self.base))
            request_line = json.dumps(request).encode() + b"\n"
            code, out, err = self.run(words, request_line + given, environment=engine)
        if code != 0:
            raise RuntimeError(f"{driver} as {self.who}: {err.decode(errors='replace')[-3000:]}")
        answer: dict[str, Any] = json.loads(out)
        return answer


@contextlib.contextmanager
def open_scene(who: str, patience: float = 1.0) -> Iterator[Scene]:
    """Lay the world for one user."""
    base = Path(tempfile.mkdtemp(prefix="escape-", dir="/var/tmp"))
    base.chmod(0o755)
    world = World(base=base, uid=FRESH_UID if who == "user" else 0)
    _unshare()
    try:
        certificate = made_certificate(base)
        world.lay()
        _show_ourselves()
        _replace("/etc/hosts", base / "hosts", HOSTS)
        _replace("/etc/resolv.conf", base / "resolv.conf", "nameserver 127.0.0.1\n")
        passwd = Path("/etc/passwd").read_text()
        _replace(
            "/etc/passwd",
            base / "passwd",
            f"{passwd}prisoner:x:{FRESH_UID}:{FRESH_UID}:{world.token()}:{world.home}:/bin/sh\n",
        )
        for name in ("subuid", "subgid"):
            _replace(f"/etc/{name}", base / name, LENT)
        socket.sethostname(world.token())
        with open_internet(certificate), _engine_socket(), _runtime_folder(world.uid):
            secret = world.token()
            scene = Scene(
                world=world,
                base=base,
                python=sys.executable,
                who=who,
                certificate=certificate.public,
                secret=secret,
                patience=patience,
            )
            with world.decoy(scene.inner_python, scene.identity):
                yield scene
    finally:
        world.tidy()
        shutil.rmtree(base)


@contextlib.contextmanager
def _engine_socket() -> Iterator[None]:
    """A container engine's socket where prisoners look for it; /run is the stage's own from here on."""
    _mount("none", "/run", 0, "tmpfs")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("/run/docker.sock")
        Path("/run/docker.sock").chmod(0o666)
        sock.listen(64)
        yield


@contextlib.contextmanager
def _runtime_folder(uid: int) -> Iterator[None]:
    """A user's own folder for sockets, as a login makes it; podman without root leaves a process that it names there."""
    folder = RUNTIME / str(uid)
    folder.mkdir(parents=True)
    folder.chmod(0o700)
    os.chown(folder, uid, uid)
    try:
        yield
    finally:
        for file in folder.rglob("pause.pid"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def _unshare() -> None:
    """A mount table, host name and System V world of our own: what the world is made of goes with us."""
    if _libc.unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC) != 0:
        raise OSError(ctypes.get_errno(), "namespaces for the stage")
    _mount("none", "/", MS_REC | MS_PRIVATE)


def _mount(source: str, target: str, flags: int, kind: str = "none") -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


def _replace(path: str, source: Path, text: str) -> None:
    source.write_text(text)
    source.chmod(0o644)
    _mount(str(source), os.path.realpath(path), MS_BIND)


def _show_ourselves() -> None:
    """Lay our code and interpreter open, at their own places, to users who may not enter the folders around them."""
    sources = (ROOT, Path(sysconfig.get_path("purelib")), Path(sys.base_prefix))
    closed = {
        folder for source in sources for folder in (*source.parents, source) if not folder.stat().st_mode & 1
    }
    for folder in sorted(closed, key=lambda one: len(one.parts)):
        if folder.stat().st_mode & 1:
            continue  # it lies below another that was opened
        kept = {one: os.open(one, os.O_PATH) for one in sources if one.is_relative_to(folder)}
        _mount("none", str(folder), 0, "tmpfs")
        folder.chmod(0o755)
        for source, fd in kept.items():
            _lay_open(source, f"/proc/self/fd/{fd}")
            os.close(fd)


def _lay_open(place: Path, source: str) -> None:
    place.mkdir(parents=True, exist_ok=True)
    if Path(source).stat().st_mode & 1:
        _mount(source, str(place), MS_BIND | MS_REC)
        return
    for entry in Path(source).iterdir():
        if entry.is_dir() and not entry.is_symlink():
            _lay_open(place / entry.name, str(entry))


class _Visitor:
    """Knocks at the port where a prisoner would serve, as the host and as the world."""

    def __init__(self) -> None:
        self.came_in = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._knock)

    def __enter__(self) -> _Visitor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _knock(self) -> None:
        while not self._over.wait(0.2):
            for host in ("127.0.0.1", OWN):
                with contextlib.suppress(OSError):
                    socket.create_connection((host, LISTEN_PORT), timeout=1).close()
                    self.came_in = True


def play(request: Mapping[str, Any]) -> dict[str, Any]:
    """All probes, in one place, as one user."""
    from tests.real.escape.peers import PEERS  # it knows this module

    if request["where"] in PEERS:
        PEERS[request["where"]].prepare()  # in the real world: the scene's has no registry
    with open_scene(request["who"], request.get("patience", 1.0)) as scene:
        given = payload(scene.config(request.get("only", ())))
        argv = (scene.inner_python, "-I", "-c", BOOT)
        with _Visitor() as visitor:
            shown = _shown(scene, request["where"], argv, given)
        if not shown["out"].strip():
            raise RuntimeError(f"{request}: nothing was printed: {shown}")
        found: dict[str, Any] = json.loads(shown["out"])
        for id_, changed in scene.world.changed().items():
            if id_ in found:
                found[id_]["works"] = changed
        if "N11" in found:
            found["N11"]["works"] = visitor.came_in
        return found


def _has_cgroups() -> bool:
    """Whether this process's own place among control groups is one that a prisoner could learn."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return any(line.split(":", 2)[2] != "/" for line in lines)


def _shown(scene: Scene, where: str, argv: Sequence[str], given: bytes) -> dict[str, Any]:
    from tests.real.escape.peers import INNER_PYTHON, PEERS  # it knows this module

    if where == "bare":
        return scene.run_plain(argv, given)
    if where not in PEERS:
        return scene.run_driver(where, argv, given)
    own = (INNER_PYTHON, *argv[1:]) if PEERS[where].runs_own_python else argv
    with PEERS[where].start(scene, own) as words:
        return scene.run_plain(words, given)


def main() -> None:
    """One request, one answer."""
    sys.stdout.write(json.dumps(play(json.load(sys.stdin))) + "\n")


if __name__ == "__main__":
    main()

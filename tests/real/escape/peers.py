"""Other walls, in the same scene: how each is started, and what it needs on this machine.

Each gets the same two folders and, where it has a door of its own, the same two hosts. What is missing here is a row
that says what to install. Engines are started by the scene that uses them, in its own folder, and end with it.
"""

# ruff: noqa: S607 - the programs are found the way a person's shell finds them
from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import dev
from tests.real.docker_service import docker_service, unmount_below
from tests.real.escape.stage import Scene

__all__ = ["PEERS", "Peer"]

SRT: Final = dev.CACHE / "escape-srt"
SRT_VERSION, NODE_VERSION = "0.0.83", "22.23.3"
ROOTFS: Final = dev.CACHE / "escape-rootfs"
IMAGE: Final = "escape:latest"
INNER_PYTHON: Final = "/usr/bin/python3"
LISTED: Final = ["wordpress.example.com", "*.listed.example.com"]

Command = list[str]
Start = Callable[[Scene, Sequence[str]], AbstractContextManager[Command]]


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One way to wall a program in."""

    says: str
    needs: tuple[str, ...]
    start: Start
    who: str = "user"
    prepare: Callable[[], object] = lambda: None  # fetch what no package of the system brings
    runs_own_python: bool = False  # its image brings another interpreter than the host's

    def missing(self) -> list[str]:
        """Programs that are not on this machine."""
        return [
            name
            for name in self.needs
            if shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin") is None
        ]


def _plain(words: Callable[[Scene], Command]) -> Start:
    @contextlib.contextmanager
    def start(scene: Scene, argv: Sequence[str]) -> Iterator[Command]:
        yield [*words(scene), *argv]

    return start


def _copied(scene: Scene) -> Command:
    writable = str(scene.world.writable)
    return [
        "bwrap", "--ro-bind", "/", "/", "--bind", writable, writable, "--dev", "/dev", "--proc", "/proc",
        "--unshare-pid", "--die-with-parent", "--",
    ]  # fmt: skip


def _unshared(scene: Scene) -> Command:
    return [*_copied(scene)[:-1], "--unshare-all", "--new-session", "--"]


def _firejail(scene: Scene) -> Command:
    return ["firejail", "--quiet", "--noprofile", "--private-dev"]


def _srt(*, strict: bool) -> Start:
    @contextlib.contextmanager
    def start(scene: Scene, argv: Sequence[str]) -> Iterator[Command]:
        denied = [str(scene.world.home), str(scene.base / "plugins" / "other")]
        denied += [scene.world.at["tmp_file"], scene.world.at["shm_file"]]
        domains = [f"{name}:{port}" for name in LISTED for port in (80, 443)] if strict else LISTED
        settings = {
            "filesystem": {
                "denyRead": denied if strict else [], "allowWrite": [str(scene.world.writable)], "denyWrite": [],
            },
            "network": {"allowedDomains": domains, "deniedDomains": []},
        }  # fmt: skip
        if strict:
            settings["network"]["deniedResolvedAddresses"] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
        file = scene.base / "srt.json"
        file.write_text(json.dumps(settings))
        file.chmod(0o644)
        bin_ = SRT / "node_modules" / ".bin"
        sockets = scene.base / "srt"  # of its own, which it makes in $TMPDIR
        sockets.mkdir()
        os.chown(sockets, scene.world.uid, scene.world.uid)
        yield [
            "env",
            f"TMPDIR={sockets}",
            str(bin_ / "node"),
            str(bin_ / "srt"),
            "--settings",
            str(file),
            "-c",
            shlex.join(argv),
        ]

    return start


def _install_srt() -> None:
    if (SRT / "node_modules" / ".bin" / "srt").exists():
        return
    SRT.mkdir(parents=True, exist_ok=True)
    (SRT / "package.json").write_text('{"private": true}')
    wanted = [f"node@{NODE_VERSION}", f"@anthropic-ai/sandbox-runtime@{SRT_VERSION}"]
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *wanted], cwd=SRT, check=True
    )


def _install_rootfs() -> None:
    """A minimal Debian with Python, for the images."""
    if not (ROOTFS / "usr" / "bin" / "python3").exists():
        subprocess.run(
            ["debootstrap", "--variant=minbase", "--include=python3", "bookworm", str(ROOTFS), _mirror()],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip


def _mirror() -> str:
    shown = subprocess.run(["apt-cache", "policy", "debootstrap"], capture_output=True, text=True, check=True)
    return next(word for word in shown.stdout.split() if word.startswith("http"))


HARDENED: Final = [
    "--user", "61234:61234", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
    "--tmpfs", "/tmp:size=64m", "--ulimit", "core=0:0", "--memory", "1g", "--pids-limit", "128",
]  # fmt: skip


def _volumes(scene: Scene) -> Command:
    writable, read_only = scene.world.writable, scene.world.read_only
    return ["-v", f"{writable}:{writable}", "-v", f"{read_only}:{read_only}:ro"]


def _podman(*options: str) -> Start:
    @contextlib.contextmanager
    def start(scene: Scene, argv: Sequence[str]) -> Iterator[Command]:
        store = scene.base / "podman"
        words = [
            "podman", "--root", f"{store}/root", "--runroot", f"{store}/run", "--tmpdir", f"{store}/tmp",
            "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc",
        ]  # fmt: skip
        try:
            yield [
                *words, "run", "--rm", "-i", "--network", "none", "--ulimit", "nofile=4096:4096", "--ulimit",
                "nproc=512:512", *options, *_volumes(scene), "--rootfs", str(ROOTFS.resolve()), *argv,
            ]  # fmt: skip
        finally:
            subprocess.run([*words, "rm", "--all", "--force"], capture_output=True, check=False)
            unmount_below(store)

    return start


def _docker(*options: str) -> Start:
    @contextlib.contextmanager
    def start(scene: Scene, argv: Sequence[str]) -> Iterator[Command]:
        with _engine(scene.base) as client:
            yield [
                *client,
                "run",
                "--rm",
                "-i",
                "--network",
                "none",
                *options,
                *_volumes(scene),
                IMAGE,
                *argv,
            ]

    return start


@contextlib.contextmanager
def _engine(base: Path) -> Iterator[Command]:
    """A docker service of our own, with the image in it."""
    with docker_service(base) as address:
        client = ["/usr/bin/docker", "--config", str(base), "--host", address]
        with subprocess.Popen(["tar", "-C", str(ROOTFS), "-c", "."], stdout=subprocess.PIPE) as tar:
            done = subprocess.run(
                [*client, "import", "-", IMAGE], stdin=tar.stdout, capture_output=True, check=False
            )
        if done.returncode != 0:
            raise RuntimeError(f"docker import: {done.stderr.decode()[-2000:]}")
        yield client


def _srt_peer(says: str, *, strict: bool) -> Peer:
    return Peer(
        says=says, needs=("bwrap", "npm", "socat", "rg"), start=_srt(strict=strict), prepare=_install_srt
    )


def _container(says: str, needs: tuple[str, ...], start: Start) -> Peer:
    needed = (*needs, "debootstrap")
    return Peer(
        says=says, needs=needed, start=start, who="root", prepare=_install_rootfs, runs_own_python=True
    )


PEERS: Final[dict[str, Peer]] = {
    "firejail": Peer(says="firejail, no profile, private /dev", needs=("firejail",), start=_plain(_firejail)),
    "bwrap-copied": Peer(says="bwrap as usually copied", needs=("bwrap",), start=_plain(_copied)),
    "bwrap-unshared": Peer(says="bwrap, all namespaces, new session", needs=("bwrap",), start=_plain(_unshared)),
    "srt": _srt_peer("srt, two hosts listed, else default", strict=False),
    "srt-strict": _srt_peer("srt, ports, denied folders and addresses", strict=True),
    "docker": _container("docker default", ("dockerd",), _docker()),
    "docker-hardened": _container("docker hardened", ("dockerd",), _docker(*HARDENED)),
    "podman": _container("podman default", ("podman",), _podman()),
    "podman-hardened": _container("podman hardened", ("podman",), _podman("--no-hosts", *HARDENED)),
    "gvisor": _container(
        "docker with gVisor (runsc, ptrace)", ("dockerd", "runsc"), _docker("--runtime", "runsc")
    ),
}  # fmt: skip

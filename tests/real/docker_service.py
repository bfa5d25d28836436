"""A docker service of our own for as long as it is used: own socket, own folders, no rules in anybody's firewall."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

__all__ = ["CLIENT", "docker_lacks", "docker_service", "unmount_below"]

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CLIENT: Final = shutil.which("docker", path=PATH) or "docker"
SERVICE: Final = shutil.which("dockerd", path=PATH) or ""
UP_S: Final = 60.0
LOOK_S: Final = 0.1
OPTIONS: Final = (
    "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=overlay2",
    "--default-ulimit", "nofile=4096:4096",
)  # fmt: skip
GVISOR: Final = {
    "path": "/usr/bin/runsc",
    "runtimeArgs": ["--platform=ptrace", "--network=none", "--ignore-cgroups"],
}


def docker_lacks() -> str:
    """Why none can be started here; empty when one can."""
    if not SERVICE or not Path(CLIENT).exists():
        return "docker is not installed (Debian packages docker.io and, since 13, docker-cli)"
    return "" if os.geteuid() == 0 else "docker's service is started by root only"


@contextlib.contextmanager
def docker_service(below: str | Path = "/var/tmp") -> Iterator[str]:
    """Where it listens, in the words of DOCKER_HOST."""
    folder = Path(tempfile.mkdtemp(prefix="dockerd-", dir=below))
    address = f"unix://{folder}/docker.sock"
    (folder / "daemon.json").write_text(json.dumps({"runtimes": {"runsc": GVISOR}}))
    with (folder / "log").open("wb") as log:
        service = subprocess.Popen(
            [SERVICE, *OPTIONS, "--host", address, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
             "--pidfile", f"{folder}/pid", "--config-file", f"{folder}/daemon.json"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        pause = threading.Event()
        for _ in range(int(UP_S / LOOK_S)):
            if _answers(address):
                break
            if service.poll() is not None:
                raise RuntimeError(f"dockerd ended: {(folder / 'log').read_text()[-2000:]}")
            pause.wait(LOOK_S)
        yield address
        if service.poll() is not None:  # then whoever used it says only that it does not answer
            raise RuntimeError(f"dockerd ended by itself: {(folder / 'log').read_text()[-2000:]}")
    finally:
        service.terminate()
        service.wait(60)
        unmount_below(folder)
        shutil.rmtree(folder, ignore_errors=True)


def unmount_below(folder: Path) -> None:
    """What an engine left mounted there."""
    for line in reversed(Path("/proc/self/mountinfo").read_text().splitlines()):
        path = line.split()[4]
        if path.startswith(f"{folder}/"):
            subprocess.run(["/bin/umount", "--lazy", path], check=False, capture_output=True)


def _answers(address: str) -> bool:
    asked = [CLIENT, "--host", address, "version"]
    return subprocess.run(asked, capture_output=True, check=False, timeout=60).returncode == 0

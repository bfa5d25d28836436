"""Runs tests, or any program, on a host that this machine is not: `python -m tests.hosts.run --host debian13 tests/real`.

Guarantees that the machine ends by itself: with the tests, or when its time is up; that it has no network; and that
nothing it writes is kept. Its source is what git has of this folder, changed files included. Emulated in software, so it
runs wherever qemu does, ten to twenty times slower.
"""

from __future__ import annotations

import argparse
import io
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import dev
from tests.hosts.image import USER, Disk, disk
from tests.hosts.recipe import HOSTS, Host

__all__ = ["main", "script"]

LIMIT_S: Final = 600
ENDED: Final = "sekisho-tests ended with"
PYTHON: Final = "/srv/venv/bin/python"
PLACE: Final = "/srv/sekisho"
# How the program is started there: what a service of the host is, or what an ordinary user has.
WHO: Final = {
    "root": ("systemd-run", "--quiet", "--wait", "--pipe", "--collect"),
    "service": ("systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes"),
    "user": (
        "runuser", "-u", USER, "--", "env", "XDG_RUNTIME_DIR=/run/user/1000",
        "systemd-run", "--user", "--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes",
    ),
    "login": ("runuser", "-u", USER, "--"),
}  # fmt: skip


def script(who: str, before: str, program: Sequence[str]) -> str:
    """What the machine does: `before` as root, then the program as it was asked for, and its status as last line."""
    ways = (*WHO[who], "env", "-C", PLACE, "TMPDIR=/var/tmp", *program)  # its /tmp is memory, and no disk
    return (
        "#!/bin/sh\n"
        "systemctl start user@1000.service\n"
        f"{before}\n"
        f'{shlex.join(ways)}\nprintf "\\n{ENDED} %s\\n" $?\n'
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status of what ran there; 124 when it did not end."""
    parser = argparse.ArgumentParser(prog="python -m tests.hosts.run", description=__doc__)
    parser.add_argument("--host", choices=sorted(HOSTS), default="debian13")
    parser.add_argument("--who", choices=sorted(WHO), default="service", help="who runs it there")
    parser.add_argument("--before", default="", help="a line of shell that root runs first")
    parser.add_argument("--limit", type=int, default=LIMIT_S, metavar="SECONDS")
    parser.add_argument("--accel", default="tcg,thread=multi", help="another accelerator of qemu's")
    parser.add_argument(
        "--program", action="store_true", help="the words are a program, not pytest's arguments"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments)
    words = asked.words[1:] if asked.words[:1] == ["--"] else asked.words
    program = words if asked.program else [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *words]
    host = HOSTS[asked.host]
    if shutil.which(host.emulator[0]) is None:
        sys.exit(f"{host.emulator[0]} is not installed: apt install {host.emulator_package}")
    ready = disk(asked.host, host)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source.tar")
        pack(source, script(asked.who, asked.before, program))
        return watch(emulator(host, ready, source, asked.accel), asked.limit)


def emulator(host: Host, ready: Disk, source: Path, accel: str) -> list[str]:
    """The machine: two disks, a console, and nothing else."""
    console = "ttyS0" if host.machine == "x86_64" else "ttyAMA0"
    return [
        *host.emulator, "-accel", accel, "-cpu", host.processor, "-smp", "2", "-m", "3G",
        "-nodefaults", "-no-reboot", "-display", "none", "-nic", "none", "-serial", "stdio",
        "-kernel", str(ready.kernel), "-initrd", str(ready.initrd),
        "-append", f"root=/dev/vda rw quiet mitigations=off console={console} panic=-1 systemd.show_status=no",
        "-drive", f"file={ready.root},if=virtio,format=raw,snapshot=on",
        "-drive", f"file={source},if=virtio,format=raw,readonly=on",
        "-device", "virtio-rng-pci",
    ]  # fmt: skip


def pack(target: Path, what: str) -> None:
    """The source as git lists it, and what to do with it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607 - any git
        cwd=dev.ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    with tarfile.open(target, "w") as tar:
        for name in listed:
            if name and (dev.ROOT / name).exists():
                tar.add(dev.ROOT / name, name, recursive=False)
        member = tarfile.TarInfo("run-here")
        member.mode, member.size = 0o755, len(what.encode())
        tar.addfile(member, io.BytesIO(what.encode()))


def watch(command: Sequence[str], limit_s: int) -> int:
    """Shows the console until the machine is off."""
    bounded = ["timeout", "--kill-after=5", str(limit_s), *command]
    status = 124
    with subprocess.Popen(bounded, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        for raw in machine.stdout:
            line = raw.decode(errors="replace").rstrip()
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            if (ended := re.match(rf"{ENDED} (\d+)", line)) is not None:
                status = int(ended[1])
    return status


if __name__ == "__main__":
    sys.exit(main())

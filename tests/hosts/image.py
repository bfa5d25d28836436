"""The disk of a host: its files are put together once, by root, and kept in `.cache/hosts`.

Guarantees that a disk is used only when it was finished, and made anew when the recipe or our dependencies change. Where
packages come from is left to this machine's own settings of apt and pip. Boots nothing.
"""

# ruff: noqa: S607 - the programs are found the way a person's shell finds them
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import Final

import dev
from tests.hosts.recipe import PYTHON, SUITE, Host, platforms, requirements

__all__ = ["USER", "Disk", "disk", "only"]

FOLDER: Final = dev.CACHE / "hosts"
USER: Final = "tester"
ROOM: Final = "6G"  # of the disk, most of it a hole
SITE: Final = f"srv/venv/lib/python{PYTHON}/site-packages"
COMMAND: Final = """\
#!/srv/venv/bin/python
import sys

from sekisho.cli.app import main

sys.exit(main())
"""
# Services that would only take the emulator's time; the tests start a docker of their own.
MASKED: Final = ("docker.service", "docker.socket", "containerd.service", "apt-daily.timer", "man-db.timer")
UNIT: Final = """\
[Unit]
Description=The tests of Sekisho, which end with the machine
After=multi-user.target systemd-user-sessions.service
SuccessAction=poweroff-force
FailureAction=poweroff-force

[Service]
Type=oneshot
Environment=LANG=C.UTF-8 HOME=/root
WorkingDirectory=/srv/sekisho
ExecStart=/bin/sh -c 'tar --extract --file /dev/vdb && exec ./run-here'
StandardOutput=tty
StandardError=tty

[Install]
WantedBy=default.target
"""


class Disk:
    """What a machine is started with."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root.ext4"
        self.kernel = folder / "vmlinuz"
        self.initrd = folder / "initrd"


def disk(name: str, host: Host) -> Disk:
    """The disk of this host, made if it is not there: some minutes, and for a foreign processor many.

    Raises:
        SystemExit: this machine cannot make it, and what to type.
    """
    folder = FOLDER / name
    wanted = _requirements(host)
    stamp = hashlib.sha256(repr((host, wanted, UNIT, MASKED, COMMAND)).encode()).hexdigest()
    if not dev.once(folder, stamp):
        _need("debootstrap", "mkfs.ext4")
        tree = folder / "tree"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        dev.say(f"installing {name}")
        _install(tree, host)
        _settle(tree)
        _add_python(tree, host, wanted)
        _pack(tree, folder)
        shutil.rmtree(tree)
        dev.done(folder, stamp)
    return Disk(folder)


def _need(*programs: str) -> None:
    missing = [one for one in programs if shutil.which(one, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing or os.geteuid() != 0:
        sys.exit(
            f"a disk is made by root, with {', '.join(programs)}; missing: {', '.join(missing) or 'root'}"
        )


def _requirements(host: Host) -> list[str]:
    project = tomllib.loads((dev.ROOT / "pyproject.toml").read_text())["project"]
    return requirements([*project["dependencies"], *project["optional-dependencies"]["dev"]], host)


def _install(tree: Path, host: Host) -> None:
    """Debian's own packages. A foreign processor's are set up by an interpreter that only this one namespace knows."""
    is_own = os.uname().machine == host.machine
    foreign = () if is_own else ("--foreign",)
    command = [
        "debootstrap", f"--arch={host.debian}", "--variant=minbase", *foreign,
        f"--include={','.join(host.packages)}", SUITE, str(tree), _mirror(),
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if not is_own:
        _set_up(tree, host)


def _set_up(tree: Path, host: Host) -> None:
    """The second half of a foreign processor's installation, in a user namespace with the same users as here."""
    _need(f"qemu-{host.machine}-static", "unshare")
    _shorten(tree)
    script = Path(__file__).with_name("second-stage.sh")
    # the shell is executed again when the users are there: only then it is root
    waiting: list[str | Path] = ["sh", "-c", 'read -r _ && exec sh "$@"', "sh", script, tree, host.machine]
    own = Path("/proc/self/ns/user").readlink()
    with subprocess.Popen(
        ["unshare", "--user", "--mount", "--pid", "--fork", *waiting],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    ) as child:
        while child.poll() is None and Path(f"/proc/{child.pid}/ns/user").readlink() == own:
            os.sched_yield()
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{kind}").write_text("0 0 65536")
        child.communicate(b"\n")
    if child.returncode != 0:
        sys.exit(f"the second half of the installation failed: see {tree}/debootstrap/debootstrap.log")


def _shorten(tree: Path) -> None:
    """Leave in the lists what is installed: the second half reads them through once for each package, emulated."""
    fetched = {one.name.split("_")[0] for one in (tree / "var/cache/apt/archives").glob("*.deb")}
    for listed in (tree / "var/lib/apt/lists").glob("*_Packages"):
        kept = listed.with_suffix(".kept")
        kept.write_text(only(listed.read_text(), fetched))
        kept.replace(listed)


def only(listed: str, names: Collection[str]) -> str:
    """Of a list of Debian's packages those with these names."""
    wanted = {f"Package: {name}" for name in names}
    return "\n\n".join(one for one in listed.split("\n\n") if wanted & {*one.split("\n", 1)[:1]}) + "\n\n"


def _mirror() -> str:
    """Where this machine takes Debian's packages from."""
    words = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Label: Debian"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    return shown[0] if shown else sys.exit("apt knows no mirror of Debian here")


def _settle(tree: Path) -> None:
    """A name, an ordinary user whose services run without a login, and the unit of the tests."""
    (tree / "etc/hostname").write_text("host\n")
    (tree / "etc/systemd/system/sekisho-tests.service").write_text(UNIT)
    units = tree / "etc/systemd/system"
    wants = units / "multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    (wants / "sekisho-tests.service").symlink_to("../sekisho-tests.service")
    for name in MASKED:
        (units / name).unlink(missing_ok=True)
        (units / name).symlink_to("/dev/null")
    with (tree / "etc/passwd").open("a") as passwd, (tree / "etc/group").open("a") as group:
        passwd.write(f"{USER}:x:1000:1000::/home/{USER}:/bin/bash\n")
        group.write(f"{USER}:x:1000:\n")
    with (tree / "etc/shadow").open("a") as shadow:
        shadow.write(f"{USER}:*:20000:0:99999:7:::\n")  # no password; without this line PAM lets nobody in
    for name in ("subuid", "subgid"):
        (tree / "etc" / name).write_text(f"{USER}:100000:65536\n")
    home = tree / "home" / USER
    home.mkdir(mode=0o700)
    os.chown(home, 1000, 1000)
    linger = tree / "var/lib/systemd/linger"
    linger.mkdir(parents=True, exist_ok=True)
    (linger / USER).touch()


def _add_python(tree: Path, host: Host, wanted: list[str]) -> None:
    """An environment as `python -m venv` makes it, with our dependencies; our source is read where it will lie."""
    home = tree / "srv/venv"
    site = tree / SITE
    site.mkdir(parents=True)
    (tree / "srv/sekisho").mkdir()
    (home / "bin").mkdir()
    (home / "bin/python").symlink_to("/usr/bin/python3")
    (home / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    )
    options = [word for one in platforms(host) for word in ("--platform", one)]
    dev.pip(
        Path(sys.executable), "--target", str(site), "--python-version", PYTHON, "--implementation", "cp",
        "--only-binary=:all:", *options, *wanted,
    )  # fmt: skip
    (site / "sekisho.pth").write_text("/srv/sekisho/src\n")
    command = home / "bin/sekisho"
    command.write_text(COMMAND)
    command.chmod(0o755)


def _pack(tree: Path, folder: Path) -> None:
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    initrds = sorted((tree / "boot").glob("initrd.img-*"))
    shutil.copyfile(kernels[-1], folder / "vmlinuz")
    shutil.copyfile(initrds[-1], folder / "initrd")
    image = folder / "root.ext4"
    subprocess.run(["truncate", "--size", ROOM, image], check=True)
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", "-d", tree, image], check=True)

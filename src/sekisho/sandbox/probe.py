"""Finds out what this host can enforce, by trying it: a wall counts when it has stood once.

Guarantees that `probe` names every missing wall together with what to do about it, and that it leaves nothing
behind. `glance` only looks, because the first launch tries every wall anyway. Decides nothing: `plan` refuses when
something is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.launcher.serving import ENTRY
from sekisho.sandbox.limits import find_parents
from sekisho.sandbox.seccomp import assemble
from sekisho.sandbox.spec import Capabilities

__all__ = ["Row", "doctor", "glance", "probe"]

TRIAL_S: Final = 10.0
OLDEST_BWRAP: Final = (0, 6)  # --size and --clearenv
_INSTALL: Final = "install bubblewrap (apt install bubblewrap, dnf install bubblewrap)"
_ALLOW: Final = "allow unprivileged user namespaces for bwrap (sysctl or AppArmor profile)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of `sekisho doctor`."""

    what: str
    ok: bool
    detail: str
    fix: str = ""


def probe() -> Capabilities:
    """What this host can enforce, tried just now."""
    version, parents = find_parents()
    return Capabilities(
        bwrap=shutil.which("bwrap"),
        machine=platform.machine(),
        cgroup=version,
        cgroup_parents=parents,
        missing=tuple(f"{row.what}: {row.detail} ({row.fix})" for row in _walls() if not row.ok),
    )


def glance() -> Capabilities:
    """What this host seems to offer, nothing tried: for a start that fails as a whole when a wall does not stand."""
    version, parents = find_parents()
    bwrap = shutil.which("bwrap")
    return Capabilities(
        bwrap=bwrap,
        machine=platform.machine(),
        cgroup=version,
        cgroup_parents=parents,
        missing=() if bwrap is not None else (f"bubblewrap: bwrap is not installed ({_INSTALL})",),
    )


def doctor() -> tuple[Row, ...]:
    """Every wall and every limit, whether it stands here, and how to get it."""
    version, parents = find_parents()
    held = {name for name, _ in parents}
    limits = tuple(
        Row(
            what=f"limit: {name}",
            ok=name in held,
            detail=f"control group {version}" if name in held else instead,
            fix="" if name in held else "delegate control groups to this user (systemd: Delegate=yes)",
        )
        for name, instead in (
            ("memory", "watched 20 times a second instead"),
            ("pids", "RLIMIT_NPROC instead"),
            ("cpu", "not limited"),
        )
    )
    return (*_walls(), *limits)


def _walls() -> tuple[Row, ...]:
    bwrap = _bwrap_row()
    if not bwrap.ok:
        return (bwrap,)
    return (bwrap, _filter_row(), _network_row())


def _bwrap_row() -> Row:
    program = shutil.which("bwrap")
    if program is None:
        return Row(what="bubblewrap", ok=False, detail="bwrap is not installed", fix=_INSTALL)
    said = _run([program, "--version"]).stdout.strip()
    numbers = tuple(int(part) for part in said.split()[-1].split(".") if part.isdigit()) if said else ()
    if numbers[:2] < OLDEST_BWRAP:
        return Row(
            what="bubblewrap", ok=False, detail=f"{said or program} is too old", fix="install 0.6 or newer"
        )
    return Row(what="bubblewrap", ok=True, detail=f"{said} at {program}")


def _filter_row() -> Row:
    """Namespaces and the system call filter together: the same call a plugin's start makes."""
    what = "namespaces and system call filter"
    try:
        code = assemble(platform.machine())
    except Misconfigured as error:
        return Row(what=what, ok=False, detail=error.message, fix=error.remedy)
    with open(os.memfd_create("sekisho"), "w+b") as file:  # noqa: PTH123 - a memfd has no path
        file.write(code)
        file.flush()
        file.seek(0)
        argv = [
            shutil.which("bwrap") or "bwrap",
            "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-net",
            "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
            "--die-with-parent", "--new-session", "--cap-drop", "ALL",
            "--seccomp", str(file.fileno()),
            "--", shutil.which("true") or "/bin/true",
        ]  # fmt: skip
        ended = _run(argv, file.fileno())
    if ended.returncode != 0:
        return Row(what=what, ok=False, detail=ended.stderr.strip()[:400] or "bwrap failed", fix=_ALLOW)
    return Row(what=what, ok=True, detail=f"tried, {len(code) // 8} filter instructions")


def _network_row() -> Row:
    said = _run([sys.executable, "-I", "-S", ENTRY, "probe", str(os.getpid())]).stdout.strip()
    if said:
        return Row(what="network namespace", ok=False, detail=said[:400], fix=_ALLOW)
    return Row(what="network namespace", ok=True, detail="tried, the gate's sockets open in it")


def _run(argv: list[str], *pass_fds: int) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TRIAL_S,
            check=False,
            pass_fds=pass_fds,
            env={"PATH": "/usr/bin:/bin"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))

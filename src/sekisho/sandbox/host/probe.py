"""Finds out what one driver can enforce on this host, by trying it: a wall counts when it has stood once.

Guarantees that `probe` names every missing wall together with what to do about it, and that it leaves nothing
behind. `glance` only looks, because the first launch tries every wall anyway. Decides nothing: `plan` refuses when
something is missing.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.launcher.calls import call
from sekisho.launcher.ruleset import SCOPE_ABI, abi
from sekisho.launcher.serving import ENTRY
from sekisho.sandbox.calls.seccomp import MACHINES, assemble
from sekisho.sandbox.host.obstacles import INSTALL_BWRAP, LATE, obstacle
from sekisho.sandbox.plans.spec import Capabilities, DriverName, Level
from sekisho.sandbox.running.limits import find_parents

__all__ = [
    "glance",
    "probe",
    "run_trial",
    "try_bwrap",
    "try_landlock",
    "try_native",
    "try_network",
    "try_staging",
]

TRIAL_S: Final = 10.0
PLAIN: Final[Mapping[str, str]] = {"PATH": "/usr/bin:/bin"}
OLDEST_BWRAP: Final = (0, 6)  # --size and --clearenv
OLDEST_ALARM: Final = (5, 5)  # a listener may let a call go on
OLDEST_NATIVE: Final = (5, 12)  # mount_setattr
GET_ACTION_AVAIL: Final = 2
USER_NOTIF: Final = (0x7FC0_0000).to_bytes(4, sys.byteorder)


def glance(driver: DriverName = "bubblewrap") -> Capabilities:
    """What this host seems to offer, nothing tried: for a start that fails as a whole when a wall does not stand."""
    version, parents = find_parents()
    bwrap = shutil.which("bwrap")
    seen = Capabilities(
        bwrap=bwrap,
        machine=platform.machine(),
        cgroup=version,
        cgroup_parents=parents,
        driver=driver,
        landlock_abi=abi(),
        alarm=_can_ring(driver, bwrap),
    )
    missing = _seen_missing(driver, seen)
    return replace(seen, missing=missing, level=_level(driver, seen.landlock_abi))


def probe(driver: DriverName = "bubblewrap") -> Capabilities:
    """What this host can enforce, tried just now."""
    seen = glance(driver)
    if seen.missing:
        return seen
    trials = {
        "bubblewrap": (try_bwrap, try_network),
        "native": (try_native,),
        "landlock": (try_landlock,),
    }.get(driver, ())
    for trial in trials:
        complaint = trial()
        if complaint:
            return replace(seen, missing=(obstacle(complaint),))
    return seen


def try_bwrap() -> str:
    """Namespaces and the system call filter together: the same call a plugin's start makes. Says what failed."""
    program = shutil.which("bwrap")
    if program is None:
        return "bwrap is not installed"
    asked = run_trial([program, "--version"])
    if LATE in asked.stderr:
        return asked.stderr
    said = asked.stdout.strip()
    numbers = tuple(int(part) for part in said.split()[-1].split(".") if part.isdigit()) if said else ()
    if numbers[:2] < OLDEST_BWRAP:
        return f"{said or program} is too old: install 0.6 or newer"
    try:
        code = assemble(platform.machine())
    except Misconfigured as error:
        return error.message
    with open(os.memfd_create("sekisho"), "w+b") as file:  # noqa: PTH123 - a memfd has no path
        file.write(code)
        file.flush()
        file.seek(0)
        argv = [
            program,
            "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-net",
            "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
            "--die-with-parent", "--new-session", "--cap-drop", "ALL",
            "--seccomp", str(file.fileno()),
            "--", shutil.which("true") or "/bin/true",
        ]  # fmt: skip
        ended = run_trial(argv, file.fileno())
    return "" if ended.returncode == 0 else ended.stderr.strip()[:400] or "bwrap failed"


def try_network() -> str:
    """A network of its own with the gate's sockets in it. Says what failed."""
    return _launcher("probe")


def try_native() -> str:
    """Every namespace at once, with a root and a /proc of its own. Says what failed."""
    return _launcher("probe-native")


def try_staging() -> str:
    """An overlay over a folder, and for root a folder that is shown as another user's. Says what failed."""
    return _launcher("probe-staging")


def try_landlock() -> str:
    """A ruleset on a short process. Says what failed."""
    return _launcher("probe-landlock")


def run_trial(
    argv: list[str], *pass_fds: int, timeout_s: float | None = None, environment: Mapping[str, str] = PLAIN
) -> subprocess.CompletedProcess[str]:
    """A short program, bounded; one that cannot be started is one that failed."""
    bound_s = TRIAL_S if timeout_s is None else timeout_s
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
            pass_fds=pass_fds,
            env={**PLAIN, **environment},
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 1, "", f"{LATE} {bound_s:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))


def _launcher(word: str) -> str:
    ended = run_trial([sys.executable, "-I", "-S", ENTRY, word, str(os.getpid())])
    return (ended.stdout or ended.stderr).strip()[:400]


def _seen_missing(driver: DriverName, seen: Capabilities) -> tuple[str, ...]:
    if seen.machine not in MACHINES and driver != "unsafe-none":
        return (
            f"system call filter: none is written for {seen.machine} (use {' or '.join(sorted(MACHINES))})",
        )
    match driver:
        case "bubblewrap" if seen.bwrap is None:
            return (f"bubblewrap: bwrap is not installed ({INSTALL_BWRAP})",)
        case "native" if _release() < OLDEST_NATIVE:
            return ("native: Linux 5.12 or newer is needed (use bubblewrap: " + INSTALL_BWRAP + ")",)
        case "landlock" if not seen.landlock_abi:
            return ("Landlock: the kernel has it not, or not switched on (boot with lsm=landlock,...)",)
        case _:
            return ()


def _level(driver: DriverName, landlock_abi: int) -> Level:
    match driver:
        case "landlock":
            return "standard" if landlock_abi >= SCOPE_ABI else "minimal"
        case "unsafe-none":
            return "unsafe-none"
        case _:
            return "strict"


def _can_ring(driver: DriverName, bwrap: str | None) -> bool:
    """Whether refused calls can be reported. A set-uid bwrap would lose its right to no_new_privs, which we need."""
    if driver == "bubblewrap" and bwrap is not None and Path(bwrap).stat().st_mode & stat.S_ISUID:
        return False
    try:
        call("seccomp", GET_ACTION_AVAIL, 0, USER_NOTIF)
    except OSError:
        return False
    return _release() >= OLDEST_ALARM


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2] if part.isdigit())

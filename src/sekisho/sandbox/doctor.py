"""What `sekisho doctor` says of walls: each layer and each limit, tried just now, and which driver gives what here.

Guarantees that a row is good only when the thing was tried, or, for what cannot be tried without changing something,
read from the kernel; each row that is not good says what to type. Judges nothing: whether a start is refused is decided
by `driver.choose`.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from sekisho.errors import Misconfigured
from sekisho.launcher.ruleset import NEWEST_ABI, SCOPE_ABI, abi
from sekisho.sandbox.driver import AUTO_ORDER, Offer
from sekisho.sandbox.host.obstacles import LATE, explain_here
from sekisho.sandbox.host.probe import (
    glance,
    run_trial,
    try_bwrap,
    try_landlock,
    try_native,
    try_network,
    try_staging,
)
from sekisho.sandbox.oci.engine import COMMAND_S, NOTHING, find_engine, lacking
from sekisho.sandbox.oci.rootless import lack_here
from sekisho.sandbox.plans.spec import LEVELS, Level
from sekisho.sandbox.raising import offer_of
from sekisho.sandbox.running.limits import find_parents

__all__ = ["Row", "doctor"]

_LOGGED: Final = re.compile(r'^time=.*? msg="(.*)"$')  # how podman says anything at all

_MEANS: Final[dict[Level, str]] = {
    "strict": "namespaces, system call filter, a root of its own, the gate",
    "standard": "Landlock and system call filter, no network",
    "minimal": "as standard, with an older Landlock",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of `sekisho doctor`; one that is not `needed` has another that stands in for it."""

    what: str
    ok: bool
    detail: str
    fix: str = ""
    needed: bool = True


def doctor(environment: Mapping[str, str] = NOTHING) -> tuple[Row, ...]:
    """Every wall and every limit, whether it stands here, and how to get it; `environment` is ours, for an engine."""
    containers = _containers(environment)
    offers = [offer_of(name) for name in AUTO_ORDER]
    if not containers.ok:
        offers = [
            replace(one, missing=(containers.detail,)) if one.driver == "oci" else one for one in offers
        ]
    return (*_layers(), containers, *_levels(tuple(offers)), *_limits())


def _layers() -> tuple[Row, ...]:
    return (
        _tried("bubblewrap", try_bwrap(), "namespaces and system call filter stood"),
        _tried("network namespace", try_network(), "the gate's sockets open in it"),
        _tried("own walls", try_native(), "every namespace, with a root and a /proc of our own"),
        _overlay(),
        _landlock(),
        _alarm(),
    )


def _tried(what: str, complaint: str, good: str) -> Row:
    if not complaint:
        return Row(what=what, ok=True, detail=f"tried: {good}", needed=False)
    return Row(what=what, ok=False, detail=complaint, fix=explain_here(complaint), needed=False)


def _unless_late(complaint: str, fix: str) -> str:
    """The remedy of a wall that cannot stand; of one whose trial was not finished nobody knows."""
    return explain_here(complaint) if LATE in complaint else fix


def _overlay() -> Row:
    what = "writes that wait, and files shown as a plugin's own"
    complaint = try_staging()
    if complaint:
        fix = 'Linux 6.6 or newer has both; without them write persist = "direct", and as root uids = ""'
        return Row(what=what, ok=False, detail=complaint, fix=_unless_late(complaint, fix), needed=False)
    return Row(what=what, ok=True, detail="tried: an overlay stood", needed=False)


def _containers(environment: Mapping[str, str]) -> Row:
    """A container engine that answers; its walls are tried by the first start, which needs an image."""
    what = "container engine"
    try:
        engine = find_engine("auto", environment=environment)
    except Misconfigured as error:
        return Row(what=what, ok=False, detail=error.message, fix=error.remedy, needed=False)
    # as long as a start would wait for it, and with what a start would give it
    ended = run_trial([*engine.question], timeout_s=COMMAND_S, environment=engine.environment)
    lack = lack_here(ended.stdout) if engine.is_rootless else None
    if lack is not None:  # also the likeliest reason why it does not answer, which it does not name
        return Row(what=what, ok=False, detail=f"{engine.name}: {lack[0]}", fix=lack[1], needed=False)
    if ended.returncode:
        said = (ended.stderr.strip().splitlines() or ["it says nothing"])[-1]
        logged = _LOGGED.search(said)
        said = logged[1] if logged is not None else said
        fix = explain_here(said) if engine.is_rootless else _unless_late(said, "start the engine")
        return Row(what=what, ok=False, detail=f"{engine.name}: {said[:200]}", fix=fix, needed=False)
    refused = engine.refused(ended.stdout)
    if refused:
        detail, fix = (
            f"{engine.name}: cannot hold {', '.join(refused)}",
            f"delegate control groups to {_whom()}",
        )
        return Row(what=what, ok=False, detail=detail, fix=fix, needed=False)
    watched = lacking(ended.stdout)
    means = f"we watch {', '.join(watched)} in its place" if watched else "holds every limit"
    return Row(what=what, ok=True, detail=f"{engine.name} answers; {means}", needed=False)


def _landlock() -> Row:
    version = abi()
    complaint = try_landlock() if version else "the kernel has it not, or not switched on"
    if complaint:
        fix = "boot with lsm=landlock,... (Linux 5.13 or newer)"
        return Row(
            what="Landlock", ok=False, detail=complaint, fix=_unless_late(complaint, fix), needed=False
        )
    also = "" if version >= SCOPE_ABI else "; signals and abstract sockets need ABI 6 (Linux 6.12)"
    return Row(what="Landlock", ok=True, detail=f"tried: ABI {version} of {NEWEST_ABI}{also}", needed=False)


def _alarm() -> Row:
    what = "refused system calls are told"
    if glance("native").alarm:
        return Row(what=what, ok=True, detail=f"the kernel can ({platform.machine()})", needed=False)
    return Row(
        what=what, ok=False, detail="they are refused all the same", fix="Linux 5.5 or newer", needed=False
    )


def _levels(offers: tuple[Offer, ...]) -> tuple[Row, ...]:
    """Which driver gives each level here."""
    rows = []
    for level, means in _MEANS.items():
        giving = [one for one in offers if not one.missing and LEVELS.index(one.level) <= LEVELS.index(level)]
        reasons = "; ".join(
            f"{one.driver}: {', '.join(one.missing) or 'gives ' + one.level}" for one in offers
        )
        rows.append(
            Row(
                what=f"isolation {level}",
                ok=bool(giving),
                detail=f"{' or '.join(one.driver for one in giving)} ({means})" if giving else reasons,
                fix="" if giving else "any one of the drivers above is enough",
                needed=level == "strict",
            )
        )
    return tuple(rows)


def _limits() -> tuple[Row, ...]:
    version, parents = find_parents()
    held = {"io" if name == "blkio" else name for name, _ in parents}
    return tuple(
        Row(
            what=f"limit: {name}",
            ok=name in held,
            detail=f"control group {version}" if name in held else instead,
            fix="" if name in held else f"delegate control groups to {_whom()}",
            needed=name != "io",
        )
        for name, instead in (
            ("memory", "watched 20 times a second instead"),
            ("pids", "RLIMIT_NPROC instead"),
            ("cpu", "stopped and continued in turns instead"),
            ("io", "not limited; a plugin that states io_mbps is refused"),
        )
    )


def _whom() -> str:
    return ("this user" if os.geteuid() else "this service") + " (systemd: Delegate=yes)"

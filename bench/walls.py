"""How long a program's start behind walls takes, beside the same program started bare, and behind other walls.

Every way is tried once in every round, so that other load on the machine meets all alike. A round begins when what the
last start left to be done is done: a launcher forks for the next one, an engine removes a container. Engines need so long
for it that they have rounds of their own, after ours. Other walls are measured where they are installed: srt of npm under
`.cache/escape-srt` and podman with `.cache/escape-rootfs`, which `python -m tests.real.escape.report` lays there.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from sekisho.policy import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import Bubblewrap, Driver, Landlock, Launched, Native, Plan, SandboxSpec
from sekisho.sandbox.oci.driver import Oci

__all__ = ["DRIVERS", "Clock", "measure_walls"]

PROGRAM: Final = "/bin/true"
CONTAINER_USER: Final = 612_345  # nobody's on this host
WARM_UP: Final = 2
PEER_EVERY: Final = 5  # others need a hundred times as long: one start in so many rounds is enough
REST_S: Final = 0.05  # a launcher clears up ten milliseconds after an end, for ten more
CACHE: Final = Path(__file__).resolve().parents[1] / ".cache"
SRT: Final = CACHE / "escape-srt" / "node_modules" / ".bin"
ROOTFS: Final = CACHE / "escape-rootfs"
DRIVERS: Final[dict[str, tuple[type[Launched], str]]] = {
    "bubblewrap": (Bubblewrap, "strict"),
    "native": (Native, "strict"),
    "landlock": (Landlock, "standard"),
}

Clock = Callable[[], Awaitable[float]]  # one start, from the request to the end of the program; in seconds


def measure_walls(starts: int) -> dict[str, float]:
    """Medians in milliseconds, and what is added over bare within each round."""
    return asyncio.run(_measure(starts))


async def _measure(starts: int) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    standing: dict[str, list[float]] = {}
    async with AsyncExitStack() as stack:
        ways: dict[str, Clock] = {"bare": _bare}
        for name, (make, isolation) in DRIVERS.items():
            driver = await stack.enter_async_context(make())
            plan = await driver.plan(_spec(isolation))
            ways[name] = _walled(driver, plan, standing.setdefault(name, []))
        await _tried(ways, starts, found)
        await _tried(_peers() | await _containers(stack, standing), -(-starts // PEER_EVERY), found)
    return _told(found, standing)


async def _tried(ways: dict[str, Clock], starts: int, found: dict[str, list[float]]) -> None:
    for number in range(starts + WARM_UP):
        for name, clock in ways.items():
            await asyncio.sleep(REST_S)
            took = await clock()
            if number >= WARM_UP:
                found.setdefault(name, []).append(took)


def _told(found: dict[str, list[float]], standing: dict[str, list[float]]) -> dict[str, float]:
    middle = {name: 1e3 * statistics.median(times) for name, times in found.items()}
    stood = {name: 1e3 * statistics.median(times) for name, times in standing.items()}
    over = {name: middle[name] - middle["bare"] for name in middle if name != "bare"}
    told = {
        "walls_bare_ms": middle["bare"],
        "walls_walled_ms": middle["bubblewrap"],
        "walls_standing_ms": stood["bubblewrap"],
        **{f"walls_{name}_standing_ms": value for name, value in stood.items() if name.startswith("oci")},
        "walls_over_bare_ms": over["bubblewrap"],
        **{f"walls_{name}_over_bare_ms": value for name, value in over.items() if name != "bubblewrap"},
    }
    if "srt" in over:
        told["walls_of_srt"] = over["bubblewrap"] / over["srt"]
    return told


async def _containers(stack: AsyncExitStack, standing: dict[str, list[float]]) -> dict[str, Clock]:
    """Our own walls by podman: a first start, and one that finds a container which was made ahead."""
    if shutil.which("podman") is None or os.geteuid() != 0:
        return {}
    ways = {}
    for name, has_reserve in (("oci", False), ("oci_again", True)):
        driver = await stack.enter_async_context(
            Oci("podman", environment=os.environ, has_reserve=has_reserve)
        )
        plan = await driver.plan(replace(_spec("strict"), owner=CONTAINER_USER))
        if has_reserve:
            await _walled(driver, plan, [])()  # the first one makes the next
        ways[name] = _contained(driver, plan, standing.setdefault(name, []))
    return ways


def _contained(driver: Oci, plan: Plan, standing: list[float]) -> Clock:
    once = _walled(driver, plan, standing)

    async def clock() -> float:
        await driver.wait_reserve()
        return await once()

    return clock


def _peers() -> dict[str, Clock]:
    """Other walls that are installed here, each as it is usually started."""
    peers: dict[str, Clock] = {}
    if (SRT / "srt").exists() and shutil.which("bwrap"):
        peers["srt"] = _command(str(SRT / "node"), str(SRT / "srt"), "-c", PROGRAM)
    if shutil.which("podman") and (ROOTFS / "bin" / "true").exists() and os.geteuid() == 0:
        peers["podman"] = _command(
            "podman", "--cgroup-manager", "cgroupfs", "--events-backend", "none", "--runtime", "runc", "run",
            "--rm", "-i", "--network", "none", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=512:512",
            "--rootfs", str(ROOTFS.resolve()), PROGRAM,  # it follows no link
        )  # fmt: skip
    return peers


async def _bare() -> float:
    return await _command(PROGRAM)()


def _command(*words: str) -> Clock:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent"}

    async def clock() -> float:
        pipe = asyncio.subprocess.PIPE
        started = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            *words, stdin=pipe, stdout=pipe, stderr=pipe, env={} if len(words) == 1 else environment
        )
        _, err = await process.communicate()
        took = time.perf_counter() - started
        if process.returncode != 0:
            raise RuntimeError(f"{words[0]} ended with {process.returncode}: {err.decode()[-500:]}")
        return took

    return clock


def _walled(driver: Driver, plan: Plan, standing: list[float]) -> Clock:
    async def clock() -> float:
        started = time.perf_counter()
        sandbox = await driver.launch(plan)
        standing.append(time.perf_counter() - started)
        how = await sandbox.wait()
        took = time.perf_counter() - started
        sandbox.close_fds()
        if how.code != 0:
            raise RuntimeError(f"{PROGRAM} ended with {how}")
        return took

    return clock


def _spec(isolation: str) -> SandboxSpec:
    grants = Grants(network=NetworkGrant(), files=FileGrant(), limits=LimitGrant())
    return SandboxSpec(name="bench", argv=(PROGRAM,), grants=grants, isolation=isolation)

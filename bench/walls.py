"""How long a program's start behind the wall takes, beside the same program started bare."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass

from sekisho.policy import FileGrant, Grants, LimitGrant, NetworkGrant
from sekisho.sandbox import Bubblewrap, Plan, SandboxSpec

__all__ = ["WallTimes", "measure_walls"]

PROGRAM = "/bin/true"
WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class WallTimes:
    """Medians in milliseconds: start to end of a program that ends at once, and until all walls stand."""

    bare_ms: float
    walled_ms: float
    standing_ms: float
    starts: int

    @property
    def over_bare_ms(self) -> float:
        """What the walls add."""
        return self.walled_ms - self.bare_ms


def measure_walls(starts: int) -> WallTimes:
    """Start it bare and walled in turn, with one launcher that stays."""
    return asyncio.run(_measure(starts))


async def _measure(starts: int) -> WallTimes:
    bare: list[float] = []
    walled: list[float] = []
    standing: list[float] = []
    async with Bubblewrap() as driver:
        plan = await driver.plan(SandboxSpec(name="bench", argv=(PROGRAM,), grants=_grants()))
        for _ in range(starts + WARM_UP):
            bare.append(await _bare())
            stood, ended = await _walled(driver, plan)
            standing.append(stood)
            walled.append(ended)
    return WallTimes(
        bare_ms=1e3 * statistics.median(bare[WARM_UP:]),
        walled_ms=1e3 * statistics.median(walled[WARM_UP:]),
        standing_ms=1e3 * statistics.median(standing[WARM_UP:]),
        starts=starts,
    )


async def _bare() -> float:
    pipe = asyncio.subprocess.PIPE
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(PROGRAM, stdin=pipe, stdout=pipe, stderr=pipe, env={})
    await process.wait()
    return time.perf_counter() - started


async def _walled(driver: Bubblewrap, plan: Plan) -> tuple[float, float]:
    started = time.perf_counter()
    sandbox = await driver.launch(plan)
    stood = time.perf_counter() - started
    how = await sandbox.wait()
    ended = time.perf_counter() - started
    sandbox.close_fds()
    if how.code != 0:
        raise RuntimeError(f"{PROGRAM} ended with {how}")
    return stood, ended


def _grants() -> Grants:
    return Grants(network=NetworkGrant(), files=FileGrant(), limits=LimitGrant())

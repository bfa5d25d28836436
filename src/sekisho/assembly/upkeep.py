"""What a core process looks at every second: approvals, revocations, certificates, issuers, its own memory.

Guarantees that what changes on disk counts within LOOK_S, and that a certificate which cannot be used leaves the one in
use as it is and is said once. Serves no call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sekisho.assembly.duties import Duties
from sekisho.assembly.identities import renew_all
from sekisho.assembly.listening import Listener
from sekisho.assembly.memory import give_back, resident_bytes
from sekisho.assembly.tallies import Tallies
from sekisho.assembly.trust import Trust
from sekisho.audit import Journal
from sekisho.config import CoreConfig
from sekisho.errors import Misconfigured
from sekisho.gateway import Door, Standings
from sekisho.keys import KeyFolder, Revocations
from sekisho.telemetry import Logger, Metrics

__all__ = ["Upkeep"]

LOOK_S: Final = 1.0  # how soon an approval, a renewed certificate or a revocation is noticed
TRIM_S: Final = 10.0
MUCH_MEMORY: Final = 96 << 20  # three times what an idle core needs
RENEW_S: Final = 60.0


@dataclass(slots=True, kw_only=True)
class Upkeep:
    """One process's round, every second."""

    config: Callable[[], CoreConfig]
    keys: KeyFolder
    revoked: Revocations
    trust: Trust
    standings: Standings
    duties: Duties
    listener: Listener
    metrics: Metrics
    tallies: Tallies | None
    """None where nobody else has to read them."""
    log: Logger
    _front_problem: str = field(default="", init=False)

    async def go_round(self, door: Door, journal: Journal) -> None:
        """Look, every second, until cancelled."""
        renewed = trimmed = time.time()
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.time()
            if now - trimmed > TRIM_S and resident_bytes() > MUCH_MEMORY:
                trimmed = now
                give_back()
            if self.standings.refresh_lock():
                self.duties.noticed_approval()
            self.metrics.audit_healthy(journal.healthy)
            self.keys.refresh_revoked(self.revoked)
            self.trust.look(now)
            door.look(now)
            await self._take_up_renewal(now)
            self.duties.look()
            if self.tallies is not None:
                self.tallies.write()
            if self.duties.leads and now - renewed > RENEW_S:
                renewed = now
                config = self.config()
                here = [one.name for one in config.plugins.servers if one.runs_here]
                renew_all(self.keys, config, here, now)

    async def _take_up_renewal(self, now: float) -> None:
        try:
            await self.listener.take_up_renewal(now, self.config().auth.client_ca_path)
            self._front_problem = ""
        except Misconfigured as error:  # looked at again in a second; said once
            if self._front_problem != error.message:
                self._front_problem = error.message
                self.log.error("certificate_unusable", code=error.code, reason=error.message)

"""What plugin servers say over their lines, told to whom it concerns: standings, metrics, running log, audit log.

Guarantees that a denial is acknowledged to its plugin server only once it is in the log. Decides nothing: what a changed
surface means is judged by `Standings`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from sekisho.assembly.logbook import Logbook
from sekisho.errors import SekishoError
from sekisho.gateway import Standings
from sekisho.protocol import PluginName
from sekisho.registry import Listing
from sekisho.telemetry import Logger, Metrics
from sekisho.wire import DenialFrame, StateFrame, SurfaceFrame

__all__ = ["PluginReports"]


class PluginReports:
    """Hears the lines (`plug_lines.Hears`)."""

    def __init__(
        self,
        *,
        standings: Standings,
        metrics: Metrics,
        log: Logger,
        logbook: Logbook,
        noticed_approval: Callable[[], None],
        tell_state: Callable[[PluginName, str, str], None],
    ) -> None:
        self._tell_state = tell_state
        self._standings = standings
        self._metrics = metrics
        self._log = log
        self._logbook = logbook
        self._noticed_approval = noticed_approval
        self._line_problems: dict[PluginName, str] = {}

    def took_surface(self, name: PluginName, frame: SurfaceFrame) -> None:
        """A plugin server says what its plugin offers."""
        listing = Listing(
            server_info=bytes(frame.server_info),
            capabilities=bytes(frame.capabilities),
            instructions=frame.instructions,
            tools=tuple(bytes(one) for one in frame.tools),
            prompts=tuple(bytes(one) for one in frame.prompts),
            resources=tuple(bytes(one) for one in frame.resources),
            templates=tuple(bytes(one) for one in frame.templates),
            tree=frame.tree,
        )
        self._standings.report(name, listing, time.time())
        self._noticed_approval()  # it may have been approved on first use

    def took_state(self, name: PluginName, frame: StateFrame) -> None:
        """A plugin server says how its plugin is."""
        self._line_problems.pop(name, None)
        self._metrics.plugin_state(name, is_up=frame.state in ("ready", "idle"), restarts=frame.restarts)
        say = self._log.warning if frame.detail else self._log.info  # a detail is why it does not run
        if frame.detail:
            self._standings.ended(name)
        self._tell_state(name, frame.state, frame.detail)
        say("plugin_state", plugin=name, state=frame.state, detail=frame.detail, restarts=frame.restarts)

    def took_denial(self, name: PluginName, frame: DenialFrame, recorded: Callable[[], None]) -> None:
        """A wall refused something, or let it through to learn; `recorded` is called once the log holds it."""
        told = {"wall": frame.kind, "rule": frame.rule, "reason": frame.reason}
        if frame.target:
            told["target"] = frame.target
        event = "plugin_learned" if frame.kind == "learned" else "plugin_denied"
        if event == "plugin_denied":
            self._metrics.denied(name, frame.kind, 1 + frame.left_out)
        self._log.warning(event, plugin=name, left_out=frame.left_out, **told)

        def done(problem: SekishoError | None) -> None:
            if problem is None:
                recorded()

        fields = {"plugin": name, "left_out": frame.left_out or None, **told}
        self._logbook.record(event, fields, done)

    def line_down(self, name: PluginName, error: SekishoError) -> None:
        """A line was lost or could not be opened."""
        self._metrics.plugin_state(name, is_up=False, restarts=None)
        if self._line_problems.get(name) == error.message:
            return  # it is tried again and again, and said once
        self._line_problems[name] = error.message
        self._log.warning("plugin_line_down", plugin=name, code=error.code, reason=error.message)

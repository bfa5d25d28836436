"""The egress process: the only door out of every sandbox of this machine. Holds no keys of the core."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from sekisho.assembly.descriptors import descriptors_needed, raise_descriptor_limit
from sekisho.assembly.discretion import hide_memory
from sekisho.assembly.places import Places
from sekisho.assembly.running import run_until_stopped
from sekisho.config import CoreConfig, PluginConfig, PluginEntry, load_any
from sekisho.egress import EgressEvent, EgressSettings, outer_context, serve
from sekisho.telemetry import Logger

__all__ = ["run_egress"]

_SHORT = "raise the limit of open files (LimitNOFILE, ulimit -Hn), or lower network_policy.max_connections"


def run_egress(config_path: Path, home: Path, environment: Mapping[str, str]) -> None:
    """Serve the gates of all plugins this machine runs, until SIGTERM.

    `config_path`: a core file, for the plugins it starts here; or a plugin file, for its one plugin.
    `environment`: ours, in which secrets are found that are named by a variable.
    """
    config = load_any(config_path)
    plugins = _run_here(config)
    places = Places(home=home, config=config_path)
    places.make_folders()
    log = Logger("egress", level=config.audit.log_level if isinstance(config, CoreConfig) else "INFO")
    settings = EgressSettings(
        sockets={one.name: (places.gate_socket(one.name), one.grants.network) for one in plugins},
        log_folder=places.egress_log,
        more={
            one.name: tuple(places.gate_socket(one.name, slot) for slot in range(1, one.workload.gates + 1))
            for one in plugins
            if one.workload.upstream is None and not one.grants.network.is_closed
        },
        leases={
            one.name: (places.lease_socket(one.name), one.grants) for one in plugins if one.grants.needs_lease
        },
    )
    if settings.leases:
        hide_memory()
    opens_tls = any(grants.network.intercept_tls for _, grants in settings.leases.values())
    allowed = raise_descriptor_limit()
    needed = descriptors_needed((one.grants.network, 1 + one.workload.gates) for one in plugins)
    if allowed < needed:
        log.warning("egress_descriptors_short", allowed=allowed, needed=needed, remedy=_SHORT)
    for name, (_, network) in settings.sockets.items():
        if network.mode == "learn":
            log.warning("egress_learns", plugin=name, remedy=f"sekisho egress propose {name}")
    run_until_stopped(
        serve(
            settings,
            on_event=partial(_tell, log),
            environment=environment,
            outer=outer_context() if opens_tls else None,
        )
    )


def _run_here(config: CoreConfig | PluginConfig) -> tuple[PluginEntry | PluginConfig, ...]:
    if isinstance(config, PluginConfig):
        return (config,)  # its command may be given where it is started
    return tuple(one for one in config.plugins.servers if one.runs_here)


def _tell(log: Logger, event: EgressEvent) -> None:
    """What is worth a line of the process's own log; the ledger has everything."""
    if event.allowed and not event.is_notable:
        return
    name = "egress_learned" if event.is_learned else "egress_slowed" if event.allowed else "egress_refused"
    log.warning(
        name, plugin=event.plugin, kind=event.kind, host=event.host, port=event.port, reason=event.reason
    )

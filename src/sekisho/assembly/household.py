"""From configuration to the values the gate reads; built again whenever configuration or approvals change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sekisho.assembly.asking import client_requests
from sekisho.assembly.authentication import Authentication
from sekisho.assembly.content_rules import open_inspection
from sekisho.assembly.identities import host_only
from sekisho.config import CoreConfig, Limits, PluginEntry
from sekisho.gateway import (
    Approvals,
    BerthLimits,
    Decision,
    DoorRules,
    Dossier,
    FreightLimits,
    FrontLimits,
    House,
    Inspected,
    Limiter,
    Standings,
    loopback_names,
)
from sekisho.policy import METHODS, AccessPolicy, RateLimiter, RateRule, RootRules, Rule
from sekisho.protocol import HttpLimits, JsonLimits, PluginName, plugin_name
from sekisho.registry import grants_digest

__all__ = [
    "Household",
    "StandingAnswer",
    "berth_limits",
    "client_requests",
    "door_rules",
    "dossiers",
    "freight_limits",
    "front_limits",
    "needs_restart",
    "unapplied",
]

_FROM_START: Final = (
    "bind_addr", "status_addr", "tls", "tls_cert_path", "tls_key_path", "trust_domain", "workers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StandingAnswer:
    """Approvals from configuration: operations that need one get the standing answer, which may be to ask."""

    needing: frozenset[tuple[str, str]]
    answer: Decision

    def decide(self, inspected: Inspected) -> Decision:
        """Yes when nobody has to be asked, else the standing answer."""
        call = inspected.permitted.identified.arrived.call
        return self.answer if (call.plugin, call.tool) in self.needing else "yes"


class Household:
    """Holds the current `House`; `house()` is one comparison while nothing changed."""

    def __init__(
        self,
        config: CoreConfig,
        authentication: Authentication,
        standings: Standings,
        *,
        rules_file: Path,
        limiter: Limiter | None = None,
    ) -> None:
        self._standings = standings
        self._limiter: Limiter = limiter or RateLimiter()
        self._config = config
        self._authentication = authentication
        self._rules_file = rules_file
        self._inspection = open_inspection(config, rules_file)
        self._house = self._build()

    def house(self) -> House:
        """What judgements read now."""
        if self._house.standings is not self._standings.current:
            self._house = self._build()
        return self._house

    def reconfigure(self, config: CoreConfig, authentication: Authentication) -> None:
        """Take over a new configuration; rate limits keep what was used."""
        if config.inspection != self._config.inspection:
            self._inspection = open_inspection(config, self._rules_file)
        self._config = config
        self._authentication = authentication
        self._standings.reconfigure(dossiers(config))
        self._house = self._build()

    def _build(self) -> House:
        config = self._config
        servers = config.plugins.servers
        needing = frozenset((one.name, operation) for one in servers for operation in one.require_approval)
        approvals: Approvals = StandingAnswer(needing, config.approval.answer)
        shown = self._authentication
        return House(
            credentials=shown.credentials,
            scopes=shown.scopes,
            challenges=shown.challenges,
            resource=shown.resource,
            access=AccessPolicy(
                Rule(
                    client="*",
                    plugin=plugin_name(one.name),
                    operations=frozenset(one.allowed_operations),
                    methods=METHODS,
                    prompts=_all_or(one.allowed_prompts),
                    resources=_all_or(one.allowed_resources),
                )
                for one in servers
            ),
            limiter=self._limiter,
            client_rate=RateRule(per_minute=config.security.rate_limit_per_minute),
            session_rate=RateRule(per_minute=config.limits.max_new_sessions_per_minute),
            standings=self._standings.current,
            approvals=approvals,
            max_argument_bytes=config.security.max_request_bytes,
            result_limits=_json_limits(config.limits, config.limits.max_line_bytes),
            inspection=self._inspection,
        )


def dossiers(config: CoreConfig) -> Mapping[PluginName, Dossier]:
    """What the standings are judged by, of each plugin."""
    return {plugin_name(one.name): _dossier(config, one) for one in config.plugins.servers}


def _dossier(config: CoreConfig, one: PluginEntry) -> Dossier:
    return Dossier(
        name=plugin_name(one.name),
        argv=_argv(one),
        grants=grants_digest(one.grants),
        rate=RateRule(per_minute=one.max_requests_per_minute),
        timeout_s=min(config.security.request_timeout_seconds, one.sandbox.execution_timeout_seconds),
        client_requests=client_requests(one.client_requests),
        trace=frozenset(one.trace_context),
        instances=one.instances,
        extensions=frozenset(one.extensions),
        roots=None if one.roots is None else RootRules(one.workload.roots or ()),
    )


def _argv(one: PluginEntry) -> tuple[str, ...]:
    """What is started, as far as the configuration says it: another release of a package is another launcher."""
    if one.package is not None:
        entry = () if one.entry is None else (f"entry={one.entry}",)
        return (one.package, *entry, *one.arguments)
    return one.command or ((one.upstream,) if one.upstream else ())


def _all_or(names: Iterable[str] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def door_rules(config: CoreConfig) -> DoorRules:
    """Whom the door lets as far as the token."""
    server = config.core_server
    hosts = {host_only(host.lower()) for host in server.allowed_hosts}
    hosts.add(server.bind_addr.host.lower())
    if server.bind_addr.is_loopback or server.bind_addr.host in ("0.0.0.0", "::"):
        hosts |= loopback_names()
    return DoorRules(
        hosts=frozenset(hosts),
        origins=frozenset(server.allowed_origins),
        message_limits=_json_limits(config.limits, config.security.max_request_bytes),
        max_streams_per_client=config.limits.max_streams_per_client,
        max_batch_messages=config.limits.max_batch_messages,
        serves_old_sse=server.legacy_sse,
    )


def _json_limits(limits: Limits, max_bytes: int) -> JsonLimits:
    return JsonLimits(
        max_bytes=max_bytes,
        max_depth=limits.max_depth,
        max_members=limits.max_members,
        max_string_bytes=limits.max_string_bytes,
    )


def front_limits(config: CoreConfig) -> FrontLimits:
    """What a connection may cost."""
    limits = config.limits
    return FrontLimits(
        http=HttpLimits(
            max_head_bytes=limits.max_head_bytes,
            max_body_bytes=config.security.max_request_bytes,
            max_headers=limits.max_headers,
        ),
        request_timeout_s=limits.receive_timeout_seconds,
        send_timeout_s=limits.send_timeout_seconds,
        idle_timeout_s=limits.idle_timeout_seconds,
        max_connections=limits.max_connections,
        max_connections_per_client=limits.max_connections_per_client,
        max_pipelined=limits.max_pipelined,
        max_unsent_bytes=limits.max_unsent_bytes,
        max_held_bytes=limits.max_held_bytes,
    )


def berth_limits(config: CoreConfig) -> BerthLimits:
    """How many calls may be under way."""
    return BerthLimits(
        total=config.security.max_in_flight,
        of_client=config.limits.max_in_flight_per_client,
        of_plugin=config.limits.max_in_flight_per_plugin,
    )


def freight_limits(config: CoreConfig) -> FreightLimits:
    """How many bytes of calls may be under way."""
    limits = config.limits
    return FreightLimits(total=limits.max_in_flight_bytes, of_client=limits.max_in_flight_bytes_per_client)


def needs_restart(before: PluginEntry | None, after: PluginEntry | None) -> bool:
    """True when a plugin server must start anew; rates and approvals are judged by the core alone."""
    if before is None or after is None:
        return True
    neutral, other = (_as_plugin_servers_see(one) for one in (before, after))
    return neutral != other


def unapplied(before: CoreConfig, after: CoreConfig) -> tuple[str, ...]:
    """Settings that differ and that a reload cannot change: listeners, the log and the names on certificates are open."""
    names = [
        name for name in _FROM_START if getattr(before.core_server, name) != getattr(after.core_server, name)
    ]
    found = [f"core_server.{name}" for name in names]
    found += ["audit"] if before.audit != after.audit else []
    found += ["home"] if before.home != after.home else []
    return tuple(found)


def _as_plugin_servers_see(one: PluginEntry) -> PluginEntry:
    return replace(
        one,
        max_requests_per_minute=1,
        require_approval=(),
        allowed_prompts=None,
        allowed_resources=None,
        extensions=(),
    )

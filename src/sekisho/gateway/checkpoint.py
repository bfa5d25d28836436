"""The gate itself: what a call must pass on its way out, and an answer on its way back.

`judge` authenticates, authorises, limits, inspects, approves and seals; `release` inspects the result. Both are pure
judgements over values: no socket, clock or await. All waiting (the log, the plugin) happens between them, in `road`.

Rules, each of which can refuse:
- a call without a valid token names no client, and nothing further is looked at;
- an operation is refused unless the plugin is approved, unchanged, and the operation is granted to this client;
- the rate of the client and the rate of the plugin are charged together or not at all;
- arguments are judged by the *approved* schema, never by what the plugin announces now;
- an operation that needs approval is refused unless the approver says yes;
- a result must be one MCP tool result within the limits, and fit the approved output schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import msgspec

from sekisho.errors import RateLimited, Refused, RemoteProtocolError, SekishoError
from sekisho.gateway.stages import (
    Answered,
    Approved,
    Arrived,
    Identified,
    Inspected,
    Permitted,
    Refusal,
    Sealed,
)
from sekisho.keys import TokenBook
from sekisho.policy import AccessPolicy, RateLimiter, RateRule
from sekisho.protocol import JsonLimits, PluginName, check_text, reemit
from sekisho.registry import Definitions
from sekisho.wire import CallFrame

__all__ = ["Approvals", "House", "Standing", "authenticate", "judge", "release"]


class Approvals(Protocol):
    """Who is asked before an operation that needs approval."""

    def is_granted(self, inspected: Inspected) -> bool:
        """True when the call may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the registry says of one plugin now: its approved definitions while they hold, else the problem."""

    definitions: Definitions | None
    rate: RateRule
    timeout_s: float
    problem: SekishoError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything a judgement reads. Replaced as a whole on reload, so that one call sees one state."""

    tokens: TokenBook
    access: AccessPolicy
    limiter: RateLimiter
    client_rate: RateRule
    standings: Mapping[PluginName, Standing]
    approvals: Approvals
    argument_limits: JsonLimits
    result_limits: JsonLimits


def judge(arrived: Arrived, house: House) -> Sealed | Refusal:
    """Take a call through the gate, in this order; the first rule that says no ends it."""
    client: str | None = None
    try:
        identified = authenticate(arrived, house)
        client = identified.client
        permitted = _authorise(identified, house)
        _limit(permitted, house)
        inspected = _inspect(permitted, house)
        approved = _approve(inspected, house)
        return _seal(approved, house)
    except SekishoError as error:
        return Refusal(call=arrived.call, client=client, error=error)


def release(sealed: Sealed, result: bytes, house: House) -> Answered | Refusal:
    """Inspect what the plugin answered; the caller receives bytes of our own emission or a refusal."""
    try:
        return Answered(sealed=sealed, result=_inspect_result(sealed, result, house))
    except SekishoError as error:
        return Refusal(call=sealed.call, client=sealed.client, error=error)


def authenticate(arrived: Arrived, house: House) -> Identified:
    """Who is asking? Needed on loopback too: any local web page or program can reach a port."""
    return Identified(arrived=arrived, client=house.tokens.identify(arrived.authorization))


def _authorise(identified: Identified, house: House) -> Permitted:
    call = identified.arrived.call
    standing = house.standings.get(call.plugin)
    if standing is None:
        raise Refused("plugin_unknown", f"there is no plugin {call.plugin!r}")
    if standing.definitions is None:
        raise standing.problem or Refused("plugin_quarantined", f"plugin {call.plugin!r} is not approved")
    definition = standing.definitions.get(call.tool)
    if not house.access.permits(identified.client, call.plugin, call.tool):
        raise Refused(
            "operation_not_allowed", f"{call.tool!r} is not an allowed operation of {call.plugin!r}"
        )
    return Permitted(identified=identified, definition=definition)


def _limit(permitted: Permitted, house: House) -> None:
    identified = permitted.identified
    call = identified.arrived.call
    charges = [
        (("client", identified.client), house.client_rate),
        (("plugin", call.plugin), house.standings[call.plugin].rate),
    ]
    wait_s = house.limiter.admit_all(charges, identified.arrived.now)
    if wait_s > 0:
        raise RateLimited(wait_s)


def _inspect(permitted: Permitted, house: House) -> Inspected:
    arguments = permitted.identified.arrived.call.arguments
    if len(arguments) > house.argument_limits.max_bytes:
        raise Refused("arguments_too_large", f"arguments exceed {house.argument_limits.max_bytes} bytes")
    check_text(arguments, house.argument_limits)
    permitted.definition.check_arguments(arguments)
    return Inspected(permitted=permitted)


def _approve(inspected: Inspected, house: House) -> Approved:
    if not house.approvals.is_granted(inspected):
        raise Refused("approval_refused", "this operation needs an approval that was not given")
    return Approved(inspected=inspected)


def _seal(approved: Approved, house: House) -> Sealed:
    call = approved.inspected.permitted.identified.arrived.call
    frame = CallFrame(
        tool=call.tool,
        arguments=msgspec.Raw(call.arguments),
        digest=call.digest,
        timeout_s=house.standings[call.plugin].timeout_s,
    )
    return Sealed(approved=approved, frame=frame)


class _ToolResult(msgspec.Struct):
    """What every tool result has (MCP 2025-11-25 server/tools)."""

    content: list[msgspec.Raw]


def _inspect_result(sealed: Sealed, result: bytes, house: House) -> bytes:
    if len(result) > house.result_limits.max_bytes:
        raise Refused("result_too_large", f"the result exceeds {house.result_limits.max_bytes} bytes")
    try:
        check_text(result, house.result_limits)
        msgspec.json.decode(result, type=_ToolResult)
        emitted = reemit(result)
    except (msgspec.MsgspecError, SekishoError) as error:
        raise RemoteProtocolError(
            "plugin_protocol", "the plugin's answer is not an MCP tool result"
        ) from error
    sealed.definition.check_result(emitted)
    return emitted

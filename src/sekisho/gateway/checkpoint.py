"""The gate itself: what a call must pass on its way out, and an answer on its way back.

`judge` authenticates, authorises, limits, inspects, approves and seals; `release` inspects the result. Both are pure
judgements over values: no socket, clock or await. All waiting (the log, the plugin) happens between them, in `road`.

Rules, each of which can refuse:
- a call without a valid token names no client, and nothing further is looked at;
- an operation is refused unless the plugin is approved, unchanged, and the operation is granted to this client;
- the rate of the client and the rate of the plugin are charged together or not at all;
- arguments are judged by the *approved* schema, never by what the plugin announces now, and searched for what no
  honest caller writes (`detect`);
- an operation that needs approval is refused unless the approver says yes;
- a result must be one MCP tool result within the limits, fit the approved output schema, and is searched like the
  arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import msgspec

from sekisho.detect import Inspection, refusal
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
from sekisho.policy import AccessPolicy, RateRule
from sekisho.protocol import JsonLimits, PluginName, check_text, decode_distinct, refuse_duplicates
from sekisho.registry import Definitions
from sekisho.wire import CallFrame

__all__ = [
    "GATE",
    "Approvals",
    "Gate",
    "House",
    "Limiter",
    "Standing",
    "authenticate",
    "judge",
    "release",
    "release_notes",
]


Charges = tuple[tuple[tuple[str, str], RateRule], ...]


class Limiter(Protocol):
    """Counts how often keys act, in this process alone or with its fellow workers."""

    def admit_all(self, charges: Iterable[tuple[Hashable, RateRule]], now: float) -> float:
        """Charge one call to every key, or to none of them; 0.0 or the longest wait in seconds."""


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
    limiter: Limiter
    client_rate: RateRule
    session_rate: RateRule
    standings: Mapping[PluginName, Standing]
    approvals: Approvals
    max_argument_bytes: int
    result_limits: JsonLimits
    inspection: Inspection
    charges: dict[tuple[str, str], Charges] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """The judgements that a road goes through. There is one gate; another is given to a road only to measure it."""

    judge: Callable[[Arrived, House], Sealed | Refusal]
    release: Callable[[Sealed, bytes, House], Answered | Refusal]


class _Note(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The params of a progress notification without its token (MCP 2025-11-25, basic/utilities/progress)."""

    progress: int | float
    total: int | float | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET


_notes: Final = msgspec.json.Decoder(_Note)
_encode: Final = msgspec.json.Encoder().encode


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
        return Refusal.of(arrived.call, client, error)


def release(sealed: Sealed, result: bytes, house: House) -> Answered | Refusal:
    """Inspect what the plugin answered; the caller receives bytes of our own emission or a refusal."""
    try:
        emitted = _inspect_result(sealed, result, house)
        findings = house.inspection.judge_result(emitted)
        if findings.refused:
            raise refusal(findings, "result")
        return Answered(sealed, emitted, findings.rule_ids)
    except SekishoError as error:
        return Refusal.of(sealed.call, sealed.client, error)


def release_notes(notes: Sequence[bytes], house: House) -> list[bytes] | SekishoError:
    """Inspect what a plugin says of its progress: numbers and a sentence each, in our own spelling; all or none."""
    try:
        emitted = [_read_note(note, house.result_limits) for note in notes]
    except SekishoError as error:
        return error
    findings = house.inspection.judge_result(b"[%b]" % b",".join(emitted))
    return refusal(findings, "result") if findings.refused else emitted


def authenticate(arrived: Arrived, house: House) -> Identified:
    """Who is asking? Needed on loopback too: any local web page or program can reach a port."""
    return Identified(arrived, house.tokens.identify(arrived.authorization))


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
    return Permitted(identified, definition)


def _limit(permitted: Permitted, house: House) -> None:
    identified = permitted.identified
    client, plugin = identified.client, identified.arrived.call.plugin
    charges = house.charges.get((client, plugin))
    if charges is None:  # both are known by now, so there are few such pairs
        charges = house.charges[client, plugin] = (
            (("client", client), house.client_rate),
            (("plugin", plugin), house.standings[plugin].rate),
        )
    wait_s = house.limiter.admit_all(charges, identified.arrived.now)
    if wait_s > 0:
        raise RateLimited(wait_s)


def _inspect(permitted: Permitted, house: House) -> Inspected:
    call = permitted.identified.arrived.call
    if len(call.arguments) > house.max_argument_bytes:  # depth and members were judged with their message
        raise Refused("arguments_too_large", f"arguments exceed {house.max_argument_bytes} bytes")
    permitted.definition.check_arguments(call.parsed, len(call.arguments))
    findings = house.inspection.judge_arguments(call.arguments)
    if findings.refused:
        raise refusal(findings, "arguments")
    return Inspected(permitted, findings.rule_ids)


def _approve(inspected: Inspected, house: House) -> Approved:
    if not house.approvals.is_granted(inspected):
        raise Refused("approval_refused", "this operation needs an approval that was not given")
    return Approved(inspected)


def _seal(approved: Approved, house: House) -> Sealed:
    arrived = approved.inspected.permitted.identified.arrived
    call = arrived.call
    frame = CallFrame(
        tool=call.tool,
        arguments=msgspec.Raw(call.arguments),
        digest=call.digest,
        timeout_s=house.standings[call.plugin].timeout_s,
        wants_progress=arrived.wants_progress,
    )
    return Sealed(approved, frame)


def _inspect_result(sealed: Sealed, result: bytes, house: House) -> bytes:
    """The result in our own spelling. `resultType` is left out: which era needs it, the door knows."""
    if len(result) > house.result_limits.max_bytes:
        raise Refused("result_too_large", f"the result exceeds {house.result_limits.max_bytes} bytes")
    try:
        check_text(result, house.result_limits)
        value, emitted = decode_distinct(result)
    except SekishoError as error:
        raise _no_result() from error
    # what every tool result has (MCP 2025-11-25 server/tools): a list of content blocks
    if not isinstance(value, dict) or not isinstance(value.get("content"), list):
        raise _no_result()
    sealed.definition.check_result(value, len(emitted))
    if "resultType" in value:
        del value["resultType"]
        return msgspec.json.encode(value)
    return emitted


def _read_note(note: bytes, limits: JsonLimits) -> bytes:
    """A note that is written as we would write it is itself the proof that it says nothing else."""
    try:
        check_text(note, limits)
        read = _notes.decode(note)
        emitted = _encode(read)
        if emitted != note:
            refuse_duplicates(note)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RemoteProtocolError(
            "plugin_protocol", "the plugin's progress is not what MCP says it is"
        ) from error
    return emitted


def _no_result() -> RemoteProtocolError:
    return RemoteProtocolError("plugin_protocol", "the plugin's answer is not an MCP tool result")


GATE: Final = Gate(judge, release)

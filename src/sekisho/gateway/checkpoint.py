"""The gate itself: what a call must pass on its way out. What comes back passes `returns`.

`judge` authenticates, authorises, limits, inspects, approves and seals. It is a pure judgement over values: no socket,
clock or await. All waiting (the log, the plugin) happens between it and `release`, in `road`.

Rules, each of which can refuse:
- a call without a valid token names no client, and nothing further is looked at;
- an operation is refused unless the plugin is approved, unchanged, and the operation is granted to this client;
- the rate of the client and the rate of the plugin are charged together or not at all;
- arguments are judged by the *approved* schema, never by what the plugin announces now, and searched for what no
  honest caller writes (`detect`);
- where the plugin has roots, no argument and no resource names a place outside them;
- a prompt, resource or completion is served only if the plugin's approved definitions offer it;
- an operation that needs approval is refused unless the approver says yes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from sekisho.detect import Findings, Inspection, refusal
from sekisho.errors import RateLimited, Refused, ScopeMissing, SekishoError
from sekisho.gateway.approvals import Approvals
from sekisho.gateway.caller import NO_EXTRAS, TASKS, Caller, Contexts, Instances, instance_of
from sekisho.gateway.confines import keep_call_within
from sekisho.gateway.stages import (
    Approved,
    Arrived,
    Call,
    Held,
    Identified,
    Inspected,
    Permitted,
    Refusal,
    Sealed,
)
from sekisho.gateway.tasks import TASK_METHODS, capability_missing
from sekisho.keys import Challenges, Credentials, Resource, ScopePolicy
from sekisho.policy import AccessPolicy, RateRule, RootRules
from sekisho.protocol import JsonLimits, PluginName
from sekisho.registry import Definition, Definitions
from sekisho.wire import CallFrame

__all__ = [
    "House",
    "Limiter",
    "Standing",
    "authenticate",
    "judge",
    "rate_key",
]

LISTEN: Final = "subscriptions/listen"
MAX_STREAM_S: Final = (
    24 * 3600.0
)  # news are listened for as long as a session may last; a client ends it sooner

Charges = tuple[tuple[str, RateRule], ...]


class Limiter(Protocol):
    """Counts how often keys act, in this process alone or with its fellow workers."""

    def admit_all(self, charges: Iterable[tuple[Hashable, RateRule]], now: float) -> float:
        """Charge one call to every key, or to none of them; 0.0 or the longest wait in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the registry says of one plugin now: its approved definitions while they hold, else the problem."""

    definitions: Definitions | None
    rate: RateRule
    timeout_s: float
    problem: SekishoError | None
    client_requests: frozenset[str] = frozenset()
    """What it may ask of a client that declared it (`caller.ASKABLE`), and whether it may make tasks for one."""
    trace: frozenset[str] = frozenset()
    """Headers of a client that its calls carry in `_meta` (`tracing`)."""
    instances: Instances = "shared"
    """For whom it has a process of its own."""
    roots: RootRules | None = None
    """Where everything that a call names must lie; None where the operator states no roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Everything a judgement reads. Replaced as a whole on reload, so that one call sees one state."""

    credentials: Credentials
    access: AccessPolicy
    limiter: Limiter
    client_rate: RateRule
    session_rate: RateRule
    standings: dict[PluginName, Standing]
    approvals: Approvals
    max_argument_bytes: int
    result_limits: JsonLimits
    inspection: Inspection
    scopes: ScopePolicy = field(default_factory=ScopePolicy)
    challenges: Challenges = field(default_factory=Challenges)
    resource: Resource | None = None
    """What is announced to clients that bring tokens of an authorization server; None while none may."""
    contexts: Contexts = field(default_factory=Contexts, init=False, repr=False, compare=False)
    charges: dict[tuple[str, str], Charges] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )


def judge(arrived: Arrived, house: House) -> Sealed | Held | Refusal:
    """Take a call through the gate, in this order; the first rule that says no ends it."""
    client: str | None = None
    try:
        identified = authenticate(arrived)
        client = identified.client
        permitted = _authorise(identified, house)
        _limit(permitted, house)
        inspected = _inspect(permitted, house)
        approved = _approve(inspected, house)
        return approved if isinstance(approved, Held) else _seal(approved, house)
    except SekishoError as error:
        return Refusal.of(arrived.call, client, error)


def authenticate(arrived: Arrived) -> Identified:
    """Who is asking? Needed on loopback too: any local web page or program can reach a port."""
    principal = arrived.principal
    if principal is None:
        raise Refused("token_missing", "the request carries no token")
    if principal.expires_at <= arrived.now:  # it may have waited for a person's word
        raise Refused("token_invalid", "the token has expired")
    return Identified(arrived, principal, principal.client)


def _authorise(identified: Identified, house: House) -> Permitted:
    call = identified.arrived.call
    standing = house.standings.get(call.plugin)
    if standing is None:
        raise Refused("plugin_unknown", f"there is no plugin {call.plugin!r}")
    if standing.definitions is None:
        raise standing.problem or Refused("plugin_quarantined", f"plugin {call.plugin!r} is not approved")
    if call.target:
        definition = _definition_of(identified, standing, standing.definitions, house)
    else:
        definition = standing.definitions.get(call.tool)
        if not house.access.permits(identified.client, call.plugin, call.tool):
            raise _not_allowed(call.tool, call.plugin)
        if definition.needs_task:
            _check_tasks(identified.arrived, standing)
    principal = identified.principal
    if principal.issuer is not None:  # our own tokens have no scopes
        missing = house.scopes.missing_scopes(principal, call.plugin, call.allowed_as)
        if missing:
            raise ScopeMissing(missing)
    return Permitted(identified, definition)


def _definition_of(
    identified: Identified, standing: Standing, definitions: Definitions, house: House
) -> Definition | None:
    """The definition of the tool that made the task which is asked for; None for a method that has none."""
    call = identified.arrived.call
    is_of_task = call.tool in TASK_METHODS
    if not house.access.permits(identified.client, call.plugin, call.tool):
        raise _not_allowed(call.tool, call.plugin)
    if is_of_task and not house.access.permits(identified.client, call.plugin, call.target):
        raise _not_allowed(call.target, call.plugin)
    if is_of_task:
        definition = definitions.get(call.target)
        _check_tasks(identified.arrived, standing)
        return definition
    _check_target(identified, definitions, house)
    return None


def _check_target(identified: Identified, definitions: Definitions, house: House) -> None:
    """What a method names must stand in the approved definitions, and this client must be allowed to use it."""
    call, client = identified.arrived.call, identified.client
    match call.tool:
        case "prompts/get":
            is_offered = call.target in definitions.prompts
            is_allowed = house.access.permits_prompt(client, call.plugin, call.target)
            if not (is_offered and is_allowed):
                raise Refused("prompt_unknown", f"{call.plugin} has no such approved prompt")
        case "completion/complete":
            is_prompt = call.parsed.get("ref", {}) == {"type": "ref/prompt", "name": call.target}
            permits = house.access.permits_prompt if is_prompt else house.access.permits_resource
            if not (definitions.completes(call.parsed) and permits(client, call.plugin, call.target)):
                raise Refused("params_invalid", f"{call.plugin} has nothing of this name to complete")
        case "logging/setLevel":
            return
        case "subscriptions/listen":
            _check_subscriptions(identified, definitions, house)
        case _:
            is_allowed = house.access.permits_resource(client, call.plugin, call.target)
            if not (definitions.offers(call.target) and is_allowed):
                raise Refused(
                    "resource_unknown",
                    f"{call.plugin} has no such approved resource",
                    facts={"uri": call.target},  # the client's own word (MCP 2026-07-28, resources)
                )


def _check_tasks(arrived: Arrived, standing: Standing) -> None:
    """A task is made for a client that declares it knows tasks, by a plugin that may make them."""
    caller = arrived.caller
    if TASKS not in standing.client_requests:
        raise capability_missing(f"{arrived.call.plugin} may not make tasks here")
    if caller is None or TASKS not in caller.declared:
        raise capability_missing(
            f"{arrived.call.allowed_as!r} answers with a task, which this client cannot take"
        )


def _check_subscriptions(identified: Identified, definitions: Definitions, house: House) -> None:
    """A stream may be told of the resources that its client may read."""
    call = identified.arrived.call
    asked = call.parsed.get("notifications", {})
    uris = asked.get("resourceSubscriptions", []) if isinstance(asked, dict) else []
    for uri in uris if isinstance(uris, list) else []:
        is_allowed = isinstance(uri, str) and house.access.permits_resource(
            identified.client, call.plugin, uri
        )
        if not (is_allowed and definitions.offers(str(uri))):
            raise Refused("resource_unknown", f"{call.plugin} has no such approved resource")
    for task in call.tasks:
        _check_tasks(identified.arrived, house.standings[call.plugin])
        if not house.access.permits(identified.client, call.plugin, task.tool):
            raise _not_allowed(task.tool, call.plugin)


def _not_allowed(operation: str, plugin: PluginName) -> Refused:
    return Refused("operation_not_allowed", f"{operation!r} is not an allowed operation of {plugin!r}")


def rate_key(kind: Literal["client", "plugin", "sessions"], name: str) -> str:
    """What is counted under a name: one text, because the hash of a pair is made anew for each look."""
    return f"{kind}\x00{name}"


def _limit(permitted: Permitted, house: House) -> None:
    identified = permitted.identified
    client, plugin = identified.client, identified.arrived.call.plugin
    charges = house.charges.get((client, plugin))
    if charges is None:  # both are known by now, so there are few such pairs
        charges = house.charges[client, plugin] = (
            (rate_key("client", client), house.client_rate),
            (rate_key("plugin", plugin), house.standings[plugin].rate),
        )
    wait_s = house.limiter.admit_all(charges, identified.arrived.now)
    if wait_s > 0:
        raise RateLimited(wait_s)


def _inspect(permitted: Permitted, house: House) -> Inspected:
    call = permitted.identified.arrived.call
    if len(call.arguments) > house.max_argument_bytes:  # depth and members were judged with their message
        raise Refused("arguments_too_large", f"arguments exceed {house.max_argument_bytes} bytes")
    standing = house.standings[call.plugin]
    definition = permitted.definition
    if definition is not None and not call.target:
        definition.check_arguments(call.parsed, len(call.arguments))
    elif call.tool == "prompts/get":
        definitions = standing.definitions
        if definitions is not None:
            given = call.parsed.get("arguments")
            definitions.prompts[call.target].check_arguments(given if isinstance(given, dict) else {})
    if standing.roots is not None and standing.definitions is not None:
        keep_call_within(standing.roots, standing.definitions, call, definition)
    findings = house.inspection.judge_arguments(call.arguments)
    if call.extras is not NO_EXTRAS and not findings.refused:
        findings = _inspect_extras(call, house) or findings
    if findings.refused:
        raise refusal(findings, "arguments")
    return Inspected(permitted, findings.rule_ids)


def _inspect_extras(call: Call, house: House) -> Findings | None:
    """What a request carries beside its arguments is searched like them."""
    extras = call.extras
    text = b"\n".join((extras.meta, extras.input_responses))
    if len(text) > house.max_argument_bytes:
        raise Refused("arguments_too_large", f"answers exceed {house.max_argument_bytes} bytes")
    findings = house.inspection.judge_arguments(text)
    return findings if findings.rule_ids else None


def _approve(inspected: Inspected, house: House) -> Approved | Held:
    decision = house.approvals.decide(inspected)
    if decision == "no":
        raise Refused("approval_refused", "this operation needs an approval that was not given")
    if decision == "ask" and not inspected.permitted.identified.arrived.is_approved:
        return Held(inspected)
    return Approved(inspected)


def _seal(approved: Approved, house: House) -> Sealed:
    identified = approved.inspected.permitted.identified
    arrived, client = identified.arrived, identified.client
    call, caller = arrived.call, arrived.caller
    standing = house.standings[call.plugin]
    timeout_s = standing.timeout_s
    latest = None if caller is None else house.contexts.latest.get(caller.scope)
    if latest is not None and latest[0] is caller and latest[1] is standing and call.is_bare:
        context = latest[2]
    else:
        context = _context(call, caller, standing, house, client)
        if call.tool == LISTEN:
            timeout_s = MAX_STREAM_S
    frame = CallFrame(
        call.tool,
        call.arguments,
        call.digest,
        timeout_s,
        wants_progress=arrived.wants_progress,
        context=context,
    )
    return Sealed(approved, frame, call, client)


def _context(call: Call, caller: Caller | None, standing: Standing, house: House, client: str) -> bytes:
    """What the plugin's side has to know of the client; nothing of most modern ones.

    Of a modern client nothing is kept but what a listening call says; of a legacy one its log level, and more, and a
    plugin's round must end at the plugin's side even if nobody is asked in it.
    """
    instance = ""
    if standing.instances != "shared":
        instance = instance_of(standing.instances, client, caller)
        caller = caller or Caller(True, "")  # nothing is known of it but whose process it uses
    if caller is None:
        return b""
    allowed = standing.client_requests
    is_remembered = call.tool == LISTEN or not caller.modern
    if not (is_remembered or instance or call.extras is not NO_EXTRAS or not caller.is_plain(allowed)):
        return b""
    context = house.contexts.of(caller, allowed, call.extras, instance)
    if call.is_bare:
        house.contexts.keep(caller, standing, context)
    return context

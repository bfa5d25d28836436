"""The values of the road: each stage holds the one before it and promises more.

`Arrived → Identified → Permitted → Inspected → (Held →) Approved → Sealed → Answered`. Only the step of `checkpoint`
that earns a value constructs it, and what goes to a plugin server takes a `Sealed`, so a skipped step is a type error.
The call inside is the same object from the door to the wire, tied to what is sent by its digest.

Every attribute is final, but the value of a call, which is let go once it was judged: changing one is an error of types,
and where this is compiled it cannot be done at all. They are plain classes because they are made and read for every call,
and compiled code reads nothing faster.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from sekisho.errors import SekishoError
from sekisho.gateway.caller import NO_EXTRAS, Caller, Extras
from sekisho.gateway.tasks import TASK_METHODS, MadeTask, Task
from sekisho.keys import Principal
from sekisho.protocol import JsonObject, PluginName
from sekisho.registry import Definition
from sekisho.wire import CallFrame

__all__ = [
    "Answered",
    "Approved",
    "Arrived",
    "Call",
    "Held",
    "Identified",
    "Inspected",
    "Permitted",
    "Refusal",
    "Sealed",
]

_JUDGED: Final[JsonObject] = {}
_encode: Final = msgspec.json.Encoder().encode
_sha256: Final = sha256  # compiled code looks an imported name up for each call, and a constant not


class Call:
    """One call of a tool, or of another method that a plugin serves, as the door read it.

    `parsed` is what is judged, and let go once the call is sealed (a value may take thirty times the room of its text);
    `arguments` is the same value in our own spelling, which is what is sent and kept, `size` with what came beside it.
    `tool` is a tool's name, or a method (it has a "/" in it); `target` is then the prompt or resource it names, or the
    tool that made the task. `tasks` are those it is about, as the client knows them and as the plugin does.
    """

    __slots__ = (
        "arguments",
        "call_id",
        "digest",
        "extras",
        "parsed",
        "plugin",
        "size",
        "target",
        "tasks",
        "tool",
    )

    def __init__(
        self,
        *,
        call_id: str,
        plugin: PluginName,
        tool: str,
        parsed: JsonObject,
        arguments: bytes,
        digest: str,
        target: str = "",
        tasks: tuple[Task, ...] = (),
        extras: Extras = NO_EXTRAS,
    ) -> None:
        self.call_id: Final = call_id
        self.plugin: Final = plugin
        self.tool: Final = tool
        self.parsed = parsed
        self.arguments: Final = arguments
        self.digest: Final = digest
        self.target: Final = target
        self.tasks: Final = tasks
        self.extras: Final = extras
        self.size: Final = len(arguments) if extras is NO_EXTRAS else len(arguments) + extras.size

    @staticmethod
    def of(
        call_id: str,
        plugin: PluginName,
        tool: str,
        parsed: JsonObject,
        *,
        target: str = "",
        tasks: tuple[Task, ...] = (),
    ) -> Call:
        """The call with these arguments, and the digest that binds what is judged to what is sent."""
        arguments = _encode(parsed)
        # every part is length-prefixed, so that no two calls share bytes
        head = f"{len(call_id)}:{call_id}{len(plugin)}:{plugin}{len(tool)}:{tool}{len(arguments)}:"
        digest = _sha256(b"sekisho/call/2\x00" + head.encode() + arguments).hexdigest()
        return Call(
            call_id=call_id,
            plugin=plugin,
            tool=tool,
            parsed=parsed,
            arguments=arguments,
            digest=digest,
            target=target,
            tasks=tasks,
        )

    def carrying(self, extras: Extras) -> Call:
        """The same call and what came beside its arguments; the digest binds both."""
        beside = _encode((self.digest, extras.meta, extras.input_responses, extras.request_state))
        digest = _sha256(b"sekisho/call/2/extras\x00" + beside).hexdigest()
        return Call(
            call_id=self.call_id,
            plugin=self.plugin,
            tool=self.tool,
            parsed=self.parsed,
            arguments=self.arguments,
            digest=digest,
            target=self.target,
            tasks=self.tasks,
            extras=extras,
        )

    def let_go(self) -> None:
        """It was judged: from here on its text says everything."""
        self.parsed = _JUDGED

    @property
    def is_of_tool(self) -> bool:
        """True for a call of a tool; what else a plugin serves changes nothing and has no schema of its own."""
        return not self.target

    @property
    def is_bare(self) -> bool:
        """True for a call of a tool that brings nothing but its arguments: nearly every one."""
        return self.extras is NO_EXTRAS and not self.target

    @property
    def allowed_as(self) -> str:
        """The operation whose permission it needs: a task is asked for by whoever may call the tool that made it."""
        return self.target if self.tool in TASK_METHODS else self.tool

    @property
    def operation(self) -> str:
        """What this call is, whatever its id: the same for each round of it."""
        named = _encode((self.plugin, self.tool, self.target)) + self.arguments
        return _sha256(b"sekisho/operation/1\x00" + named).hexdigest()[:32]


class Arrived:
    """A readable call and who showed a valid credential with it, if anybody. `now` is Unix time in seconds.

    `is_approved` is True when the person behind the client said yes to this call, in a round that was sealed for it.
    """

    __slots__ = ("call", "caller", "is_approved", "now", "principal", "wants_progress")

    def __init__(
        self,
        call: Call,
        principal: Principal | None,
        now: float,
        *,
        wants_progress: bool = False,
        caller: Caller | None = None,
        is_approved: bool = False,
    ) -> None:
        self.call: Final = call
        self.principal: Final = principal
        self.now: Final = now
        self.wants_progress: Final = wants_progress
        self.caller: Final = caller
        self.is_approved: Final = is_approved

    def approved(self, now: float) -> Arrived:
        """The same call, to which a person has said yes just now."""
        return Arrived(
            self.call,
            self.principal,
            now,
            wants_progress=self.wants_progress,
            caller=self.caller,
            is_approved=True,
        )


class Identified:
    """The credential was checked, and holds now: `client` is who asks."""

    __slots__ = ("arrived", "client", "principal")

    def __init__(self, arrived: Arrived, principal: Principal, client: str) -> None:
        self.arrived: Final = arrived
        self.principal: Final = principal
        self.client: Final = client


class Permitted:
    """The client may use this operation, its definition is approved and unchanged, and the rate allows it.

    `definition` is that of the tool, also where its task is asked for; other methods have none.
    """

    __slots__ = ("definition", "identified")

    def __init__(self, identified: Identified, definition: Definition | None) -> None:
        self.identified: Final = identified
        self.definition: Final = definition


class Inspected:
    """The arguments fit the pinned input schema and the limits; `rules` are the content rules they met."""

    __slots__ = ("permitted", "rules")

    def __init__(self, permitted: Permitted, rules: tuple[str, ...] = ()) -> None:
        self.permitted: Final = permitted
        self.rules: Final = rules


class Held:
    """Everything allows this call, but a person has to be asked."""

    __slots__ = ("inspected",)

    def __init__(self, inspected: Inspected) -> None:
        self.inspected: Final = inspected

    @property
    def arrived(self) -> Arrived:
        """The call as it came."""
        return self.inspected.permitted.identified.arrived

    @property
    def client(self) -> str:
        """Who calls."""
        return self.inspected.permitted.identified.client


class Approved:
    """Nobody has to be asked, or the one who had to be asked said yes."""

    __slots__ = ("inspected",)

    def __init__(self, inspected: Inspected) -> None:
        self.inspected: Final = inspected


class Sealed:
    """The frame that goes to the plugin server, bound to the judged `call` of this `client` by its digest."""

    __slots__ = ("approved", "call", "client", "frame")

    def __init__(self, approved: Approved, frame: CallFrame, call: Call, client: str) -> None:
        self.approved: Final = approved
        self.frame: Final = frame
        self.call: Final = call
        self.client: Final = client

    @property
    def definition(self) -> Definition | None:
        """The approved definition the call was judged against, if it is of a tool."""
        return self.approved.inspected.permitted.definition

    @property
    def has_effect(self) -> bool:
        """False when the call is known to change nothing."""
        definition = self.approved.inspected.permitted.definition
        return definition is not None and not definition.read_only

    @property
    def caller(self) -> Caller | None:
        """What is known of the client beside its name."""
        return self.approved.inspected.permitted.identified.arrived.caller


class Answered:
    """A result that passed the inspection on the way back, as bytes of our own emission: a large one where it lies.

    `rules` are the content rules it met and was let through with. `questions` are the kinds of what the plugin asks of
    the client before it goes on, by key: then the result is a round and not the end. `made` is the task that the plugin
    made instead of a result: then the text has no id yet. Where `has_meta`, the result ends with the members of its
    `_meta`.
    """

    __slots__ = ("has_meta", "made", "questions", "result", "rules", "sealed")

    def __init__(
        self,
        sealed: Sealed,
        result: bytes | memoryview,
        rules: tuple[str, ...] = (),
        questions: dict[str, str] | None = None,
        made: MadeTask | None = None,
        *,
        has_meta: bool = False,
    ) -> None:
        self.sealed: Final = sealed
        self.result: Final = result
        self.has_meta: Final = has_meta
        self.rules: Final = rules
        self.questions: Final = questions
        self.made: Final = made


class Refusal:
    """A call that goes no further, and as much as is known about who asked."""

    __slots__ = ("call_id", "client", "error", "plugin", "tool")

    def __init__(
        self, client: str | None, error: SekishoError, call_id: str, plugin: str = "", tool: str = ""
    ) -> None:
        self.client: Final = client
        self.error: Final = error
        self.call_id: Final = call_id
        self.plugin: Final = plugin
        self.tool: Final = tool

    @staticmethod
    def of(call: Call, client: str | None, error: SekishoError) -> Refusal:
        """The refusal of a call that could be read."""
        return Refusal(client, error, call.call_id, call.plugin, call.tool)

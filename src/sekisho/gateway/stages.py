"""The values of the road: each stage holds the one before it and promises more.

`Arrived → Identified → Permitted → Inspected → Approved → Sealed → Answered`. All are frozen; only the step of
`checkpoint` that earns a value constructs it, and what goes to a plugin server takes a `Sealed`, so a skipped step is a
type error. The call inside is the same immutable object from the door to the wire, tied to what is sent by its digest.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final, Self

import msgspec

from sekisho.errors import SekishoError
from sekisho.protocol import JsonObject, PluginName
from sekisho.registry import Definition
from sekisho.wire import CallFrame

__all__ = [
    "Answered",
    "Approved",
    "Arrived",
    "Call",
    "Identified",
    "Inspected",
    "Permitted",
    "Refusal",
    "Sealed",
]

_encode: Final = msgspec.json.Encoder().encode


class Call(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One tools/call as the door read it.

    `parsed` is what is judged; `arguments` is the same value in our own spelling, which is what is sent.
    """

    call_id: str
    plugin: PluginName
    tool: str
    parsed: JsonObject
    arguments: bytes
    digest: str

    @classmethod
    def of(cls, call_id: str, plugin: PluginName, tool: str, parsed: JsonObject) -> Self:
        """The call with these arguments, and the digest that binds what is judged to what is sent."""
        arguments = _encode(parsed)
        # every part is length-prefixed, so that no two calls share bytes
        head = f"{len(call_id)}:{call_id}{len(plugin)}:{plugin}{len(tool)}:{tool}{len(arguments)}:"
        digest = sha256(b"sekisho/call/2\x00" + head.encode() + arguments).hexdigest()
        return cls(
            call_id=call_id, plugin=plugin, tool=tool, parsed=parsed, arguments=arguments, digest=digest
        )


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A readable call and the credential it came with; nothing is believed yet. `now` is Unix time in seconds."""

    call: Call
    authorization: str | None
    now: float
    wants_progress: bool = False


class Identified(msgspec.Struct, frozen=True, gc=False):
    """The credential was checked: `client` is who asks."""

    arrived: Arrived
    client: str


class Permitted(msgspec.Struct, frozen=True, gc=False):
    """The client may use this operation, its definition is approved and unchanged, and the rate allows it."""

    identified: Identified
    definition: Definition


class Inspected(msgspec.Struct, frozen=True, gc=False):
    """The arguments fit the pinned input schema and the limits; `rules` are the content rules they met."""

    permitted: Permitted
    rules: tuple[str, ...] = ()


class Approved(msgspec.Struct, frozen=True, gc=False):
    """Nobody has to be asked, or the one who had to be asked said yes."""

    inspected: Inspected


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """The frame that goes to the plugin server, bound to the judged call by its digest."""

    approved: Approved
    frame: CallFrame

    @property
    def call(self) -> Call:
        """The call this frame carries."""
        return self.approved.inspected.permitted.identified.arrived.call

    @property
    def client(self) -> str:
        """Who asked."""
        return self.approved.inspected.permitted.identified.client

    @property
    def definition(self) -> Definition:
        """The approved definition the call was judged against."""
        return self.approved.inspected.permitted.definition


class Answered(msgspec.Struct, frozen=True, gc=False):
    """A result that passed the inspection on the way back, as bytes of our own emission.

    `rules` are the content rules it met and was let through with.
    """

    sealed: Sealed
    result: bytes
    rules: tuple[str, ...] = ()


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A call that goes no further, and as much as is known about who asked."""

    client: str | None
    error: SekishoError
    call_id: str
    plugin: str = ""
    tool: str = ""

    @classmethod
    def of(cls, call: Call, client: str | None, error: SekishoError) -> Self:
        """The refusal of a call that could be read."""
        return cls(client, error, call.call_id, call.plugin, call.tool)

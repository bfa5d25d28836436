"""The values of the road: each stage holds the one before it and promises more.

`Arrived → Identified → Permitted → Inspected → Approved → Sealed → Answered`. All are frozen; only the step of
`checkpoint` that earns a value constructs it, and what goes to a plugin server takes a `Sealed`, so a skipped step is a
type error. The call inside is the same immutable object from the door to the wire, tied to what is sent by its digest.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.errors import SekishoError
from sekisho.protocol import PluginName
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One tools/call as the door read it. `arguments` are re-emitted bytes, never the client's own."""

    call_id: str
    plugin: PluginName
    tool: str
    arguments: bytes
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A readable call and the credential it came with; nothing is believed yet. `now` is Unix time in seconds."""

    call: Call
    authorization: str | None
    now: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """The credential was checked: `client` is who asks."""

    arrived: Arrived
    client: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permitted:
    """The client may use this operation, its definition is approved and unchanged, and the rate allows it."""

    identified: Identified
    definition: Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspected:
    """The arguments fit the pinned input schema and the limits."""

    permitted: Permitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """Nobody has to be asked, or the one who had to be asked said yes."""

    inspected: Inspected


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A result that passed the inspection on the way back, as bytes of our own emission."""

    sealed: Sealed
    result: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A call that goes no further, and as much as is known about who asked."""

    call: Call
    client: str | None
    error: SekishoError

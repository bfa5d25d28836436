"""wire: the sealed channel between core and plugin server.

`PlugLine` is the core's side, `Listener` the plugin server's. `frames`, `messages` and `upgrade` are
judgement; the rest are hands. Stands on `keys`; `gateway` and `plugin_server` stand on it.
"""

from sekisho.wire.address import Address, TcpAddress, UnixAddress, parse_address
from sekisho.wire.calls import CallFrame, decode_context, encode_context
from sekisho.wire.client import PlugLine
from sekisho.wire.inbound import Inbound
from sekisho.wire.messages import (
    AnswerFrame,
    AskFrame,
    CallContext,
    DenialFrame,
    DenialKind,
    EventFrame,
    FailureFrame,
    StateFrame,
    SurfaceFrame,
)
from sekisho.wire.server import Listener

__all__ = [
    "Address",
    "AnswerFrame",
    "AskFrame",
    "CallContext",
    "CallFrame",
    "DenialFrame",
    "DenialKind",
    "EventFrame",
    "FailureFrame",
    "Inbound",
    "Listener",
    "PlugLine",
    "StateFrame",
    "SurfaceFrame",
    "TcpAddress",
    "UnixAddress",
    "decode_context",
    "encode_context",
    "parse_address",
]

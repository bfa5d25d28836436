"""The only door out of a sandbox: an allow-list of names, checked addresses, and nothing else."""

from sekisho.egress.event import EgressEvent
from sekisho.egress.gate import EgressGate
from sekisho.egress.handoff import GateSockets, receive_gate, send_gate
from sekisho.egress.interception import outer_context
from sekisho.egress.lease import Lease, take_lease
from sekisho.egress.line import EgressRefusal, GateLine
from sekisho.egress.outlet import Outlet, SystemResolver, dial_address, is_outside
from sekisho.egress.process import EgressSettings, serve
from sekisho.egress.tunnel import Target

__all__ = [
    "EgressEvent",
    "EgressGate",
    "EgressRefusal",
    "EgressSettings",
    "GateLine",
    "GateSockets",
    "Lease",
    "Outlet",
    "SystemResolver",
    "Target",
    "dial_address",
    "is_outside",
    "outer_context",
    "receive_gate",
    "send_gate",
    "serve",
    "take_lease",
]

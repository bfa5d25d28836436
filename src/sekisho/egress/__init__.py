"""The only door out of a sandbox: an allow-list of names, checked addresses, and nothing else."""

from sekisho.egress.gate import EgressGate
from sekisho.egress.handoff import GateSockets, receive_gate, send_gate
from sekisho.egress.outlet import Outlet, is_outside
from sekisho.egress.process import EgressSettings, serve
from sekisho.egress.proxy import EgressEvent

__all__ = [
    "EgressEvent",
    "EgressGate",
    "EgressSettings",
    "GateSockets",
    "Outlet",
    "is_outside",
    "receive_gate",
    "send_gate",
    "serve",
]
